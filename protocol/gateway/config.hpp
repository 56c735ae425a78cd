#pragma once
// The settings of a gateway. The process that runs it fills them once; every server of the process has
// the same.
#include "protocol/transport/message_stream.hpp"
#include "protocol/transport/socket.hpp"
#include "protocol/values/config_fault.hpp"
#include "protocol/values/limits.hpp"
#include "protocol/values/node_limits.hpp"
#include "protocol/values/settings.hpp"
#include "protocol/values/types.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace parley::gateway {

/// What a gateway allows each peer.
transport::stream_limits server_limits();

/// How much of the room before login one network address may take. Many people share an address, and a login
/// takes a moment only.
constexpr std::size_t pre_login_share(std::size_t pre_login_max) {
  return std::max<std::size_t>(pre_login_max / 8, 1);
}

/// The settings of a gateway. Unless a comment says otherwise, a bound is for one server, and a process
/// has one server per KJ thread.
struct gateway_config {
  transport::server_address listen =
      transport::parse_server_address(settings::client_listen.standard).value();
  cluster_id cluster;
  node_id node{};

  // Before login. A connection is closed when it reaches one of these.
  std::chrono::milliseconds login_deadline = settings::login_deadline.standard;
  std::uint64_t login_bytes_max = 16 * 1024;
  /// At this bound no further call is read. `login_bytes_max` holds a hundred, and while a login is not answered each of
  /// those that wait behind it takes 5 KiB.
  std::uint32_t calls_before_login_max = 16;
  std::uint32_t login_attempts_max = 3;

  // Connections.
  std::size_t connections_max = settings::connections_max.standard;
  /// Each connection that has not logged in may hold the memory of a TLS handshake. When so many are there,
  /// one of the network that has most of them gives way to a newcomer (waiting_room.hpp).
  std::size_t pre_login_max = settings::connections_before_login_max.standard;
  /// Below `pre_login_max`; above: another one of the address gives way. Its networks have rooms_of_networks times as
  /// many, up to half of all.
  std::size_t pre_login_per_address_max = pre_login_share(settings::connections_before_login_max.standard);
  /// Handshakes that are accepted at once; further ones wait in the kernel's backlog, and one more is
  /// accepted each `handshake_every`: 2,000 a second are all that a core can do.
  std::int64_t handshakes_burst = 1'000;
  std::chrono::microseconds handshake_every{500};
  /// Handshakes of one address, and in proportion of its networks. What is above is refused at once, and costs no handshake of
  /// others.
  std::int64_t address_handshakes_burst = 250;
  std::chrono::microseconds address_handshake_every{4'000};
  /// Handshakes whose next step waits for its turn (step_line.hpp). At this bound no connection is accepted: it waits
  /// in the backlog instead, or those in line would have to give way to newcomers before their turn comes.
  std::size_t handshakes_waiting_max = 64;
  int backlog = 4'096;

  // Codes and registrations from one address, and codes of all servers of the process. The account bounds them for
  // one phone; code_limits.hpp says what the networks around an address have.
  std::int64_t codes_burst = settings::codes_per_address.standard;
  std::chrono::milliseconds code_every{10'000};
  std::int64_t registrations_burst = settings::codes_per_address.standard;
  std::chrono::milliseconds registration_every{2'000};
  std::int64_t codes_per_hour = settings::codes_per_hour.standard; ///< this many at once, too
  /// `openDirect` of one user at this process. A question that finds nobody costs five: 144 numbers an hour
  /// can be tried out, while a person with a full address book is not held up.
  std::int64_t lookups_burst = 200;
  std::chrono::milliseconds lookup_every{5'000};
  std::uint32_t lookup_miss_costs = 5;
  std::size_t addresses_max = 20'000; ///< to remember; those that were not seen for longest are forgotten

  // Each connection.
  transport::stream_limits stream = server_limits();
  transport::tcp_options tcp;
  int nesting_max = 16;
  /// Words of calls that have not returned, and how many such calls there may be. At these bounds no further call is read.
  std::size_t flow_words_max = 256 * 1024;
  std::uint32_t calls_max = 256;
  /// Bytes of its messages that are not answered, or wait for their turn. At this bound no further call is read: whoever sends
  /// more than the cluster takes would have it read, decrypted and kept for nothing.
  std::size_t sends_each_bytes_max = 128 * 1024;
  /// Questions that are not answered, or not finished by the client: Cap'n Proto keeps an entry for each.
  /// Above: closed.
  std::uint32_t questions_max = 2'048;
  /// How often a client may ask for the gateway, and never after its login. Once is enough; each costs an
  /// export, which the client may keep. Above: closed.
  std::uint32_t bootstraps_max = 4;
  /// Capabilities in one message. `receive` has one. Above: closed.
  std::uint32_t capabilities_max = 8;
  /// Steps of a path into an answer that has not come yet. A session is one step away. Above: closed.
  std::uint32_t path_steps_max = 8;
  /// Calls for a page that are under way; above: `overloaded`, because a page holds up to `page_bytes_max`.
  std::uint32_t pages_max = 4;
  std::uint32_t page_items_max = parley::page_items_max;
  std::size_t page_bytes_max = parley::page_bytes_max;
  /// Calls of those who have logged in that are not answered, but for messages, of all connections. While a shard has no
  /// leader each takes 4 to 6 KiB, so that a thousand clients with `calls_max` would take a gigabyte. Above:
  /// `overloaded`, and who has few is the last to be refused.
  std::uint32_t calls_of_all_max = 16'384;
  // Of all connections together, because a thousand that keep to their own bounds are too much for a node. Each is in
  // memory two or three times on its way.
  /// Pages that are read at a time; others wait for their turn. A page of a megabyte takes a millisecond of the thread that reads
  /// it, and what others want of that thread waits behind all of them: a bystander's p99 beside four people who ask for
  /// sixteen at once was 21 ms with 64 of them, 7 ms with 4.
  std::uint32_t pages_of_all_max = 4;
  /// A turn ends by itself: who does not answer by then waits for something, for the store to show what is new (20 ms) or for
  /// a leader (seconds), and takes nobody's time. Such pages may come all at once, so these are bounded as well.
  std::chrono::milliseconds page_turn_max{5};
  /// Pages with those whose turn has ended so. When a quarter of it is under way, a connection gets one only.
  std::uint32_t pages_under_way_of_all_max = 512;
  /// How long a page or a message waits for its turn; then it is `overloaded`.
  std::chrono::milliseconds page_wait_max = settings::call_timeout.standard;
  /// While the buffers of all are more than half full no page is read. If it lasts longer, and somebody waits, those
  /// with most in them are closed.
  std::chrono::milliseconds pages_held_back_max{1'000};
  /// Bytes of messages that are not answered, with those that wait for their turn; the loops of a node have equal parts of it.
  /// Above: `overloaded`, and who has little is the last to be refused.
  std::size_t sends_held_bytes_of_all_max = sends_held_bytes_max;
  /// Those of them that are in the cluster; the others wait for their turn (send_turns.hpp).
  std::size_t sends_bytes_of_all_max = sends_bytes_max;
  /// The same, of those that take turns, in units of a short message, as a user's rate counts them. Fewer make batches smaller.
  /// Measured with three nodes on two cores, 200 pairs with 16 messages each: 21,800/s with 1,024, 11,300/s with 256.
  std::uint32_t sends_under_way_of_all_max = 1'536;
  /// The same units in a second of one connection: who sends more is not one who seldom sends. A node sets it below the rate
  /// of a user, so that those who use all of that take turns.
  std::uint32_t sends_seldom_max = 50;
  /// A turn ends by itself, because a shard without a leader does not answer for seconds.
  std::chrono::milliseconds send_turn_max{200};
  /// Bytes of what was read and is not whole, and of what is written and not sent. Above: the connection with most of it is
  /// closed.
  std::size_t buffers_bytes_of_all_max = 128 * 1024 * 1024;
  std::size_t body_bytes_max = parley::body_bytes_max;
  /// What one `deliver` takes from the delivery queue. The stream's window bounds the calls under way.
  std::size_t deliver_rows_max = 64;
  std::size_t deliver_bytes_max = 32 * 1024;
  /// Calls to receivers that have not returned, those to replaced receivers included: some windows full of
  /// the shortest ones. Above: closed.
  std::uint32_t deliveries_max = 1'024;
  /// How long a receiver may take for what fills its window.
  std::chrono::milliseconds receiver_deadline{60'000};
  std::chrono::milliseconds idle_deadline{90'000};
  /// How long a connection stays open after `Receiver.closed` was sent, so that the client can receive it.
  std::chrono::milliseconds close_grace{2'000};
  std::chrono::seconds resume_valid_for =
      std::chrono::duration_cast<std::chrono::seconds>(settings::resume_token_life.standard);

  /// Within which the clients of a node that drains reconnect elsewhere, evenly spread.
  std::chrono::milliseconds drain_spread = settings::drain_spread.standard;
  /// The precision of all deadlines above.
  std::chrono::milliseconds sweep_every{500};
};

/// Nothing, or the setting that a gateway cannot run with.
config_check validate(const gateway_config& c);

} // namespace parley::gateway

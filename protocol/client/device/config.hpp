#pragma once
#include "protocol/client/rules/backoff.hpp"
#include "protocol/client/values.hpp"
#include "protocol/transport/socket.hpp"
#include "protocol/values/config_fault.hpp"

#include <string_view>
#include <vector>

namespace parley::client {

using transport::server_address;

/// "host:port,host:port"
result<std::vector<server_address>> parse_seeds(std::string_view text);

/// Where deliveries come from.
enum class intake : std::uint8_t {
  live, ///< the cluster streams them to the device
  pull  ///< `sync_inbox` fetches them, and nothing else does
};

struct config {
  std::vector<server_address> seeds;        ///< nodes to connect to; when one fails, the next one is tried
  std::size_t first_seed = ~std::size_t{0}; ///< index of the seed to begin with; by default a random one

  backoff_config reconnect{std::chrono::milliseconds{500}, std::chrono::milliseconds{60'000}};
  /// No pause is longer while a message, a call or the program waits for a connection.
  std::chrono::milliseconds reconnect_wanted_max{5'000};
  /// A connection that lasted this long was a good one: after its loss the pauses begin at the lowest
  /// ceiling.
  std::chrono::milliseconds stable_after{5'000};
  std::chrono::milliseconds dial_timeout{5'000}; ///< one seed: TCP, TLS, hello and login together
  /// The cluster answers every call in less time, if only with "timed out", so a silent connection is dead.
  std::chrono::milliseconds call_timeout{15'000};
  std::chrono::milliseconds ask_timeout{30'000}; ///< for a call other than `send`, all its attempts together
  std::chrono::milliseconds ping_every{30'000};  ///< without another call; the cluster closes after 90 s

  backoff_config resend{std::chrono::milliseconds{50}, std::chrono::milliseconds{2'000}};
  /// Messages of one conversation that are under way at the same time. With 1 their order is kept whatever
  /// happens; larger windows are for load generators. The cluster remembers the newest 256 ids of a device in
  /// a conversation, so the window must stay far below that.
  std::size_t window = 1;
  std::size_t in_flight_max = 1'024; ///< messages under way, of all conversations together
  /// What they take, each with 1,024 bytes beside its body; at this bound no further one is sent. At the same bound a node
  /// reads nothing more from a connection. With more under way all other calls would wait behind messages: above the rate of
  /// its user for so long that the connection seems to be dead.
  std::size_t in_flight_bytes_max = 128 * 1'024;
  std::size_t outbox_messages_max = 100'000; ///< messages without an outcome; `send` refuses more
  /// After this many refusals in a row, of which those of one burst count once, the device assumes that the
  /// node reaches no majority and tries another.
  unsigned move_after_refusals = 6;

  intake how = intake::live;
  std::chrono::milliseconds ack_every{200};
  std::size_t ack_items_max = 100;
  std::uint32_t page_items = page_items_max; ///< rows to ask for in one page; the cluster may answer fewer
  unsigned heal_tries_max = 3;               ///< fetches of a gap before it is reported and skipped

  std::uint64_t chance = 0; ///< seed of all random pauses; 0: the operating system chooses one
};

config_check validate(const config& c);

} // namespace parley::client

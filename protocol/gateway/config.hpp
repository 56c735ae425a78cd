#pragma once
// The settings of a gateway. The process that runs it fills them once; every server of the process has
// the same.
#include "protocol/transport/message_stream.hpp"
#include "protocol/transport/socket.hpp"
#include "protocol/values/config_fault.hpp"
#include "protocol/values/limits.hpp"
#include "protocol/values/settings.hpp"
#include "protocol/values/types.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace parley::gateway {

/// What a gateway allows each peer.
transport::stream_limits server_limits();

struct gateway_config {
  transport::endpoint listen{"127.0.0.1", 7400};
  cluster_id cluster;
  node_id node{};

  // before login
  std::chrono::milliseconds login_deadline = settings::login_deadline.standard;
  std::uint64_t login_bytes_max = 16 * 1024;
  std::uint32_t login_attempts_max = 3; ///< per connection

  // connections, per server (one server per thread)
  std::size_t connections_max = settings::connections_max.standard;
  /// Each may hold the memory of a TLS handshake.
  std::size_t pre_login_max = settings::connections_before_login_max.standard;
  std::size_t pre_login_per_address_max =
      1'000;                             ///< below `pre_login_max`, so that one address cannot take it all
  std::int64_t handshakes_burst = 1'000; ///< accepted at once; others wait in the kernel's backlog
  std::chrono::microseconds handshake_every{500}; ///< one more each: 2,000/s is all that a core can do
  int backlog = 4'096;

  // codes and registrations, per address and server; per phone: the account
  std::int64_t codes_burst = settings::codes_per_address.standard;
  std::chrono::milliseconds code_every{10'000};
  std::int64_t registrations_burst = settings::codes_per_address.standard;
  std::chrono::milliseconds registration_every{2'000};
  std::size_t addresses_max = 20'000; ///< remembered; the least recently seen are forgotten
  /// Sent to clients; the account forgets a code after the same time.
  std::chrono::seconds code_valid_for =
      std::chrono::duration_cast<std::chrono::seconds>(settings::code_life.standard);

  // each connection
  transport::stream_limits stream = server_limits();
  transport::tcp_options tcp;
  int nesting_max = 16;
  std::size_t flow_words_max = 256 * 1024; ///< of calls that have not returned; above: no more are read
  std::uint32_t calls_max = 256;           ///< under way; at it: no more are read
  std::uint32_t questions_max =
      2'048; ///< answered or not, but not finished: each keeps its answer; above: closed
  std::uint32_t capabilities_max = 8; ///< handed over in one message: `receive` has one; above: closed
  std::uint32_t path_steps_max =
      8;                       ///< into an answer that is still to come: a session is one away; above: closed
  std::uint32_t pages_max = 4; ///< sync calls under way; above: `overloaded`, for a page is up to 1 MiB
  std::uint32_t page_items_max = parley::page_items_max;
  std::size_t page_bytes_max = parley::page_bytes_max;
  std::size_t body_bytes_max = parley::body_bytes_max;
  std::size_t deliver_rows_max = 64;         ///< taken from the queue per `deliver`; what is under way is
  std::size_t deliver_bytes_max = 32 * 1024; ///< bounded by the stream's window and one such call
  std::chrono::milliseconds receiver_deadline{60'000}; ///< for a receiver to take what fills its window
  std::chrono::milliseconds idle_deadline{90'000};
  std::chrono::milliseconds close_grace{2'000}; ///< for `Receiver.closed` to be heard
  std::chrono::seconds resume_valid_for =
      std::chrono::duration_cast<std::chrono::seconds>(settings::resume_token_life.standard);

  std::chrono::milliseconds drain_spread =
      settings::drain_spread.standard;        ///< clients reconnect within it, evenly
  std::chrono::milliseconds sweep_every{500}; ///< all deadlines are kept to this precision
};

config_check validate(const gateway_config& c);

} // namespace parley::gateway

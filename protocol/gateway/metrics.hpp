#pragma once
// What the gateways of a process count: one object, shared by its servers and read by the admin port.
#include "protocol/transport/message_stream.hpp"
#include "protocol/values/counters.hpp"
#include "protocol/values/errors.hpp"

#include <array>

namespace parley::gateway {

struct gateway_metrics {
  counter accepted{0};          ///< connections
  counter refused{0};           ///< connections above a bound
  counter connections{0};       ///< now
  counter sessions{0};          ///< logged in, now
  counter handshakes_failed{0}; ///< TLS handshakes that were refused, given up or too slow
  counter accepts_paused{0};    ///< handshakes came too fast, or descriptors ran out
  counter logins{0};
  counter logins_failed{0};
  counter codes_sent{0};
  counter registrations{0};
  counter limited{0}; ///< refused by a limit per address
  counter calls{0};
  counter sends{0};
  std::array<counter, error_rows> send_errors{}; ///< by `error_row`
  counter internal_errors{0};
  counter rows_delivered{0};
  counter bytes_in{0}; ///< on the wire; brought up to date by the sweep
  counter bytes_out{0};
  std::array<counter, transport::close_reasons> closes{};
  duration_histogram taken_to_written;   ///< from `session::take` until the kernel has it
  duration_histogram applied_to_written; ///< of each pushed row, from when its inbox's leader applied it
};

} // namespace parley::gateway

#pragma once
// What the gateways of a process count: one object, shared by its servers and read by the admin port.
#include "protocol/transport/message_stream.hpp"
#include "protocol/values/counters.hpp"
#include "protocol/values/errors.hpp"

#include <array>
#include <cstdint>
#include <string_view>

namespace parley::gateway {

/// The bounds of a gateway at which it refuses a call without asking the cluster.
enum class bound : std::uint8_t {
  codes_of_address, ///< or of one of its networks; so are registrations
  codes_of_node,
  codes_waiting, ///< until they are handed to the code sender
  registrations_of_address,
  registrations_of_node,
  lookups,         ///< of a user
  receivers,       ///< likewise
  pages,           ///< of a connection, under way
  pages_waiting,   ///< a page has waited too long for its turn
  calls,           ///< of all connections, under way
  messages,        ///< of all connections, in bytes
  messages_waiting ///< a message has waited too long for its turn
};
inline constexpr std::array<std::string_view, 12> bound_names{
    "codes_of_address",      "codes_of_node", "codes_waiting", "registrations_of_address",
    "registrations_of_node", "lookups",       "receivers",     "pages",
    "pages_waiting",         "calls",         "messages",      "messages_waiting"};
static_assert(static_cast<std::size_t>(bound::messages_waiting) + 1 == bound_names.size());

struct gateway_metrics {
  counter accepted{0};          ///< connections
  counter refused{0};           ///< connections of addresses that have had their share
  counter refused_full{0};      ///< connections above those that a node has
  counter connections{0};       ///< now
  counter sessions{0};          ///< logged in, now
  counter handshakes_failed{0}; ///< TLS handshakes that were refused, given up or too slow
  counter accepts_paused{0};    ///< handshakes came too fast, or descriptors ran out
  counter logins{0};
  counter logins_failed{0};
  counter codes_sent{0};
  counter registrations{0};
  std::array<counter, bound_names.size()> refused_at{}; ///< calls, by `bound`
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

  counter& refused_for(bound b) { return refused_at[static_cast<std::size_t>(b)]; }
};

} // namespace parley::gateway

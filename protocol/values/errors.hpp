#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace parley {

/// Every error that a caller can get. The numbers are sent, stored and logged: a new error takes the next
/// number of its band; no number is changed or used twice. The last number of a band is never assigned: it
/// represents the errors of that band that this program does not know.
enum class ec : std::uint16_t {
  none = 0,
  // 1-999: outcomes. They answer the question; asking again in the same way gives the same answer, unless the
  // table says otherwise.
  rate_limited = 1, ///< retryable, after `retry_after`
  not_a_member = 2,
  no_such_conversation = 3,
  no_such_user = 4,
  too_large = 5,     ///< a body, a name, a list or an entry above its bound
  conflict = 6,      ///< the client_msg_id belongs to another body, whose place is in the answer
  retry_too_old = 7, ///< the client_msg_id is below the dedup window, and unknown
  bad_cursor = 8,
  bad_request = 9,
  bad_phone = 10,
  code_wrong = 11,
  code_expired = 12,
  not_authenticated = 13,
  bad_signature = 14,
  unsupported_version = 15,
  fenced = 16, ///< a newer connection of the device took over; this session is over
  session_closed = 17,
  wrong_cluster = 18,
  bad_text = 19, ///< not UTF-8
  code_send_failed = 20,
  device_limit = 21, ///< the user has as many devices as one may have
  session_ahead =
      22, ///< of a login: its number is further ahead of the node's clock than `session_ahead_max`
  // 1000-1999: conditions. They pass; trying again may help, here or at another node.
  not_leader = 1000,
  overloaded = 1001,
  timed_out = 1002,
  unavailable = 1003, ///< no majority of a shard's replicas can be reached
  sealed = 1004,      ///< the shard goes on in its next generation
  draining = 1005,    ///< the node is stopping
  disk_full = 1006,
  gap = 1007,   ///< an inbox append does not follow the last one
  stale = 1008, ///< the append belongs to an older membership
  // 2000-2999: faults. Somebody has to look.
  bad_config = 2000,
  storage_failed = 2001,
  corrupt = 2002,
  internal = 2003,
};

enum class error_band : std::uint8_t { none, outcome, condition, fault };

/// Numbers above the bands count as faults: no program that we know gives them.
constexpr error_band band_of(ec code) {
  const auto n = static_cast<std::uint16_t>(code);
  if (n == 0)
    return error_band::none;
  if (n < 1000)
    return error_band::outcome;
  return n < 2000 ? error_band::condition : error_band::fault;
}

/// Whether the attempt that got an error stored what was handed in. `unknown` includes "an earlier attempt
/// with the same client_msg_id may have".
enum class was_stored : std::uint8_t { unknown = 0, no = 1, yes = 2 };

struct error_info {
  ec code;
  std::string_view name;     ///< kebab-case, stable
  std::string_view sentence; ///< for a person: what happened, what it means for the data, what to do next
  was_stored stored;
  bool retryable; ///< trying again, with the same client_msg_id, may succeed
};

/// The one table, `error_rows` long. Its last rows describe the unknown codes, one row for each band.
inline constexpr std::size_t error_rows = 39;
std::span<const error_info, error_rows> error_table();

/// The row of `code`. An unknown code, which a newer peer may send, gets the row of its band.
const error_info& describe(ec code);
/// False: the table has no row of its own for `code`.
bool is_known(ec code);
/// The index of `describe(code)` in `error_table()`. Counters by error use it, too.
std::size_t error_row(ec code);

} // namespace parley

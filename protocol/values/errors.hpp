#pragma once
#include <cstdint>
#include <string_view>

namespace parley {

/// Everything a caller can be told. The numbers travel, are stored and logged:
/// append within a band, never renumber, never reuse.
enum class ec : std::uint8_t {
  none = 0,
  // 1-39: outcomes. Final answers to what was asked; "not stored" is certain.
  rate_limited = 1, ///< try again after `retry_after`
  not_a_member = 2,
  no_such_conversation = 3,
  no_such_user = 4,
  too_large = 5,     ///< body above 64 KiB, or a list above its bound
  conflict = 6,      ///< same client_msg_id, other body: the first answer comes along
  retry_too_old = 7, ///< client_msg_id below the dedup window and unknown
  bad_cursor = 8,
  bad_request = 9,
  bad_phone = 10,
  code_wrong = 11,
  code_expired = 12,
  not_authenticated = 13,
  bad_signature = 14,
  unsupported_version = 15,
  fenced = 16, ///< the device connected elsewhere: this session is over
  session_closed = 17,
  wrong_cluster = 18,
  bad_text = 19, ///< not UTF-8
  code_send_failed = 20,
  // 40-69: conditions. Trying again may help, here or elsewhere; "stored or not" may be unknown.
  not_leader = 40,
  overloaded = 41,
  timed_out = 42,   ///< unknown outcome: try again with the same client_msg_id
  unavailable = 43, ///< no majority reachable
  sealed = 44,      ///< the shard goes on in its next generation
  draining = 45,    ///< this node is stopping: reconnect elsewhere
  disk_full = 46,
  gap = 47,   ///< an inbox append does not follow the last one
  stale = 48, ///< an older generation of membership
  moved = 49, ///< the conversation lives elsewhere
  // 70-99: faults. Somebody has to look.
  bad_config = 70,
  storage_failed = 71,
  corrupt = 72,
  internal = 73,
};

struct error_info {
  ec code;
  std::string_view name;     ///< kebab-case, stable
  std::string_view sentence; ///< what happened and what to do next, for a person
  bool retryable;            ///< trying again, with the same id, may succeed
};

/// The one table. Unknown codes (a newer peer's) get an entry that says so.
const error_info& describe(ec code);

} // namespace parley

#pragma once
// Queries of a shard's rows, for residents and tests. Pure functions over one consistent view.
//
// How fresh an answer is depends on when the view's transaction began (after a read round, for a fresh one).
// Pages are capped by `limits` whatever the caller asks. A row that does not decode, or fails its checksum,
// ends an answer with `corrupt`; where the answer has no error field, `view.status()` or an absent value
// tells. Thread: the view's.
#include "actors/core/calls.hpp"
#include "actors/core/limits.hpp"
#include "cluster/machine/shard_rows.hpp"
#include "storage/environment.hpp"

#include <optional>
#include <vector>

namespace parley::cluster::queries {

using storage::shard_view;

// --- conversations -----------------------------------------------------------------------------------------

/// Distinguishes an absent row (no value, no error), an unreadable one, and one whose checksum fails.
template <class T>
struct row {
  std::optional<T> it;
  ec error = ec::none;
};
row<rows::conversation_head> find_conversation(shard_view& view, conversation_id c);

/// The final answer to a message that was sent before (the first placement, or a conflict), or to one whose
/// id is too old. Empty if the id was not seen. To be called before any limit is checked: a retry must not
/// be answered with `rate_limited`.
std::optional<core::placement> find_retry(shard_view& view, const core::submission& what);

/// Errors: no_such_conversation, not_a_member, corrupt.
core::conversation_page read_conversation(shard_view& view, const core::sync_conversation& ask,
                                          const core::limits& l = {});
/// The log in (after, upto], at most `rows_max` rows and `bytes_max` of bodies (but at least one row,
/// if there is any).
std::vector<core::message> read_messages(shard_view& view, conversation_id c, seq_no after, seq_no upto,
                                         std::size_t rows_max, std::size_t bytes_max);
/// Of every member; zeros where no watermark was written.
std::vector<core::watermark> read_watermarks(shard_view& view, conversation_id c,
                                             const rows::conversation_head& head);

/// Debts numbered `from` and up, bodies of messages loaded: what a fan-out actor replays. Errors: those
/// of the view, corrupt; then there are no rows.
core::debt_page read_debts(shard_view& view, shard_id shard, std::uint64_t from, std::size_t rows_max,
                           std::size_t bytes_max);

// --- inboxes -----------------------------------------------------------------------------------------------

/// Of a page that is read for a session's stream (`pull_inbox::live`). All sessions may ask at once, when their node has
/// failed for example, and each such page is in memory until its session has put it into its delivery queue, of which this
/// is the least setting.
inline constexpr std::size_t stream_page_bytes_max = 128 << 10;
/// Rows behind `ask.after`. The last page reaches the inbox's end, whichever rows are gone.
/// Errors: bad_cursor (beyond the end), corrupt.
core::inbox_page read_inbox(shard_view& view, const core::pull_inbox& ask, const core::limits& l = {});
/// Errors: no_such_user (no such device of this user), corrupt.
core::attached read_attachment(shard_view& view, user_id user, device_id device);
core::conversation_list list_conversations(shard_view& view, const core::list_conversations& ask,
                                           const core::limits& l = {});

// --- accounts and nodes ------------------------------------------------------------------------------------

/// Errors: no_such_user (no such device of this user; there is such a user if `devices` is not 0), corrupt.
core::found_device find_device(shard_view& view, user_id user, device_id device);
/// Errors: bad_phone, no_such_user, corrupt.
core::found_phone find_phone(shard_view& view, std::string_view phone, const core::limits& l = {});
core::node_list list_nodes(shard_view& view);
/// `oldest` if the row is absent or cannot be read.
core::format_number read_format(shard_view& view);

} // namespace parley::cluster::queries

#pragma once
// What clients carry for us: places in an inbox, and where a session was. They are opaque to clients, and
// checked when they come back. Both have a version and a length, so that a field can be appended: a node
// skips fields of a newer one, and refuses other versions with the same typed error as any other bytes.
#include "protocol/gateway/config.hpp"
#include "protocol/values/errors.hpp"

#include <tl/expected.hpp>

#include <string>
#include <string_view>

namespace parley::gateway {

/// Bound to its cluster and user, so that a stranger's or a mistyped cursor is noticed. It is not a
/// secret: who makes one up for their own inbox only misplaces themselves.
std::string encode_cursor(const cluster_id& cluster, user_id user, inbox_pos pos);
/// Empty bytes are the beginning of the inbox. Errors: bad_cursor.
tl::expected<inbox_pos, ec> decode_cursor(const cluster_id& cluster, user_id user, std::string_view bytes);

/// Names a session and proves nothing: who resumes signs as for a login.
struct resume_token {
  user_id user{};
  device_id device{};
  inbox_pos position{}; ///< acknowledged when the token was made
  unix_ms issued{};
};
std::string encode_token(const cluster_id& cluster, const resume_token& t);
/// Errors: bad_request, wrong_cluster, and not_authenticated when it is older than `valid_for`.
tl::expected<resume_token, ec> decode_token(const cluster_id& cluster, std::string_view bytes, unix_ms now,
                                            std::chrono::milliseconds valid_for);

} // namespace parley::gateway

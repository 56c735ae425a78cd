#pragma once
// What clients carry for us: places in an inbox, and where a session was. Opaque to them, checked when they
// come back.
#include "protocol/gateway/config.hpp"
#include "protocol/values/errors.hpp"

#include <tl/expected.hpp>

#include <string>
#include <string_view>

namespace parley::gateway {

/// Bound to its cluster and user: a stranger's or a mistyped cursor is found out. Not a secret: whoever makes
/// up one for their own inbox only misplaces themselves.
std::string encode_cursor(const cluster_id& cluster, user_id user, inbox_pos pos);
/// Empty bytes are the beginning. Else: ec::bad_cursor.
tl::expected<inbox_pos, ec> decode_cursor(const cluster_id& cluster, user_id user, std::string_view bytes);

/// Names a session, proves nothing: resuming signs like a login.
struct resume_token {
  user_id user{};
  device_id device{};
  inbox_pos position{}; ///< acknowledged when it was made
  unix_ms issued{};
};
std::string encode_token(const cluster_id& cluster, const resume_token& t);
/// Else: bad_request, wrong_cluster, or not_authenticated when it is older than `valid_for`.
tl::expected<resume_token, ec> decode_token(const cluster_id& cluster, std::string_view bytes, unix_ms now,
                                            std::chrono::milliseconds valid_for);

} // namespace parley::gateway

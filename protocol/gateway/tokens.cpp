#include "protocol/gateway/tokens.hpp"

#include "protocol/values/codec.hpp"

#include <optional>

namespace parley::gateway {
namespace {

constexpr std::uint8_t cursor_version = 1;
constexpr std::uint8_t token_version = 1;
constexpr std::int64_t clock_skew_ms = 60'000; ///< between the nodes of a cluster

// A cursor or a token is an envelope. Fields are appended to its body; a reader skips those that it does not
// know, because nodes of two versions read each other's.

/// The body. Nothing if the version is another one, or if the length does not match.
std::optional<std::string_view> body_of(std::uint8_t version, std::string_view bytes) {
  reader r{bytes};
  const auto found = r.get_envelope();
  if (!r.done() || found.version != version)
    return std::nullopt;
  return found.body;
}

std::uint64_t cursor_check(const cluster_id& cluster, user_id user, inbox_pos pos) {
  return mix64(number(pos) ^ mix64(number(user) ^ mix64(cluster.hi ^ mix64(cluster.lo))));
}

} // namespace

std::string encode_cursor(const cluster_id& cluster, user_id user, inbox_pos pos) {
  writer out{18};
  const auto body = out.open(cursor_version);
  out.put(pos).put(cursor_check(cluster, user, pos));
  out.close(body);
  return std::move(out).bytes();
}

tl::expected<inbox_pos, ec> decode_cursor(const cluster_id& cluster, user_id user, std::string_view bytes) {
  if (bytes.empty())
    return inbox_pos::none;
  const auto body = body_of(cursor_version, bytes);
  if (!body)
    return tl::unexpected(ec::bad_cursor);
  reader r{*body};
  const auto pos = r.get<inbox_pos>();
  const auto check = r.get<std::uint64_t>();
  if (!r.ok() || check != cursor_check(cluster, user, pos))
    return tl::unexpected(ec::bad_cursor);
  return pos;
}

std::string encode_token(const cluster_id& cluster, const resume_token& t) {
  writer out{50};
  const auto body = out.open(token_version);
  out.put(cluster.hi).put(cluster.lo);
  out.put(t.user).put(t.device).put(t.position).put(t.issued);
  out.close(body);
  return std::move(out).bytes();
}

tl::expected<resume_token, ec> decode_token(const cluster_id& cluster, std::string_view bytes, unix_ms now,
                                            std::chrono::milliseconds valid_for) {
  const auto body = body_of(token_version, bytes);
  if (!body)
    return tl::unexpected(ec::bad_request);
  reader r{*body};
  const auto hi = r.get<std::uint64_t>();
  const auto lo = r.get<std::uint64_t>();
  resume_token t;
  t.user = r.get<user_id>();
  t.device = r.get<device_id>();
  t.position = r.get<inbox_pos>();
  t.issued = r.get<unix_ms>();
  if (!r.ok())
    return tl::unexpected(ec::bad_request);
  if (cluster_id{hi, lo} != cluster)
    return tl::unexpected(ec::wrong_cluster);
  const auto issued = static_cast<std::int64_t>(t.issued);
  const auto at = static_cast<std::int64_t>(now);
  if (issued < 0 || issued > at + clock_skew_ms || issued < at - valid_for.count() - clock_skew_ms)
    return tl::unexpected(ec::not_authenticated);
  return t;
}

} // namespace parley::gateway

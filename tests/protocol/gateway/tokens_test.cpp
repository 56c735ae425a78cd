#include "protocol/gateway/tokens.hpp"

#include "protocol/values/codec.hpp"
#include "tests/support/mutations.hpp"

#include <doctest/doctest.h>

using namespace parley;
using namespace std::chrono_literals;
using gateway::decode_cursor;
using gateway::decode_token;
using gateway::encode_cursor;
using gateway::encode_token;

namespace {

constexpr cluster_id ours{1, 2}, theirs{1, 3};
constexpr user_id alice{7}, bob{8};
constexpr unix_ms noon{1'700'000'000'000};
const gateway::resume_token token{alice, device_id{70}, inbox_pos{5}, noon};

/// What a newer node would make: the same body and one field more.
std::string longer(std::string bytes) {
  bytes.push_back(static_cast<char>(0x2a));
  ++bytes[1];
  return bytes;
}
std::string shorter(std::string bytes) {
  bytes.pop_back();
  --bytes[1];
  return bytes;
}
std::string hex(std::string_view bytes) {
  std::string out;
  for (const auto c : bytes) {
    constexpr std::string_view digits = "0123456789abcdef";
    const auto byte = static_cast<unsigned char>(c);
    out += digits[byte >> 4];
    out += digits[byte & 15];
  }
  return out;
}

auto read_token(std::string_view bytes, const cluster_id& cluster = ours, unix_ms now = noon) {
  return decode_token(cluster, bytes, now, 5min);
}

} // namespace

TEST_CASE("a cursor of another user, another cluster or another version is refused") {
  const auto cursor = encode_cursor(ours, alice, inbox_pos{5});
  CHECK(decode_cursor(ours, bob, cursor).error() == ec::bad_cursor);
  CHECK(decode_cursor(theirs, alice, cursor).error() == ec::bad_cursor);
  auto newer = cursor;
  ++newer[0];
  CHECK(decode_cursor(ours, alice, newer).error() == ec::bad_cursor);
}

TEST_CASE("a cursor with bytes missing, or with bytes that its length does not name, is refused") {
  const auto cursor = encode_cursor(ours, alice, inbox_pos{5});
  CHECK(decode_cursor(ours, alice, shorter(cursor)).error() == ec::bad_cursor);
  CHECK(decode_cursor(ours, alice, cursor + "x").error() == ec::bad_cursor);
  for (std::size_t n = 1; n < cursor.size(); ++n)
    CHECK(decode_cursor(ours, alice, cursor.substr(0, n)).error() == ec::bad_cursor);
}

TEST_CASE("a cursor or a token with a field that is not known yet is read") {
  CHECK(decode_cursor(ours, alice, longer(encode_cursor(ours, alice, inbox_pos{5}))) == inbox_pos{5});
  const auto t = read_token(longer(encode_token(ours, token)));
  REQUIRE(t.has_value());
  CHECK(t->position == inbox_pos{5});
}

TEST_CASE("a token that is cut, too old, from the future or of another cluster is refused") {
  const auto bytes = encode_token(ours, token);
  CHECK(read_token(shorter(bytes)).error() == ec::bad_request);
  CHECK(read_token("").error() == ec::bad_request);
  CHECK(read_token(bytes, theirs).error() == ec::wrong_cluster);
  CHECK(read_token(bytes, ours, unix_ms{static_cast<std::int64_t>(noon) + 3'600'000}).error() ==
        ec::not_authenticated);
  CHECK(read_token(bytes, ours, unix_ms{static_cast<std::int64_t>(noon) - 3'600'000}).error() ==
        ec::not_authenticated);
  auto newer = bytes;
  ++newer[0];
  CHECK(read_token(newer).error() == ec::bad_request);
}

TEST_CASE("no bytes crash the readers, and no damaged cursor is accepted") {
  constexpr std::uint64_t seed = 11;
  test::mutator damage{seed};
  const auto cursor = encode_cursor(ours, alice, inbox_pos{5});
  const auto bytes = encode_token(ours, token);
  for (int i = 0; i < 20'000; ++i) {
    CAPTURE(i);
    const auto bad = damage.of(cursor);
    const auto read = decode_cursor(ours, alice, bad);
    REQUIRE((!read || *read == inbox_pos{5} || bad.empty()));
    static_cast<void>(read_token(damage.of(bytes)));
  }
}

TEST_CASE("the bytes of version 1 do not change") {
  CHECK(hex(encode_token(ours, token)) == "0130"
                                          "01000000000000000200000000000000"
                                          "07000000000000004600000000000000"
                                          "05000000000000000068e5cf8b010000");
  CHECK(hex(encode_cursor(ours, alice, inbox_pos{5})).substr(0, 20) == "01100500000000000000");
  CHECK(encode_cursor(ours, alice, inbox_pos{5}).size() == 18);
}

TEST_CASE("cursors and tokens are read as they were written") {
  CHECK(decode_cursor(ours, alice, "") == inbox_pos::none);
  for (const std::uint64_t n : {std::uint64_t{1}, std::uint64_t{5}, UINT64_MAX})
    CHECK(decode_cursor(ours, alice, encode_cursor(ours, alice, inbox_pos{n})) == inbox_pos{n});
  const auto t = read_token(encode_token(ours, token));
  REQUIRE(t.has_value());
  CHECK(t->user == alice);
  CHECK(t->device == device_id{70});
  CHECK(t->issued == noon);
}

#include "actors/core/inbox_cover.hpp"

#include <doctest/doctest.h>

using namespace parley;
using namespace parley::core;
using kind = cover_verdict::kind;

namespace {

constexpr conversation_id room{1, 2};

news msg(std::uint64_t prev, std::uint64_t seq, conversation_id c = room) {
  core::message m;
  m.conversation = c;
  m.seq = seq_no{seq};
  return message_news{seq_no{prev}, m};
}

inbox_append part(std::uint64_t membership, std::uint64_t prev, std::uint64_t upto,
                  std::vector<news> items = {}) {
  return {user_id{9}, room, membership, seq_no{prev}, seq_no{upto}, std::move(items)};
}

stream_state has(std::uint64_t membership, std::uint64_t covered) {
  return {membership, seq_no{covered}};
}

} // namespace

TEST_CASE("a part that skips something is a gap, and the answer says where to resend from") {
  const auto v = cover(has(1, 4), part(1, 5, 6, {msg(5, 6)}));
  CHECK(v.what == kind::gap);
  CHECK(v.above == seq_no{4});
  CHECK(v.after == has(1, 4));
}

TEST_CASE("receipts behind a missing message are a gap as well") {
  CHECK(cover(has(1, 4), part(1, 5, 5, {watermark{room, user_id{1}, seq_no{5}, {}}})).what == kind::gap);
}

TEST_CASE("the part that arrives first need not be the first: without the ones before it, it is a gap") {
  const auto v = cover({}, part(1, 1, 2, {msg(1, 2)}));
  CHECK(v.what == kind::gap);
  CHECK(v.above == seq_no{0});
  CHECK(v.after == stream_state{});
}

TEST_CASE("receipts that arrive first do not say where the stream begins") {
  CHECK(cover({}, part(1, 3, 3, {watermark{room, user_id{1}, seq_no{2}, {}}})).what == kind::gap);
  const auto v = cover({}, part(1, 0, 0, {watermark{room, user_id{1}, seq_no{2}, {}}}));
  CHECK(v.what == kind::accept);
  CHECK(v.after == has(1, 0));
}

TEST_CASE("an opening begins its membership's stream, however far the conversation is") {
  const auto v = cover({}, part(8, 7, 7, {opened_news{room, {}, {}}}));
  CHECK(v.what == kind::accept);
  CHECK(v.after == has(8, 7));
}

TEST_CASE("a higher membership whose first part is missing is a gap, and the earlier one stays until then") {
  const auto v = cover(has(3, 9), part(20, 20, 21, {msg(20, 21)}));
  CHECK(v.what == kind::gap);
  CHECK(v.above == seq_no{19});
  CHECK(v.after == has(3, 9));
}

TEST_CASE("a part that begins before its membership is taken from there on") {
  const auto v = cover({}, part(20, 17, 21, {msg(17, 18), msg(18, 21)}));
  CHECK(v.what == kind::accept);
  CHECK(v.above == seq_no{19});
  CHECK(v.after == has(20, 21));
}

TEST_CASE("a part of an earlier membership is stale, even if it would fit") {
  const auto v = cover(has(8, 10), part(7, 10, 11, {msg(10, 11)}));
  CHECK(v.what == kind::stale);
  CHECK(v.after == has(8, 10));
}

TEST_CASE("a part that contradicts itself is malformed, whatever the inbox has") {
  CHECK(cover(has(1, 9), part(1, 6, 5)).what == kind::malformed);                         // backwards
  CHECK(cover(has(1, 5), part(1, 5, 6, {msg(5, 7)})).what == kind::malformed);            // beyond its range
  CHECK(cover(has(1, 5), part(1, 5, 6, {msg(4, 5)})).what == kind::malformed);            // before its range
  CHECK(cover(has(1, 5), part(1, 5, 7, {msg(6, 7), msg(5, 6)})).what == kind::malformed); // not ascending
  CHECK(cover(has(1, 5), part(1, 5, 6, {msg(5, 6, {3, 3})})).what ==
        kind::malformed); // another conversation's
  CHECK(cover(has(0, 0), part(1, 0, 0, {opened_news{{3, 3}, {}, {}}})).what == kind::malformed);
  CHECK(cover(has(0, 0), part(0, 0, 1, {msg(0, 1)})).what == kind::malformed); // nobody's
  CHECK(cover(has(0, 0), part(9, 6, 7, {msg(6, 7)})).what == kind::malformed); // before its membership
  CHECK(cover(has(1, 0), part(1, 0, 0, {watermark{{3, 3}, {}, {}, {}}})).what == kind::malformed);
}

TEST_CASE("a part that the inbox already covers is a repeat") {
  const auto v = cover(has(1, 6), part(1, 4, 6, {msg(4, 6)}));
  CHECK(v.what == kind::repeat);
  CHECK(v.after == has(1, 6));
}

TEST_CASE("only the new end of a part that overlaps is taken") {
  const auto v = cover(has(1, 5), part(1, 3, 7, {msg(3, 5), msg(5, 7)}));
  CHECK(v.what == kind::accept);
  CHECK(v.above == seq_no{5});
  CHECK(v.after == has(1, 7));
}

TEST_CASE("a higher membership begins a stream of its own") {
  const auto v = cover(has(3, 9), part(20, 19, 21, {msg(19, 21)}));
  CHECK(v.what == kind::accept);
  CHECK(v.above == seq_no{19});
  CHECK(v.after == has(20, 21));
}

TEST_CASE("parts in order are taken one after the other") {
  auto s = stream_state{};
  for (std::uint64_t n = 0; n < 5; ++n) {
    const auto v = cover(s, part(1, n, n + 1, {msg(n, n + 1)}));
    CHECK(v.what == kind::accept);
    s = v.after;
  }
  CHECK(s == has(1, 5));
}

#include "protocol/client/rules/inbox_applier.hpp"
#include "tests/protocol/client/rules/inbox_rows.hpp"

#include <doctest/doctest.h>

using namespace parley;
using namespace parley::client;
using parley::test::other;
using parley::test::row;
using parley::test::talk;

namespace {

void accept(inbox_applier& a, const inbox_applier::plan& p) {
  for (const auto& [c, at] : p.positions)
    a.advance(c, at);
}

} // namespace

TEST_CASE("a gap is found, and nothing is applied before it is filled") {
  inbox_applier a;
  a.advance(talk, seq_no{3});
  const std::vector<inbox_row> rows{row(3, 4), row(6, 7)};
  const auto p = a.decide(rows);
  REQUIRE(p.missing);
  CHECK(p.missing->conversation == talk);
  CHECK(p.missing->after == seq_no{4});
  CHECK(p.missing->upto == seq_no{6});
  CHECK(a.position(talk) == seq_no{3});
}

TEST_CASE(
    "after a gap was filled, rows that the fetch already brought are repeats, and the rest is applied") {
  inbox_applier a;
  a.advance(talk, seq_no{7});
  const std::vector<inbox_row> rows{row(3, 4), row(6, 7), row(7, 9)};
  const auto p = a.decide(rows);
  CHECK(!p.missing);
  CHECK(p.repeats == 2);
  REQUIRE(p.fresh.size() == 1);
  CHECK(p.fresh[0] == 2);
}

TEST_CASE("a row that is repeated in one delivery or in several is applied once") {
  inbox_applier a;
  const std::vector<inbox_row> rows{row(0, 1), row(0, 1), row(1, 2)};
  auto p = a.decide(rows);
  CHECK(p.fresh == std::vector<std::size_t>{0, 2});
  CHECK(p.repeats == 1);
  accept(a, p);
  p = a.decide(rows);
  CHECK(p.fresh.empty());
  CHECK(p.repeats == 3);
}

TEST_CASE("seqs between `prev` and `seq` are the user's own messages, and no gap") {
  inbox_applier a;
  const std::vector<inbox_row> rows{row(0, 2), row(2, 9)};
  const auto p = a.decide(rows);
  CHECK(!p.missing);
  CHECK(p.fresh.size() == 2);
}

TEST_CASE("the positions of two conversations in one delivery are independent") {
  inbox_applier a;
  a.advance(other, seq_no{100});
  const std::vector<inbox_row> rows{row(0, 1), row(100, 101, other), row(1, 2), row(101, 102, other)};
  const auto p = a.decide(rows);
  CHECK(!p.missing);
  CHECK(p.fresh.size() == 4);
  accept(a, p);
  CHECK(a.position(talk) == seq_no{2});
  CHECK(a.position(other) == seq_no{102});
}

TEST_CASE("a gap that cannot be filled is passed over") {
  inbox_applier a;
  const std::vector<inbox_row> rows{row(5, 6)};
  CHECK(a.decide(rows).missing);
  const auto p = a.decide(rows, inbox_applier::holes::may_stay);
  CHECK(!p.missing);
  CHECK(p.fresh.size() == 1);
}

TEST_CASE("watermarks only rise, and read implies delivered") {
  inbox_applier a;
  const user_id bob{9};
  auto r = a.raise({talk, bob, seq_no{3}, seq_no{0}});
  CHECK(r.delivered);
  CHECK(!r.read);
  r = a.raise({talk, bob, seq_no{2}, seq_no{0}});
  CHECK(!r.delivered);
  CHECK(r.now.delivered == seq_no{3});
  r = a.raise({talk, bob, seq_no{0}, seq_no{5}});
  CHECK(r.delivered);
  CHECK(r.read);
  CHECK(r.now == watermark{talk, bob, seq_no{5}, seq_no{5}});
  CHECK(a.marks(talk).size() == 1);
  CHECK(a.marks(other).empty());
}

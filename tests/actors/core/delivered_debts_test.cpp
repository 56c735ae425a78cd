#include "actors/core/delivered_debts.hpp"

#include <doctest/doctest.h>
#include <random>
#include <set>

using namespace parley;
using namespace parley::core;
using namespace std::chrono_literals;

namespace {

constexpr delivered_debts::time_point t0{};
using ranges = std::vector<number_range>;

number_ranges some(std::initializer_list<number_range> all) {
  number_ranges out;
  for (const auto& r : all)
    out.add(r);
  return out;
}

} // namespace

TEST_CASE("a set of numbers kept as ranges holds what a plain set holds, whatever is added and taken") {
  std::mt19937 rng{7};
  const auto pick = [&](std::uint64_t n) { return rng() % n; };
  number_ranges it;
  std::set<std::uint64_t> plain;
  for (int round = 0; round < 5'000; ++round) {
    if (pick(10) != 0) {
      const auto from = 1 + pick(300), upto = from + pick(4);
      it.add({from, upto});
      for (auto n = from; n <= upto; ++n)
        plain.insert(n);
    } else if (!it.empty()) {
      const auto r = it.take_lowest(1 + pick(20));
      CHECK(r.from == *plain.begin());
      for (auto n = r.from; n <= r.upto; ++n)
        CHECK(plain.erase(n) == 1);
    }
    REQUIRE(it.count() == plain.size());
    REQUIRE(it.empty() == plain.empty());
  }
}

TEST_CASE("delivered debts are forgotten when there are enough of them, or a while after the first") {
  delivered_debts d{{.after = 10, .within = 5s}};
  CHECK_FALSE(d.due(t0, 100));
  d.add(some({{1, 4}}));
  CHECK_FALSE(d.due(t0, 4));
  CHECK_FALSE(d.due(t0 + 5s - 1ms, 4));
  const auto late = d.due(t0 + 5s, 4);
  REQUIRE(late);
  CHECK(late->what.upto == 4);
  CHECK(d.empty());
  d.add(some({{5, 14}}));
  const auto many = d.due(t0 + 5s, 14);
  REQUIRE(many);
  CHECK(many->what.upto == 14);
  CHECK(many->what.beyond.empty());
  CHECK(many->ticket != late->ticket);
  CHECK_FALSE(d.due(t0 + 20s, 14));
}

TEST_CASE("what is delivered behind a debt that is still owed is forgotten, too") {
  delivered_debts d{{.after = 10}};
  d.add(some({{2, 5}, {7, 15}})); // 1 and 6 are owed
  const auto due = d.due(t0, 0);
  REQUIRE(due);
  CHECK(due->what.upto == 0);
  CHECK(due->what.beyond == ranges{{2, 5}, {7, 15}});
  CHECK(d.empty());
  d.add(some({{1, 1}, {6, 6}, {16, 24}})); // now they are delivered: one number says it all
  const auto rest = d.due(t0, 24);
  REQUIRE(rest);
  CHECK(rest->what.upto == 24);
  CHECK(rest->what.beyond.empty());
}

TEST_CASE("what is only on its way for a moment is not named by itself") {
  delivered_debts d{{.after = 10}};
  d.add(some({{1, 8}, {10, 10}, {12, 12}}));
  const auto due = d.due(t0, 8);
  REQUIRE(due);
  CHECK(due->what.upto == 8);
  CHECK(due->what.beyond.empty());
  CHECK_FALSE(d.empty());
}

TEST_CASE("one command forgets a bounded number of debts, in a bounded number of ranges") {
  delivered_debts d{{.after = 10, .debts_max = 40, .ranges_max = 3}};
  d.add(some({{1, 100}}));
  CHECK(d.due(t0, 100)->what.upto == 40);
  CHECK(d.due(t0, 100)->what.upto == 80);
  CHECK(d.due(t0, 100)->what.upto == 100);
  CHECK(d.empty());
  for (std::uint64_t n = 202; n < 222; n += 2)
    d.add(some({{n, n}}));
  d.add(some({{300, 400}}));
  CHECK(d.due(t0, 200)->what.beyond == ranges{{202, 202}, {204, 204}, {206, 206}});
  for (int i = 0; i < 2; ++i)
    CHECK(d.due(t0, 200)->what.beyond.size() == 3);
  const auto last = d.due(t0, 200)->what.beyond;
  CHECK(last == ranges{{220, 220}, {300, 338}});
}

TEST_CASE("what a command that was not applied named is proposed again, and nothing else") {
  delivered_debts d{{.after = 4, .within = 5s}};
  d.add(some({{1, 3}, {5, 9}}));
  const auto first = d.due(t0, 3);
  REQUIRE(first);
  const auto second = d.due(t0, 3);
  REQUIRE(second);
  CHECK(d.empty());
  d.answered(first->ticket, true);
  CHECK(d.empty());
  d.answered(second->ticket, false);
  CHECK_FALSE(d.empty());
  const auto again = d.due(t0, 3);
  REQUIRE(again);
  CHECK(again->what.beyond == ranges{{5, 9}});
  d.answered(second->ticket, false); // a second answer
  CHECK(d.empty());
}

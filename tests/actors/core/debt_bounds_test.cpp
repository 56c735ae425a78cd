// What a ledger has on its way to one shard, and in one command; which new debts wait in memory.
#include "tests/actors/core/debts.hpp"

#include <doctest/doctest.h>

using namespace parley;
using namespace parley::core;
using namespace parley::test;
using namespace std::chrono_literals;

TEST_CASE("what is on its way to one shard is bounded, and the rest follows the answers in order") {
  auto config = small(1'000);
  config.shards = 1;
  config.under_way_bytes_max = 4'000;
  config.parts_bytes_max = 2'000;
  debt_ledger l{config};
  l.loaded(0);
  for (std::uint64_t n = 1; n <= 50; ++n) {
    auto d = owed_text(n, n);
    d.full->body = std::string(1'000, 'x');
    CHECK(l.add(std::move(d), debt_ledger::source::live));
  }
  std::uint64_t next_seq = 1;
  for (auto calls = l.send(t0); !calls.empty(); calls = l.send(t0)) {
    CHECK(calls.size() <= 4);
    CHECK(l.send(t0).empty());
    for (const auto& c : calls) {
      for (const auto& part : appends(c).parts)
        CHECK(number(part.upto) == next_seq++);
      l.answered(c.number, ec::none, outcomes(std::vector<inbox_outcome>(appends(c).parts.size())), t0,
                 no_log);
    }
  }
  CHECK(next_seq == 51);
  CHECK(l.idle());
}

TEST_CASE("what is on its way to a shard that does not answer makes room for nothing else until it expires") {
  auto config = small(1'000);
  config.shards = 1;
  config.under_way_parts_max = 3;
  debt_ledger l{config};
  l.loaded(0);
  for (std::uint64_t n = 1; n <= 10; ++n)
    CHECK(l.add(owed_text(n, n), debt_ledger::source::live));
  REQUIRE(l.send(t0).size() == 1);
  CHECK(l.send(t0 + 1s).empty());
  l.expire(t0);
  const auto again = l.send(t0 + 1s);
  REQUIRE(again.size() == 1);
  CHECK(appends(again[0]).parts.size() == 3);
  CHECK(appends(again[0]).parts[0].upto == seq_no{1});
}

TEST_CASE("receipts and wishes for copies share a command only up to its bound, as appends do") {
  debt_ledger l{small(1'000)};
  l.loaded(0);
  std::uint64_t number = 0;
  for (int i = 0; i < 250; ++i)
    CHECK(l.add({shard_id{0}, ++number, owed_watermark{{room, user_id{1}, seq_no{number}, {}}}, {}},
                debt_ledger::source::live));
  for (int i = 0; i < 250; ++i)
    CHECK(l.add({shard_id{0}, ++number, owed_copies{{room, user_id{1}}}, {}}, debt_ledger::source::live));
  std::size_t marks = 0, copies = 0;
  for (const auto& c : l.send(t0)) {
    const auto what = decode<command>(c.what.command).value();
    if (const auto* m = std::get_if<raise_watermarks>(&what)) {
      CHECK(m->marks.size() <= 100);
      marks += m->marks.size();
    } else {
      const auto& w = std::get<want_copies>(what);
      CHECK(w.of.size() <= 100);
      copies += w.of.size();
    }
  }
  CHECK(marks == 250);
  CHECK(copies == 250);
}

TEST_CASE("new debts wait in memory while there is no room, without a look at storage, up to a bound") {
  auto config = small(2);
  config.ahead_max = 3;
  debt_ledger l{config};
  l.loaded(0);
  const auto take = [&] { // how many, and the first of them
    const auto calls = l.send(t0);
    REQUIRE(calls.size() == 1);
    const auto parts = appends(calls[0]).parts;
    l.answered(calls[0].number, ec::none, outcomes(std::vector<inbox_outcome>(parts.size())), t0, no_log);
    return std::pair{parts.size(), number(parts[0].upto)};
  };
  for (std::uint64_t n = 1; n <= 5; ++n)
    CHECK(l.add(owed_text(n, n), debt_ledger::source::live) == (n <= 2));
  CHECK(take() == std::pair{std::size_t{2}, std::uint64_t{1}});
  CHECK_FALSE(l.load_from());
  CHECK(take() == std::pair{std::size_t{2}, std::uint64_t{3}});
  CHECK(take() == std::pair{std::size_t{1}, std::uint64_t{5}});
  CHECK(l.idle());
  for (std::uint64_t n = 6; n <= 11;
       ++n) // one more than there is room for: the oldest that waits has to be loaded
    l.add(owed_text(n, n), debt_ledger::source::live);
  CHECK(take() == std::pair{std::size_t{2}, std::uint64_t{6}});
  REQUIRE(l.load_from() == 8);
  CHECK(l.add(owed_text(8, 8), debt_ledger::source::stored));
  l.loaded(8); // storage does not show the newest yet; they are in memory
  CHECK_FALSE(l.load_from());
  CHECK(take() == std::pair{std::size_t{2}, std::uint64_t{8}});
  CHECK(take() == std::pair{std::size_t{2}, std::uint64_t{10}});
  CHECK(l.idle());
}

TEST_CASE("new debts that do not follow what storage shows wait until it shows what is between") {
  debt_ledger l{small(100)};
  CHECK_FALSE(l.add(owed_text(7, 7), debt_ledger::source::live));
  CHECK_FALSE(l.add(owed_text(8, 8), debt_ledger::source::live));
  CHECK(l.add(owed_text(3, 3), debt_ledger::source::stored));
  l.loaded(5); // 4 and 5 are forgotten
  CHECK(l.load_from() == 6);
  l.loaded(6); // so is 6
  CHECK_FALSE(l.load_from());
  const auto calls = l.send(t0);
  REQUIRE(calls.size() == 1);
  CHECK(appends(calls[0]).parts.size() == 3);
  CHECK(l.confirmed() == 2);
}

// What a ledger has on its way to one shard, and in one command.
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

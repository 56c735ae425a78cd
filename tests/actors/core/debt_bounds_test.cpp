// What a ledger has on its way to one shard, and in one command.
#include "actors/core/debt_ledger.hpp"

#include <doctest/doctest.h>

using namespace parley;
using namespace parley::core;
using namespace std::chrono_literals;

namespace {

const conversation_id room{1, 2};
const debt_ledger::time_point t0{};
const debt_ledger::history no_log = [](conversation_id, seq_no, seq_no) {
  return std::vector<core::message>{};
};

incurred owed_text(std::uint64_t number, std::uint64_t seq) {
  return {shard_id{0}, number, owed_message{room, seq_no{seq}, {{user_id{2}, 1, seq_no{seq - 1}}}},
          core::message{room, seq_no{seq}, {}, user_id{1}, {}, {}, "body"}};
}
outcome outcomes(std::vector<inbox_outcome> parts) {
  return inbox_outcomes{std::move(parts)};
}
ledger_config small(std::size_t debts_max) {
  ledger_config c;
  c.shards = 4;
  c.debts_max = debts_max;
  c.parts_max = 100;
  c.probes_max = 2;
  return c;
}
append_inbox appends(const debt_ledger::call_out& c) {
  return std::get<append_inbox>(decode<command>(c.what.command).value());
}

} // namespace

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

#include "actors/fan_out.hpp"
#include "tests/support/actor_fixture.hpp"
#include "tests/support/fake_reader.hpp"

#include <doctest/doctest.h>

using namespace parley;
using namespace std::chrono_literals;

namespace {

const conversation_id room{1, 2};
const user_id bob{2};

core::message text(std::uint64_t seq) {
  return {room, seq_no{seq}, {}, user_id{1}, {}, {}, "body"};
}
core::incurred owed_text(std::uint64_t number, user_id to = bob) {
  return {shard_id{1}, number, core::owed_message{room, seq_no{number}, {{to, 1, seq_no{number - 1}}}},
          text(number)};
}

struct counted { // outlives the actors, which count to their end
  fan_out_counters counters;
};
struct fixture : counted, test::actor_fixture {
  test::fake_reader reader;
  fake_store store = make_store();
  fake_router router = make_router();
  fan_out_config config;
  fan_out_actor it;

  ~fixture() {
    if (it)
      caf::anon_send_exit(it, caf::exit_reason::user_shutdown);
  }
  void lead() {
    it = spawn_fan_out(sys, shard_id{1}, core::format_number::newest, config, reader, store.handle,
                       router.handle);
    run();
  }
  void fail_over() {
    caf::anon_send(it, atom::stop_v);
    run();
    lead();
  }
  void incur(std::uint64_t from, std::uint64_t upto) {
    debt_batch b;
    for (auto n = from; n <= upto; ++n)
      b.debts.push_back(owed_text(n));
    caf::anon_send(it, std::move(b));
    run();
  }
  static core::append_inbox appends(const routed_call& c) {
    return std::get<core::append_inbox>(
        core::decode<core::command>(std::get<core::propose>(c.what).command).value());
  }
  /// The seqs of all appends that left since the last look, in order.
  std::vector<std::uint64_t> appended(const std::vector<routed_call>& calls) {
    std::vector<std::uint64_t> out;
    for (const auto& c : calls)
      for (const auto& p : appends(c).parts)
        out.push_back(number(p.upto));
    return out;
  }
  /// Each part is refused by itself: the command was applied, and the inbox said no.
  void refuse_parts(const std::vector<routed_call>& calls, ec why) {
    for (const auto& c : calls) {
      core::inbox_outcomes all;
      all.parts.resize(appends(c).parts.size(), {why, {}});
      answer_batch b;
      b.answers.push_back({c.number, core::answer_to<core::propose>{{ec::none, core::outcome{all}}}});
      caf::anon_send(c.reply_to, std::move(b));
    }
    run();
  }
  void answer(const std::vector<routed_call>& calls, ec error = ec::none) {
    for (const auto& c : calls) {
      core::inbox_outcomes all;
      all.parts.resize(appends(c).parts.size());
      answer_batch b;
      b.answers.push_back({c.number, core::answer_to<core::propose>{
                                         {error, error == ec::none ? core::outcome{all} : core::outcome{}}}});
      caf::anon_send(c.reply_to, std::move(b));
    }
    run();
  }
  /// Every append that is under way or follows from the answers is delivered. How many debts that were.
  std::size_t deliver_all() {
    std::size_t n = 0;
    for (auto calls = router.calls.take(); !calls.empty(); calls = router.calls.take()) {
      n += appended(calls).size();
      answer(calls);
    }
    return n;
  }
  static core::confirm_debts forgotten(const proposal& p) {
    return std::get<core::confirm_debts>(*core::decode<core::command>(p.command));
  }
  static std::uint64_t confirmed_upto(const proposal& p) { return forgotten(p).upto; }
  /// Applies what was proposed to the stored debts.
  void forget() {
    for (const auto& p : store.proposals.take()) {
      const auto what = forgotten(p);
      std::erase_if(reader.owed, [&](const core::incurred& d) {
        return d.number <= what.upto || std::ranges::any_of(what.beyond, [&](const auto& r) {
                 return d.number >= r.from && d.number <= r.upto;
               });
      });
      store.answer(p, core::done{});
    }
    run();
  }
};

using seqs = std::vector<std::uint64_t>;

} // namespace

TEST_CASE_FIXTURE(
    fixture, "debts that cannot be read are read again, at growing intervals, and are not taken for none") {
  reader.owed = {owed_text(1), owed_text(2)};
  reader.debts_error = ec::overloaded;
  lead();
  for (int i = 0; i < 20; ++i)
    advance(50ms);
  CHECK(router.calls.take().empty());
  const auto at_first = reader.debts_reads;
  CHECK(at_first >= 3);
  CHECK(at_first <= 7);
  for (int i = 0; i < 200; ++i)
    advance(50ms);
  CHECK(reader.debts_reads - at_first <= 6); // each 2 s by now
  incur(3, 3);                               // what is new must not overtake
  CHECK(router.calls.take().empty());
  reader.debts_error = ec::none;
  reader.owed.push_back(owed_text(3));
  for (int i = 0; i < 41; ++i)
    advance(50ms);
  CHECK(appended(router.calls.take()) == seqs{1, 2, 3});
}

TEST_CASE_FIXTURE(fixture,
                  "debts that cannot be read are counted each time, and reported once for each change") {
  std::vector<std::pair<fan_out_trouble, ec>> reported;
  config.counters = &counters;
  config.report = [&](shard_id shard, fan_out_trouble what, ec why) {
    CHECK(shard == shard_id{1});
    reported.emplace_back(what, why);
  };
  reader.owed = {owed_text(1)};
  reader.debts_error = ec::corrupt;
  lead();
  for (int i = 0; i < 20; ++i)
    advance(50ms);
  CHECK(counters.reads_failed == static_cast<std::uint64_t>(reader.debts_reads));
  reader.debts_error = ec::overloaded;
  for (int i = 0; i < 100; ++i)
    advance(50ms);
  reader.debts_error = ec::none;
  for (int i = 0; i < 41; ++i)
    advance(50ms);
  using trouble = fan_out_trouble;
  CHECK(reported == std::vector<std::pair<trouble, ec>>{{trouble::unread, ec::corrupt},
                                                        {trouble::unread, ec::overloaded},
                                                        {trouble::unread, ec::none}});
  CHECK(appended(router.calls.take()) == seqs{1});
}

TEST_CASE_FIXTURE(fixture,
                  "a part that an inbox refuses for now is not lost: it is sent again, ever less often") {
  config.counters = &counters;
  lead();
  incur(1, 1);
  std::size_t sent = 0;
  for (int i = 0; i < 400; ++i) { // 20 s
    const auto calls = router.calls.take();
    sent += calls.size();
    refuse_parts(calls, ec::disk_full);
    advance(50ms);
  }
  CHECK(sent >= 10);
  CHECK(sent <= 20);
  CHECK(counters.refused >= sent - 1);
  CHECK(counters.owed == 1);
  for (int i = 0; i < 41; ++i)
    advance(50ms);
  CHECK(deliver_all() == 1);
  CHECK(counters.owed == 0);
}

TEST_CASE_FIXTURE(fixture,
                  "after a full page of debts the next page is read, although no new debt is reported") {
  for (std::uint64_t n = 1; n <= 7; ++n)
    reader.owed.push_back(owed_text(n));
  reader.debts_rows_max = 3;
  lead();
  CHECK(appended(router.calls.take()) == seqs{1, 2, 3, 4, 5, 6, 7});
}

TEST_CASE_FIXTURE(fixture, "more debts than memory can hold are all delivered") {
  for (std::uint64_t n = 1; n <= 50; ++n)
    reader.owed.push_back(owed_text(n));
  config.ledger.debts_max = 8;
  config.ledger.probes_max = 2;
  lead();
  std::size_t delivered = 0;
  for (int i = 0; i < 10; ++i) {
    const auto n = deliver_all();
    CHECK(n <= 8);
    delivered += n;
    advance(50ms);
  }
  CHECK(delivered == 50);
}

TEST_CASE_FIXTURE(
    fixture, "when the memory for debts is full, new ones are left in storage and read when there is room") {
  config.ledger.debts_max = 4;
  config.ledger.probes_max = 2;
  config.ledger.ahead_max = 0;
  lead();
  for (std::uint64_t n = 1; n <= 10; ++n)
    reader.owed.push_back(owed_text(n));
  incur(1, 10);
  CHECK(deliver_all() == 4);
  advance(50ms);
  CHECK(appended(router.calls.take()) == seqs{5, 6, 7, 8});
}

TEST_CASE_FIXTURE(
    fixture, "an append to a shard that is overloaded or has no leader is sent again by the next sweep") {
  lead();
  incur(1, 2);
  answer(router.calls.take(), ec::overloaded);
  CHECK(router.calls.take().empty()); // not at once: that would be a storm
  advance(50ms);
  const auto again = router.calls.take();
  CHECK(appended(again) == seqs{1, 2});
  answer(again, ec::not_leader);
  advance(50ms);
  CHECK(appended(router.calls.take()) == seqs{1, 2});
}

TEST_CASE_FIXTURE(fixture, "an append that gets no answer is sent again after its timeout") {
  lead();
  incur(1, 1);
  CHECK(appended(router.calls.take()) == seqs{1});
  for (int i = 0; i < 30; ++i)
    advance(50ms);
  CHECK(router.calls.take().empty());
  for (int i = 0; i < 15; ++i)
    advance(50ms);
  CHECK(appended(router.calls.take()) == seqs{1});
}

TEST_CASE_FIXTURE(
    fixture,
    "a new leader first sends again what its predecessor did not see confirmed, then what is new, in order") {
  lead();
  incur(1, 3);
  router.calls.take(); // its answers are lost with the old leader
  reader.owed = {owed_text(1), owed_text(2), owed_text(3)};
  fail_over();
  CHECK(appended(router.calls.take()) == seqs{1, 2, 3});
  incur(4, 5);
  CHECK(appended(router.calls.take()) == seqs{4, 5});
}

TEST_CASE_FIXTURE(fixture, "a confirmation that was refused is proposed again") {
  lead();
  incur(1, 3);
  deliver_all();
  for (int i = 0; i < 101; ++i)
    advance(50ms);
  const auto first = store.proposals.take();
  REQUIRE(first.size() == 1);
  store.refuse(first[0], ec::overloaded);
  run();
  for (int i = 0; i < 101; ++i)
    advance(50ms);
  const auto second = store.proposals.take();
  REQUIRE(second.size() == 1);
  CHECK(confirmed_upto(second[0]) == 3);
}

TEST_CASE_FIXTURE(fixture,
                  "debts that are delivered one by one are confirmed together, a few seconds later") {
  lead();
  for (std::uint64_t n = 1; n <= 40; ++n) {
    incur(n, n);
    CHECK(deliver_all() == 1);
    advance(100ms);
  }
  CHECK(store.proposals.take().empty());
  for (int i = 0; i < 25; ++i)
    advance(50ms);
  const auto all = store.proposals.take();
  REQUIRE(all.size() == 1);
  CHECK(confirmed_upto(all[0]) == 40);
  store.answer(all[0], core::done{});
  run();
  for (int i = 0; i < 200; ++i)
    advance(50ms);
  CHECK(store.proposals.take().empty()); // nothing is left to confirm
}

TEST_CASE_FIXTURE(
    fixture, "a long run of debts is confirmed in parts: a failover sends a bounded number of them again") {
  reader.owed = {owed_text(1'000)};
  lead();
  CHECK(deliver_all() == 1);
  CHECK(store.proposals.take().empty()); // what was before the first is not this leader's to confirm
  incur(1'001, 1'600);
  CHECK(deliver_all() == 600);
  const auto all = store.proposals.take();
  REQUIRE(!all.empty());
  CHECK(confirmed_upto(all.back()) >= 1'600 - config.forget.after);
}

TEST_CASE_FIXTURE(
    fixture, "debts that one silent shard kept are confirmed a bounded number at a time when it answers") {
  config.forget.after = 10;
  config.forget.debts_max = 40;
  lead();
  incur(1, 200);
  auto held = router.calls.take();
  CHECK(store.proposals.take().empty());
  answer(held);
  deliver_all();
  std::uint64_t upto = 0;
  for (int sweeps = 0; upto < 200 && sweeps < 200; ++sweeps) {
    for (const auto& p : store.proposals.take()) {
      CHECK(confirmed_upto(p) - upto <= config.forget.debts_max);
      upto = confirmed_upto(p);
      store.answer(p, core::done{});
    }
    run();
    advance(50ms);
  }
  CHECK(upto == 200);
}

TEST_CASE_FIXTURE(fixture, "stored debts are read a page at a time, and others have their turn in between") {
  reader.debts_rows_max = 10;
  for (std::uint64_t n = 1; n <= 100; ++n)
    reader.owed.push_back(owed_text(n));
  it = spawn_fan_out(sys, shard_id{1}, core::format_number::newest, config, reader, store.handle,
                     router.handle);
  int before = 0;
  while (sched.try_run_once()) {
    CHECK(reader.debts_reads - before <= 1);
    before = reader.debts_reads;
  }
  CHECK(reader.debts_reads >= 10);
  auto first = appended(router.calls.take());
  CHECK(first.size() == 100);
  CHECK(std::ranges::is_sorted(first));
}

TEST_CASE_FIXTURE(fixture,
                  "after a failover, what others confirmed while one shard was dead is not sent again") {
  const user_id carol{3}; // her shard is dead
  REQUIRE(home_shard(bob, config.ledger.shards) != home_shard(carol, config.ledger.shards));
  config.forget.after = 10;
  const auto to_bob = [&](std::size_t& parts) {
    for (auto calls = router.calls.take(); !calls.empty(); calls = router.calls.take()) {
      std::erase_if(calls, [](const routed_call& c) { return appends(c).parts.at(0).user != bob; });
      for (const auto& c : calls)
        parts += appends(c).parts.size();
      answer(calls);
    }
  };
  lead();
  std::size_t first = 0, again = 0;
  for (std::uint64_t n = 1; n <= 1'000; ++n) {
    debt_batch b;
    b.debts.push_back(owed_text(n, n % 4 == 1 ? carol : bob));
    reader.owed.push_back(b.debts.back());
    caf::anon_send(it, std::move(b));
    run();
    to_bob(first);
    forget();
  }
  CHECK(first == 750);
  CHECK(reader.owed.size() >= 250);
  CHECK(reader.owed.size() < 250 + 2 * config.forget.after);
  reader.newest_debt = 1'000;
  fail_over();
  to_bob(again);
  CHECK(again < 2 * config.forget.after);
  incur(1'001, 1'010); // what is new is not held up
  to_bob(again);
  CHECK(again >= 10);
}

TEST_CASE_FIXTURE(
    fixture,
    "a fan-out that begins with many stored debts lives off memory soon, although new ones keep coming") {
  reader.debts_rows_max = 10;
  std::vector<core::incurred> applied; // storage shows it once in a second, and never the newest
  for (std::uint64_t n = 1; n <= 50; ++n)
    applied.push_back(owed_text(n));
  reader.owed = applied;
  it = spawn_fan_out(sys, shard_id{1}, core::format_number::newest, config, reader, store.handle,
                     router.handle);
  std::size_t delivered = 0;
  int reads = 0;
  for (int step = 0; step < 60; ++step) {
    if (step % 20 == 19)
      reader.owed = applied;
    const auto n = applied.size() + 1;
    for (auto i = n; i < n + 10; ++i)
      applied.push_back(owed_text(i));
    incur(n, n + 9);
    delivered += deliver_all();
    if (step == 40)
      reads = reader.debts_reads;
    if (step > 40)
      CHECK(delivered == applied.size());
    advance(50ms);
  }
  CHECK(reader.debts_reads == reads);
}

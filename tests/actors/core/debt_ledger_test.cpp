#include "tests/actors/core/debts.hpp"

#include <algorithm>
#include <doctest/doctest.h>
#include <map>
#include <set>

using namespace parley;
using namespace parley::core;
using namespace parley::test;
using namespace std::chrono_literals;

TEST_CASE(
    "a new debt is not accepted before the stored debts were read, because older ones may be among them") {
  debt_ledger l{small(100)};
  CHECK_FALSE(l.add(owed_text(7, 7), debt_ledger::source::live));
  REQUIRE(l.load_from());
  CHECK(l.add(owed_text(6, 6), debt_ledger::source::stored));
  CHECK(l.add(owed_text(7, 7), debt_ledger::source::stored));
  l.loaded(7);
  CHECK(l.add(owed_text(8, 8), debt_ledger::source::live));
  const auto calls = l.send(t0);
  REQUIRE(calls.size() == 1);
  CHECK(appends(calls[0]).parts.size() == 3);
  CHECK(appends(calls[0]).parts[0].upto == seq_no{6});
}

TEST_CASE("a full ledger leaves the rest in storage and asks for it when there is room") {
  auto l = ready_ledger(2);
  CHECK(l.add(owed_text(1, 1), debt_ledger::source::live));
  CHECK(l.add(owed_text(2, 2), debt_ledger::source::live));
  CHECK_FALSE(l.add(owed_text(3, 3), debt_ledger::source::live));
  CHECK_FALSE(l.load_from());
  const auto calls = l.send(t0);
  l.answered(calls[0].number, ec::none, outcomes({{}, {}}), t0, no_log);
  REQUIRE(l.load_from());
  CHECK(*l.load_from() == 3);
}

TEST_CASE("a debt is confirmed only when all before it are") {
  auto l = ready_ledger();
  l.add(owed_text(1, 1, user_id{2}), debt_ledger::source::live);
  const auto first = l.send(t0);
  l.add(owed_text(2, 2, user_id{2}), debt_ledger::source::live);
  const auto second = l.send(t0);
  l.answered(second[0].number, ec::none, outcomes({{}}), t0, no_log);
  CHECK(l.confirmed() == 0);
  CHECK(l.take_delivered().lowest() == number_range{2, 2}); // but it is delivered, and may be forgotten
  l.answered(first[0].number, ec::none, outcomes({{}}), t0, no_log);
  CHECK(l.confirmed() == 2);
  CHECK(l.idle());
}

TEST_CASE("an append that got no answer is sent again, and so is one that was refused") {
  auto l = ready_ledger();
  l.add(owed_text(1, 1), debt_ledger::source::live);
  const auto first = l.send(t0);
  CHECK(l.send(t0 + 1s).empty());
  l.expire(t0);
  const auto second = l.send(t0 + 2s);
  REQUIRE(second.size() == 1);
  l.answered(first[0].number, ec::none, outcomes({{}}), t0, no_log); // too late, and harmless
  CHECK_FALSE(l.idle());
  l.answered(second[0].number, ec::unavailable, {}, t0, no_log);
  const auto third = l.send(t0 + 3s);
  REQUIRE(third.size() == 1);
  l.answered(third[0].number, ec::none, outcomes({{}}), t0, no_log);
  CHECK(l.idle());
}

TEST_CASE("an inbox that lacks an earlier message is sent it from the log, together with the member's own "
          "messages") {
  auto l = ready_ledger();
  l.add(owed_text(9, 4), debt_ledger::source::live);
  const auto calls = l.send(t0);
  const debt_ledger::history log = [](conversation_id, seq_no after, seq_no upto) {
    CHECK(after == seq_no{1});
    CHECK(upto == seq_no{4});
    return std::vector{text(2), text(3, user_id{2}), text(4)};
  };
  l.answered(calls[0].number, ec::none, outcomes({{ec::gap, seq_no{1}}}), t0, log);
  const auto again = l.send(t0);
  REQUIRE(again.size() == 1);
  const auto part = appends(again[0]).parts.at(0);
  CHECK(part.prev == seq_no{1});
  CHECK(part.upto == seq_no{4});
  REQUIRE(part.items.size() == 3);
  for (std::uint64_t i = 0; i < 3; ++i) { // each says what it follows
    CHECK(std::get<message_news>(part.items[i]).msg.seq == seq_no{i + 2});
    CHECK(std::get<message_news>(part.items[i]).prev == seq_no{i + 1});
  }
}

TEST_CASE("a gap that is too large for one append is filled by several, and the debt is confirmed after the "
          "last one") {
  auto l = ready_ledger();
  l.add(owed_text(9, 1000), debt_ledger::source::live);
  const debt_ledger::history log = [](conversation_id, seq_no after, seq_no upto) {
    std::vector<core::message> some;
    for (auto s = number(after) + 1; s <= number(upto) && some.size() < 400; ++s)
      some.push_back(text(s));
    return some;
  };
  auto calls = l.send(t0);
  l.answered(calls.at(0).number, ec::none, outcomes({{ec::gap, seq_no{0}}}), t0, log);
  for (const std::uint64_t reached : {400, 800}) {
    calls = l.send(t0);
    REQUIRE(calls.size() == 1);
    CHECK(appends(calls[0]).parts.at(0).upto == seq_no{reached});
    l.answered(calls[0].number, ec::none, outcomes({{ec::none, seq_no{reached}}}), t0, log);
    CHECK_FALSE(l.idle());
  }
  calls = l.send(t0);
  REQUIRE(calls.size() == 1);
  CHECK(appends(calls[0]).parts.at(0).upto == seq_no{1000});
  l.answered(calls[0].number, ec::none, outcomes({{ec::none, seq_no{1000}}}), t0, log);
  CHECK(l.idle());
}

TEST_CASE("a repair in pieces ends when the repair of a later message has brought the inbox past it") {
  auto l = ready_ledger();
  l.add(owed_text(9, 4), debt_ledger::source::live);
  l.add(owed_text(10, 5), debt_ledger::source::live);
  const debt_ledger::history log = [](conversation_id, seq_no after, seq_no upto) {
    std::vector<core::message> some;
    for (auto s = number(after) + 1; s <= number(upto) && some.size() < 3; ++s)
      some.push_back(text(s));
    return some;
  };
  auto calls = l.send(t0);
  REQUIRE(calls.size() == 1);
  l.answered(calls[0].number, ec::none, outcomes({{ec::gap, seq_no{0}}, {ec::gap, seq_no{0}}}), t0, log);
  calls = l.send(t0); // 1 to 3, twice
  l.expire(t0);       // the answer is late
  const auto again = l.send(t0);
  l.answered(again.at(0).number, ec::none, outcomes({{ec::none, seq_no{5}}, {ec::none, seq_no{5}}}), t0, log);
  CHECK(l.idle());
  CHECK(l.confirmed() == 10);
}

TEST_CASE(
    "if readers do not see the whole log yet, a repair ends where they see it end: no append covers a gap") {
  auto l = ready_ledger();
  l.add(owed_text(9, 4), debt_ledger::source::live);
  const auto calls = l.send(t0);
  const debt_ledger::history early = [](conversation_id, seq_no, seq_no) {
    return std::vector{text(2), text(4)};
  };
  l.answered(calls[0].number, ec::none, outcomes({{ec::gap, seq_no{1}}}), t0, early);
  const auto again = l.send(t0);
  REQUIRE(again.size() == 1);
  const auto part = appends(again[0]).parts.at(0);
  CHECK(part.prev == seq_no{1});
  CHECK(part.upto == seq_no{2});
  CHECK(part.items.size() == 1);
}

TEST_CASE("an append for a membership that has ended counts as delivered and is not repeated") {
  auto l = ready_ledger();
  l.add(owed_text(1, 1), debt_ledger::source::live);
  const auto calls = l.send(t0);
  l.answered(calls[0].number, ec::none, outcomes({{ec::stale, seq_no{0}}}), t0, no_log);
  CHECK(l.idle());
}

TEST_CASE("a part that was refused for now stays owed, and is tried again ever less often") {
  auto l = ready_ledger();
  l.add(owed_text(1, 1), debt_ledger::source::live);
  auto now = t0;
  auto calls = l.send(now);
  for (const auto pause : {50ms, 100ms, 200ms, 400ms, 800ms, 1600ms, 2000ms, 2000ms}) {
    CAPTURE(pause.count());
    REQUIRE(calls.size() == 1);
    const auto refused =
        l.answered(calls[0].number, ec::none, outcomes({{ec::overloaded, seq_no{0}}}), now, no_log);
    CHECK(refused.count == 1);
    CHECK(refused.last == ec::overloaded);
    CHECK_FALSE(l.idle());
    CHECK(l.confirmed() == 0);
    CHECK(l.send(now + pause - 1ms).empty());
    now += pause;
    calls = l.send(now);
  }
  REQUIRE(calls.size() == 1);
  CHECK(l.answered(calls[0].number, ec::none, outcomes({{}}), now, no_log).count == 0);
  CHECK(l.idle());
}

TEST_CASE("a command that meets who does not lead waits as long each time, and is not sent again at once") {
  auto l = ready_ledger();
  l.add(owed_text(1, 1), debt_ledger::source::live);
  auto now = t0;
  auto calls = l.send(now);
  for (int tries = 0; tries < 10; ++tries) { // its shard may have no leader for long
    REQUIRE(calls.size() == 1);
    CHECK(l.answered(calls[0].number, ec::not_leader, {}, now, no_log).count == 0);
    CHECK(l.send(now + 49ms).empty());
    CHECK_FALSE(l.idle());
    now += 50ms;
    calls = l.send(now);
  }
}

TEST_CASE("a command that is refused waits as well; one that found no leader in time is sent again at once") {
  auto l = ready_ledger();
  l.add(owed_text(1, 1), debt_ledger::source::live);
  auto calls = l.send(t0);
  l.answered(calls.at(0).number, ec::timed_out, {}, t0, no_log);
  calls = l.send(t0);
  REQUIRE(calls.size() == 1);
  for (const auto why : {ec::overloaded, ec::unavailable, ec::disk_full, ec::draining, ec::bad_request,
                         ec::corrupt, ec{2999}}) {
    CAPTURE(static_cast<int>(why));
    const auto refused = l.answered(calls.at(0).number, why, {}, t0, no_log);
    CHECK(refused.count == (band_of(why) != error_band::condition));
    CHECK(l.send(t0).empty());
    CHECK_FALSE(l.idle());
    calls = l.send(t0 + 2s);
    REQUIRE(calls.size() == 1);
  }
}

TEST_CASE("an answer of another kind, or with fewer parts than were sent, settles nothing") {
  auto l = ready_ledger();
  l.add(owed_text(1, 1), debt_ledger::source::live);
  l.add(owed_text(2, 2), debt_ledger::source::live);
  auto now = t0;
  for (const outcome& odd : {outcome{done{}}, outcome{placement{}}, outcomes({{}}), outcomes({})}) {
    const auto calls = l.send(now);
    REQUIRE(calls.size() == 1);
    CHECK(l.answered(calls[0].number, ec::none, odd, now, no_log).count == 2);
    CHECK(l.confirmed() == 0);
    now += 2s;
  }
}

TEST_CASE("a refusal without parts leaves a watermark owed") {
  auto l = ready_ledger();
  l.add({shard_id{0}, 1, owed_watermark{{room, user_id{2}, seq_no{5}, {}}}, std::nullopt},
        debt_ledger::source::live);
  auto calls = l.send(t0);
  l.answered(calls.at(0).number, ec::none, done{ec::disk_full}, t0, no_log);
  CHECK_FALSE(l.idle());
  calls = l.send(t0 + 50ms);
  l.answered(calls.at(0).number, ec::none, done{}, t0, no_log);
  CHECK(l.idle());
}

TEST_CASE("a gap that the log cannot fill yet is not asked about in a hot loop") {
  auto l = ready_ledger();
  l.add(owed_text(9, 4), debt_ledger::source::live);
  auto calls = l.send(t0);
  l.answered(calls.at(0).number, ec::none, outcomes({{ec::gap, seq_no{1}}}), t0, no_log);
  CHECK(l.send(t0).empty());
  calls = l.send(t0 + 50ms);
  CHECK(calls.size() == 1);
}

TEST_CASE("a gap that nothing fills is reported, once it is asked about as seldom as it will be") {
  auto l = ready_ledger();
  l.add(owed_text(9, 4), debt_ledger::source::live);
  auto now = t0;
  for (int attempt = 0; attempt < 9; ++attempt) {
    CAPTURE(attempt);
    const auto calls = l.send(now);
    REQUIRE(calls.size() == 1);
    const auto refused = l.answered(calls[0].number, ec::none, outcomes({{ec::gap, seq_no{1}}}), now, no_log);
    CHECK(refused.count == (attempt < 6 ? 0 : 1));
    CHECK((refused.count == 0 || refused.last == ec::gap));
    now += 2s;
  }
}

TEST_CASE("an inbox that keeps saying the same gap is not answered in a hot loop") {
  auto l = ready_ledger();
  l.add(owed_text(9, 4), debt_ledger::source::live);
  const debt_ledger::history log = [](conversation_id, seq_no, seq_no) {
    return std::vector{text(2), text(3), text(4)};
  };
  auto calls = l.send(t0);
  l.answered(calls.at(0).number, ec::none, outcomes({{ec::gap, seq_no{1}}}), t0, log);
  calls = l.send(t0); // what it lacks, at once
  l.answered(calls.at(0).number, ec::none, outcomes({{ec::gap, seq_no{1}}}), t0, log);
  CHECK(l.send(t0).empty());
  calls = l.send(t0 + 50ms);
  l.answered(calls.at(0).number, ec::none, outcomes({{ec::none, seq_no{4}}}), t0, log);
  CHECK(l.idle());
}

TEST_CASE("only a refusal that is final and stored nothing settles a part: the rule for every error") {
  CHECK(judge_part(ec::none) == part_verdict::settled);
  CHECK(judge_part(ec::gap) == part_verdict::lacks);
  for (const auto settled : {ec::stale, ec::bad_request, ec::not_a_member, ec::too_large})
    CHECK(judge_part(settled) == part_verdict::settled);
  for (const auto& row : error_table().subspan(1)) {
    CAPTURE(row.name);
    if (row.code == ec::gap)
      continue;
    const bool final_no = row.stored == was_stored::no && !row.retryable;
    CHECK((judge_part(row.code) == part_verdict::settled) == final_no);
    CHECK((judge_part(row.code) == part_verdict::owed) == !final_no);
  }
  for (const auto unknown : {ec{500}, ec{1500}, ec{2500}, ec{65535}}) // of a newer node
    CHECK(judge_part(unknown) == part_verdict::owed);
}

TEST_CASE("a device's progress is sent to its conversation's shard") {
  auto l = ready_ledger();
  const watermark mark{room, user_id{2}, seq_no{5}, seq_no{0}};
  l.add({shard_id{0}, 1, owed_watermark{mark}, std::nullopt}, debt_ledger::source::live);
  const auto calls = l.send(t0);
  REQUIRE(calls.size() == 1);
  CHECK(calls[0].what.shard == home_shard(room, 4));
  CHECK(sent<raise_watermarks>(calls[0]).marks.at(0) == mark);
  l.answered(calls[0].number, ec::none, done{}, t0, no_log);
  CHECK(l.idle());
}

TEST_CASE("a command to a shard is bounded by its bytes: large messages share it only as far as they fit") {
  auto config = small(100);
  config.parts_bytes_max = 10'000;
  debt_ledger l{config};
  l.loaded(0);
  for (std::uint64_t n = 1; n <= 6; ++n) {
    auto d = owed_text(n, n);
    d.full->body = std::string(n == 4 ? 20'000 : 4'000, 'x'); // the fourth fits none and travels alone
    REQUIRE(l.add(std::move(d), debt_ledger::source::live));
  }
  std::vector<std::size_t> parts;
  std::uint64_t seq = 0;
  for (const auto& c : l.send(t0)) {
    const auto all = appends(c).parts;
    parts.push_back(all.size());
    for (const auto& p : all)
      CHECK(p.upto == seq_no{++seq});
  }
  CHECK(parts == std::vector<std::size_t>{2, 1, 1, 2});
}

// --- shards that do not confirm ----------------------------------------------------------------------------

namespace {

user_id someone_in(std::uint16_t shard, std::uint64_t nth = 0) {
  for (std::uint64_t u = 1;; ++u)
    if (number(home_shard(user_id{u}, 4)) == shard && nth-- == 0)
      return user_id{u};
}

/// A shard's debts as they are stored: all that are not confirmed. One target shard is dead.
struct stalling {
  static constexpr std::size_t debts_max = 50;
  std::map<std::uint64_t, incurred> rows;
  std::map<std::uint16_t, std::vector<seq_no>> taken; ///< by target shard, in the order of arrival
  std::optional<std::uint16_t> dead = 0;
  debt_ledger l = ready_ledger(debts_max);
  debt_ledger::time_point now = t0;
  std::uint64_t last = 0;
  std::size_t highest_size = 0;

  void incur(user_id to) {
    ++last;
    rows.emplace(last, owed_text(last, last, to));
    l.add(owed_text(last, last, to), debt_ledger::source::live);
  }
  void incur(user_id one, user_id other) {
    ++last;
    const incurred d{
        shard_id{0}, last,
        owed_message{room, seq_no{last}, {{one, 1, seq_no{last - 1}}, {other, 1, seq_no{last - 1}}}},
        text(last)};
    rows.emplace(last, d);
    l.add(d, debt_ledger::source::live);
  }
  /// As the fan-out does it: loads what there is room for, sends, and takes the answers of those who live.
  void turn(std::chrono::milliseconds later = 500ms) {
    now += later;
    l.expire(now - 1s);
    while (const auto from = l.load_from()) {
      const bool again = l.loads_again();
      auto i = rows.lower_bound(*from);
      bool all = true;
      for (int n = 0; i != rows.end() && n < 20 && all; ++i, ++n)
        all = l.add(i->second, debt_ledger::source::stored);
      if (!again && all && i == rows.end())
        l.loaded(last);
      if (l.load_from() == from)
        break;
    }
    highest_size = std::max(highest_size, l.size());
    for (const auto& c : l.send(now)) {
      const auto shard = static_cast<std::uint16_t>(number(c.what.shard));
      if (dead == shard)
        continue;
      std::vector<inbox_outcome> outcomes_of;
      for (const auto& p : appends(c).parts) {
        taken[shard].push_back(p.upto);
        outcomes_of.push_back({});
      }
      l.answered(c.number, ec::none, outcomes(std::move(outcomes_of)), now, no_log);
    }
    for (auto delivered = l.take_delivered(); !delivered.empty();) {
      const auto r = delivered.take_lowest(1'000);
      rows.erase(rows.lower_bound(r.from), rows.upper_bound(r.upto));
    }
  }
  /// Another node leads: rows only.
  void fail_over() {
    l = debt_ledger{small(debts_max)};
    turn();
  }
};

bool rises(const std::vector<seq_no>& seqs) {
  return std::is_sorted(seqs.begin(), seqs.end());
}

} // namespace

TEST_CASE("a shard that does not confirm delays nothing that is meant for others") {
  stalling s;
  for (int i = 0; i < 1000; ++i) {
    s.incur(someone_in(0, i % 3));
    s.incur(someone_in(1));
    s.turn();
  }
  CHECK(s.taken[1].size() == 1000);
  CHECK(rises(s.taken[1]));
  CHECK(s.taken[0].empty());
  CHECK(s.highest_size <= stalling::debts_max);
  CHECK(s.l.confirmed() == 0);  // the first debt is owed
  CHECK(s.rows.size() == 1000); // what the others have is forgotten
}

TEST_CASE("after a failover only what is owed is sent again, not what others confirmed behind it") {
  stalling s;
  for (int i = 0; i < 300; ++i) {
    s.incur(someone_in(0, i % 3));
    s.incur(someone_in(1));
    s.turn();
  }
  s.fail_over();
  for (int i = 0; i < 100; ++i) { // and what is new is delivered
    s.incur(someone_in(2));
    s.turn();
  }
  CHECK(s.taken[1].size() == 300);
  CHECK(s.taken[2].size() == 100);
  s.dead.reset();
  for (int i = 0; i < 100 && !s.l.idle(); ++i)
    s.turn();
  CHECK(s.l.idle());
  CHECK(s.rows.empty());
  CHECK(std::set<seq_no>(s.taken[0].begin(), s.taken[0].end()).size() == 300);
}

TEST_CASE("a shard that confirms again gets all that was left to storage, once and in order") {
  stalling s;
  for (int i = 0; i < 300; ++i) {
    s.incur(someone_in(0, i % 3));
    s.incur(someone_in(2));
    s.turn();
  }
  s.dead.reset();
  for (int i = 0; i < 100; ++i) {
    s.incur(someone_in(0, i % 3)); // they must not overtake
    s.turn();
  }
  for (int i = 0; i < 100 && !s.l.idle(); ++i)
    s.turn();
  CHECK(s.l.idle());
  CHECK(s.l.confirmed() == s.last);
  CHECK(s.rows.empty());
  std::map<seq_no, int> times;
  for (const auto seq : s.taken[0])
    ++times[seq];
  CHECK(times.size() == 400);
  CHECK(s.highest_size <= stalling::debts_max);
  for (std::uint64_t user = 0; user < 3; ++user) { // each stream in order; a repeat is ignored by its inbox
    std::vector<seq_no> first_times;
    for (const auto seq : s.taken[0])
      if (const auto n = number(seq);
          (n <= 600 ? (n - 1) / 2 : n - 601) % 3 == user &&
          std::find(first_times.begin(), first_times.end(), seq) == first_times.end())
        first_times.push_back(seq);
    CHECK(rises(first_times));
  }
}

TEST_CASE("a debt to a shard that lives and to one that does not is confirmed when both have it") {
  stalling s;
  for (int i = 0; i < 200; ++i) {
    s.incur(someone_in(0), someone_in(3));
    s.turn();
  }
  CHECK(s.taken[3].size() == 200);
  CHECK(s.l.confirmed() == 0);
  CHECK(s.rows.size() == 200);
  s.dead.reset();
  for (int i = 0; i < 100 && !s.l.idle(); ++i)
    s.turn();
  CHECK(s.l.confirmed() == 200);
  CHECK(std::set<seq_no>(s.taken[0].begin(), s.taken[0].end()).size() == 200);
}

TEST_CASE("two shards may stall, and the one that comes back does not wait for the other") {
  stalling s;
  for (int i = 0; i < 100; ++i) {
    s.incur(someone_in(0));
    s.incur(someone_in(1));
    s.turn();
  }
  CHECK(s.taken[1].size() == 100);
  s.dead = 1; // 0 lives again
  for (int i = 0; i < 200; ++i) {
    s.incur(someone_in(0));
    s.incur(someone_in(1));
    s.turn();
  }
  CHECK(std::set<seq_no>(s.taken[0].begin(), s.taken[0].end()).size() >= 290);
  CHECK(s.taken[1].size() == 100);
  s.dead.reset();
  for (int i = 0; i < 100 && !s.l.idle(); ++i)
    s.turn();
  CHECK(s.l.idle());
  CHECK(std::set<seq_no>(s.taken[1].begin(), s.taken[1].end()).size() == 300);
}

TEST_CASE("the bodies in memory are bounded by bytes") {
  auto config = small(1000);
  config.bytes_max = 100'000;
  config.ahead_max = 0;
  debt_ledger l{config};
  l.loaded(0);
  std::uint64_t n = 0;
  do {
    ++n;
    auto d = owed_text(n, n);
    d.full->body = std::string(10'000, 'x');
    if (!l.add(std::move(d), debt_ledger::source::live))
      break;
  } while (n < 1000);
  CHECK(n < 12);
  CHECK_FALSE(l.load_from());
  const auto calls = l.send(t0);
  for (const auto& c : calls)
    l.answered(c.number, ec::none, outcomes(std::vector<inbox_outcome>(appends(c).parts.size())), t0, no_log);
  CHECK(l.load_from() == n);
}

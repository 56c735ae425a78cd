// The way in: what is kept of a delivery, what is fetched, what waits, and how far the place in the inbox
// moves.
#include "protocol/client/rules/delivery_rules.hpp"
#include "protocol/client/store/memory_store.hpp"
#include "tests/protocol/client/rules/inbox_rows.hpp"

#include <doctest/doctest.h>

#include <map>
#include <vector>

using namespace parley;
using namespace parley::client;
using parley::test::other;
using parley::test::row;
using parley::test::talk;
using namespace std::chrono_literals;
using reply = delivery_rules::reply;
using step = delivery_rules::step::kind;
using held = delivery_rules::held_step::kind;

namespace {

/// A device's way in with its store, which outlives it. The cluster's conversations have all numbers up to
/// `has`.
struct inbox {
  inbox() { die(); }

  /// Takes all steps of a delivery. Answers whether it was kept.
  void deliver(std::vector<inbox_row> rows, const cursor& upto) {
    auto tries = rules->new_tries();
    for (int steps = 0; steps < 50; ++steps) {
      const auto s = rules->next(rows, tries);
      if (s.what == step::keep) {
        const auto batch = rules->to_keep(rows, s.plan, upto);
        store.apply(batch.to_apply);
        rules->kept(batch, s.plan, upto);
        return;
      }
      if (s.what == step::pass_over) {
        gaps.push_back(s.hole.upto);
        rules->passed_over(s.hole, tries);
        continue;
      }
      ++fetches;
      rules->fetched(s.hole, fetch(s.hole), tries);
    }
    FAIL("the delivery is never kept");
  }
  reply fetch(const inbox_applier::hole& hole) {
    if (away.contains(hole.conversation))
      return reply::not_now;
    const auto position = rules->applier().position(hole.conversation);
    conversation_page page;
    for (auto n = number(position) + 1; n <= std::min(number(hole.upto), has[hole.conversation]); ++n) {
      message m;
      m.conversation = hole.conversation;
      m.seq = seq_no{n};
      page.messages.push_back(m);
    }
    const auto batch = delivery_rules::to_keep(page, hole.conversation, position);
    store.apply(batch);
    rules->applier().advance(hole.conversation, batch.positions.front().second);
    return reply::given;
  }
  /// Tries each conversation that is held once.
  held fetch_held() {
    std::optional<conversation_id> after;
    for (int steps = 0; steps < 50; ++steps) {
      const auto hole = rules->next_held(after);
      if (!hole)
        return held::stop;
      auto s = rules->held_fetched(*hole, fetch(*hole));
      if (s.what == held::give_up) {
        gaps.push_back(s.hole.upto);
        rules->given_up(s.hole);
        return s.what;
      }
      after = s.what == held::another ? std::optional{hole->conversation} : std::nullopt;
      if (s.place) {
        applied_batch batch;
        batch.upto = *s.place;
        store.apply(batch);
        rules->place_kept(*s.place);
      }
    }
    FAIL("what is held is fetched for ever");
    return held::stop;
  }
  void die() {
    rules.emplace(200ms, 100, 3);
    rules->restore(store.applied(), store.where());
  }
  std::vector<std::uint64_t> history(conversation_id c = talk) {
    std::vector<std::uint64_t> out;
    for (const auto& m : store.history(c, seq_no::none, 100))
      out.push_back(number(m.seq));
    return out;
  }
  using numbers = std::vector<std::uint64_t>;

  memory_store store{{1'000}};
  std::optional<delivery_rules> rules;
  std::map<conversation_id, std::uint64_t> has;
  std::set<conversation_id> away; ///< shards without a majority
  std::vector<seq_no> gaps;
  int fetches = 0;
};
using numbers = inbox::numbers;

} // namespace

TEST_CASE("a conversation whose shard is silent waits, the others go on, and the place stays behind it") {
  inbox device;
  device.has[talk] = 9;
  device.deliver({row(0, 1)}, "a");
  device.away.insert(talk);
  device.deliver({row(4, 5), row(0, 1, other)}, "b");
  CHECK(device.history() == numbers{1});
  CHECK(device.history(other) == numbers{1});
  CHECK(device.rules->holds_any());
  CHECK(device.store.where().applied == "a");
  CHECK(device.rules->acks().applied() == "a");
  CHECK(device.rules->taken() == "b");
  const auto fetched = device.fetches;
  device.deliver({row(5, 6), row(1, 2, other)}, "c");
  CHECK(device.fetches == fetched); // one wait for the cluster is enough
  CHECK(device.history(other) == numbers{1, 2});
  CHECK(device.store.where().applied == "a");

  device.fetch_held(); // still silent
  CHECK(device.rules->holds_any());
  device.away.clear();
  device.fetch_held();
  CHECK(!device.rules->holds_any());
  CHECK(device.history() == numbers{1, 2, 3, 4, 5, 6});
  CHECK(device.store.where().applied == "c");
  CHECK(device.rules->acks().applied() == "c");
  CHECK(device.gaps.empty());
}

TEST_CASE("a device that dies while a conversation waits gets all of it again, and keeps each message once") {
  inbox device;
  device.has[talk] = 9;
  device.deliver({row(0, 1)}, "a");
  device.away.insert(talk);
  device.deliver({row(4, 5), row(0, 1, other)}, "b");
  device.die();
  CHECK(device.rules->acks().applied() == "a");
  CHECK(!device.rules->holds_any());
  device.away.clear();
  device.deliver({row(4, 5), row(0, 1, other)}, "b");
  CHECK(device.history() == numbers{1, 2, 3, 4, 5});
  CHECK(device.history(other) == numbers{1});
  CHECK(device.store.where().applied == "b");
}

TEST_CASE(
    "a connection that is lost while conversations wait begins the next stream at the place that is kept") {
  inbox device;
  device.has[talk] = 9;
  device.deliver({row(0, 1)}, "a");
  device.away.insert(talk);
  device.deliver({row(4, 5)}, "b");
  device.rules->release_all();
  CHECK(device.rules->taken() == "a");
  device.away.clear();
  device.deliver({row(4, 5)}, "b");
  CHECK(device.history() == numbers{1, 2, 3, 4, 5});
}

TEST_CASE("several conversations that wait are tried one after another, and the place moves after the last") {
  inbox device;
  device.has[talk] = device.has[other] = 9;
  device.away = {talk, other};
  device.deliver({row(2, 3), row(4, 5, other)}, "a");
  device.away = {talk};
  device.fetch_held();
  CHECK(device.history() == numbers{});
  CHECK(device.history(other) == numbers{1, 2, 3, 4, 5});
  CHECK(device.store.where().applied.empty());
  device.away.clear();
  device.fetch_held();
  CHECK(device.history() == numbers{1, 2, 3});
  CHECK(device.store.where().applied == "a");
}

TEST_CASE("nothing after a gap is kept before the gap was fetched") {
  inbox device;
  device.has[talk] = 9;
  device.deliver({row(0, 1)}, "a");
  auto tries = device.rules->new_tries();
  const std::vector<inbox_row> rows{row(1, 2), row(4, 5)};
  const auto s = device.rules->next(rows, tries);
  REQUIRE(s.what == step::fetch);
  CHECK(s.hole.after == seq_no{2});
  CHECK(s.hole.upto == seq_no{4});
  device.deliver(rows, "b");
  CHECK(device.history() == numbers{1, 2, 3, 4, 5});
  CHECK(device.fetches == 1);
}

TEST_CASE("a gap that the cluster does not fill is tried a few times, reported, and passed over") {
  inbox device;
  device.has[talk] = 2; // it does not have what its inbox speaks of
  device.deliver({row(4, 5), row(5, 6)}, "a");
  CHECK(device.history() == numbers{1, 2, 5, 6});
  CHECK(device.gaps == std::vector{seq_no{4}});
  CHECK(device.fetches == 4); // one got further, so three more are made
  CHECK(device.store.where().applied == "a");
}

TEST_CASE("a gap of a conversation that waits is given up after a few answers, and its rows come again") {
  inbox device;
  device.away.insert(talk);
  device.deliver({row(4, 5)}, "a");
  device.away.clear();
  device.has[talk] = 0;
  CHECK(device.fetch_held() == held::give_up);
  CHECK(device.gaps == std::vector{seq_no{4}});
  CHECK(!device.rules->holds_any());
  CHECK(device.store.where().applied.empty()); // the next stream begins before it
  device.deliver({row(4, 5)}, "a");
  CHECK(device.history() == numbers{5});
}

TEST_CASE("rows that come again are kept once, and their place is acknowledged like any other") {
  inbox device;
  device.deliver({row(0, 1), row(1, 3)}, "a");
  device.deliver({row(0, 1), row(1, 3)}, "b");
  CHECK(device.history() == numbers{1, 3});
  CHECK(device.rules->acks().next(2, 0s).what == delivery_acks::step::now);
  CHECK(device.rules->acks().begin(0s) == "b");
}

TEST_CASE("a place that was kept and not acknowledged is acknowledged by the next life") {
  inbox device;
  device.deliver({row(0, 1)}, "a");
  device.die();
  CHECK(device.rules->acks().begin(0s) == "a");
}

TEST_CASE("a page that brings what is here already changes nothing") {
  conversation_page page;
  for (std::uint64_t n = 1; n <= 3; ++n) {
    message m;
    m.conversation = talk;
    m.seq = seq_no{n};
    page.messages.push_back(m);
  }
  auto batch = delivery_rules::to_keep(page, talk, seq_no{5});
  CHECK(batch.messages.empty());
  CHECK(batch.positions.front().second == seq_no{5});
  CHECK(!batch.upto);
  batch = delivery_rules::to_keep(page, talk, seq_no{2});
  REQUIRE(batch.messages.size() == 1);
  CHECK(batch.positions.front().second == seq_no{3});
}

TEST_CASE("what the cluster refuses for good counts as given, and what may help to repeat does not") {
  for (const auto why : {ec::timed_out, ec::unavailable, ec::overloaded, ec::fenced})
    CHECK(delivery_rules::reply_of(refuse(why)) == reply::not_now);
  for (const auto why : {ec::no_such_conversation, ec::not_a_member, ec::bad_request})
    CHECK(delivery_rules::reply_of(refuse(why)) == reply::given);
}

TEST_CASE("pages are fetched while there are more and each gets further") {
  conversation_page page;
  CHECK(!delivery_rules::goes_on(page, seq_no{3}, seq_no{5})); // the last one
  page.more = true;
  CHECK(delivery_rules::goes_on(page, seq_no{3}, seq_no{5}));
  CHECK(!delivery_rules::goes_on(page, seq_no{3}, seq_no{3}));
}

TEST_CASE("a conversation in doubt waits until it was compared, and then the place is acknowledged again") {
  inbox device;
  device.has[talk] = 9;
  device.deliver({row(0, 1)}, "a");
  auto& acks = device.rules->acks();
  acks.restore("a", "a");
  const doubt doubts[] = {{talk, seq_no{1}}};
  CHECK(device.rules->doubt(doubts, "0"));
  CHECK(device.rules->doubts());
  device.deliver({row(1, 2), row(0, 1, other)}, "b");
  CHECK(device.history() == numbers{1});
  CHECK(device.history(other) == numbers{1});
  CHECK(device.store.where().applied == "a");
  CHECK(acks.idle()); // nothing is acknowledged meanwhile
  CHECK(device.rules->doubted(talk) == seq_no{1});
  CHECK(device.rules->doubted(other) == seq_no::none);
  SUBCASE("the cluster has it") {
    device.rules->confirmed(talk);
    CHECK(device.rules->doubted(talk) == seq_no::none);
    CHECK(device.fetch_held() == held::stop);
    CHECK(device.history() == numbers{1, 2});
    CHECK(device.store.where().applied == "b");
    CHECK(!device.rules->doubts());
    CHECK(!acks.idle());
  }
  SUBCASE("the stream is over before") {
    device.rules->release_all();
    CHECK(!device.rules->doubts());
    CHECK(acks.applied() == "a");
    CHECK(acks.idle());
  }
}

TEST_CASE("a place that did not move is acknowledged again after a doubt as well") {
  inbox device;
  device.deliver({row(0, 1)}, "a");
  auto& acks = device.rules->acks();
  acks.restore("a", "a");
  const doubt doubts[] = {{talk, seq_no{1}}};
  CHECK(device.rules->doubt(doubts, "0"));
  device.rules->confirmed(talk);
  CHECK(device.fetch_held() == held::stop);
  CHECK(acks.applied() == "a");
  CHECK(!acks.idle());
}

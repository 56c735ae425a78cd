// A replica whose disk has less than it had confirmed: an older copy, or one that lost something.
#include "tests/cluster/replication/replication_fixture.hpp"

using namespace parley;
using namespace parley::cluster;
using namespace parley::test;
using namespace std::chrono_literals;

namespace {

/// There are copies of all disks from after the first command. Ten more are committed, and node 1 leads.
struct rolled_back : three_nodes {
  std::map<std::uint64_t, test::virtual_environment::copy_type> early;
  rolled_back() {
    commit("early");
    settle_on(1);
    REQUIRE(until([&] { return same(1); }));
    for (std::uint64_t n = 1; n <= 3; ++n)
      early[n] = at(n).env.copy();
    for (int i = 0; i < 10; ++i)
      commit("late");
    REQUIRE(until([&] { return same(11); }));
  }
  void settle_on(std::uint64_t node) {
    for (int i = 0; i < 20 && settle().who.node != node_id{node}; ++i) {
      settle().engine->transfer_leadership(s0, node_id{node});
      for (int ms = 0; ms < 300; ++ms)
        step();
    }
    REQUIRE(settle().who.node == node_id{node});
  }
  void put_back(std::uint64_t node = 3) {
    crash(at(node));
    at(node).env.put_back(early[node]);
    start(at(node));
  }
};

} // namespace

TEST_CASE_FIXTURE(rolled_back,
                  "a follower whose disk forgot learns it from its leader, and takes no part any more") {
  put_back();
  meet(at(3));
  REQUIRE(until([&] { return !at(3).forgets.empty(); }));
  const auto& f = at(3).forgets.front();
  CHECK(f.by == node_id{1});
  CHECK(f.index >= f.has.index + 10);
  CHECK(at(3).engine->status(s0)->as == replica_status::role::halted);
  commit("goes on");
  crash(at(1)); // node 3 gives node 2 no vote
  for (int i = 0; i < 5000; ++i)
    step();
  CHECK_FALSE(leader());
}

TEST_CASE_FIXTURE(rolled_back, "a leader whose disk forgot learns it from its followers") {
  put_back(1);
  meet(at(1));
  REQUIRE(until([&] { return !at(1).forgets.empty(); }));
  CHECK(at(1).forgets.front().index >= 11);
  CHECK(until([&] { return leader() != nullptr; }));
  CHECK(leader()->who.node != node_id{1});
}

TEST_CASE_FIXTURE(rolled_back, "what a leader knew of its followers outlives it") {
  put_back();
  crash(at(1));
  crash(at(2));
  start(at(1));
  start(at(2));
  meet(at(3));
  CHECK(until([&] { return !at(3).forgets.empty(); }));
}

TEST_CASE_FIXTURE(rolled_back, "a disk that forgot a vote is recognised by whom it voted for") {
  put_back();
  crash(at(1));
  crash(at(3));
  start(at(3)); // as it is now; node 2 needs its vote
  REQUIRE(until([&] { return leader() != nullptr; }));
  const auto term = at(3).engine->status(s0)->term;
  put_back();
  REQUIRE(at(3).engine->status(s0)->term < term);
  meet(at(3));
  CHECK(until([&] { return !at(3).forgets.empty(); }));
}

TEST_CASE_FIXTURE(rolled_back,
                  "a leader sees it when a follower refuses what it had confirmed, and counts it once") {
  const auto right = at(3).env.copy();
  cut.insert(node_id{3}); // nobody says what it knows: as if the session were the one from before
  put_back();
  cut.erase(node_id{3});
  REQUIRE(until([&] { return at(1).followers_forgot == 1; }));
  REQUIRE(until([&] { return !at(3).forgets.empty(); }));
  for (int i = 0; i < 3000; ++i)
    step();
  CHECK(at(1).followers_forgot == 1);
  crash(at(3)); // it gets the right disk again
  at(3).env.put_back(right);
  start(at(3));
  meet(at(3));
  commit("after");
  CHECK(until([&] { return same(12) && at(1).engine->lagging_members().empty(); }));
  CHECK(leader() == &at(1));
}

TEST_CASE_FIXTURE(rolled_back,
                  "where nobody noticed, the node that has the rest says that its leader contradicts it") {
  crash(at(2));
  put_back(1);
  put_back(3);
  commit("under the number of a lost one");
  start(at(2));
  REQUIRE(until([&] { return !at(2).divergences.empty(); }));
  for (int i = 0; i < 3000; ++i)
    step();
  CHECK(at(2).divergences.size() == 1); // once, and not with each heartbeat
  CHECK(at(2).rows(s0).size() == 11);
}

TEST_CASE_FIXTURE(three_nodes,
                  "a disk that forgot a generation, or that it had its state, learns it from the others") {
  auto& fourth = add(on(4));
  start(fourth);
  meet(fourth);
  commit("early");
  const auto before = fourth.env.copy();
  settle().engine->seal(s0, {on(1), on(2), on(4)}, ++tickets);
  const auto role = [&] { return fourth.engine->status(s0).value_or(replica_status{}).as; };
  REQUIRE(until([&] { return role() == replica_status::role::waiting_for_state; }));
  const auto waiting = fourth.env.copy();
  commit("late");
  REQUIRE(until([&] { return fourth.rows(s0).size() == 2; }));
  until([] { return false; }, 300); // its results have arrived
  crash(fourth);
  SUBCASE("from before it was a member") {
    fourth.env.put_back(before);
  }
  SUBCASE("from while it waited for the state") {
    fourth.env.put_back(waiting);
  }
  start(fourth);
  meet(fourth);
  CHECK(until([&] { return !fourth.forgets.empty(); }, 1000));
}

TEST_CASE_FIXTURE(rolled_back,
                  "that a disk had confirmed a generation is known also to members that it never followed") {
  at(1).engine->seal(s0, members, ++tickets);
  REQUIRE(until([&] {
    return at(1).seals.size() + at(2).seals.size() + at(3).seals.size() == 3 && leader() != nullptr;
  }));
  settle_on(1);
  until([] { return false; }, 300);
  crash(at(1)); // the leader, to whom node 3 has confirmed entries
  put_back(3);
  meet(at(3));
  REQUIRE(until([&] { return !at(3).forgets.empty(); }, 1000));
  CHECK(at(3).forgets.front().by == node_id{2});
}

TEST_CASE_FIXTURE(test_cluster,
                  "the only member of a generation that has ended does not lead before others can say so") {
  config.votes_after = 1000ms;
  const auto apart = [&](test_node& n,
                         std::vector<member> members = {}) { // there are no sessions when a node starts
    cut.insert(n.who.node);
    start(n, std::move(members));
    cut.erase(n.who.node);
  };
  auto& first = add(on(1));
  apart(first, {on(1)});
  REQUIRE(until([&] { return leader() != nullptr; }, 100)); // a new one need not wait
  commit("alone");
  crash(first);
  apart(first);
  CHECK_FALSE(until([&] { return leader() != nullptr; }, 900));
  REQUIRE(until([&] { return leader() != nullptr; }, 500));
  const auto before = first.env.copy();
  for (std::uint64_t n = 2; n <= 3; ++n) {
    start(add(on(n)));
    meet(at(n));
  }
  first.engine->seal(s0, {on(1), on(2), on(3)}, ++tickets);
  REQUIRE(until([&] { return same(1); }));
  commit("three");
  REQUIRE(until([&] { return same(2); }));
  crash(first);
  first.leads.clear();
  first.env.put_back(before);
  apart(first);
  until([] { return false; }, 500);
  meet(first);
  CHECK(until([&] { return !first.forgets.empty(); }, 100));
  CHECK_FALSE(first.leads[s0].ready);
  commit("goes on");
  CHECK(until([&] { return at(2).rows(s0).size() == 3; }));
}

namespace {

/// Node 1 was the shard's only member, and has its older disk again.
struct first_one_again : test_cluster {
  first_one_again() { config.votes_after = 1000ms; }
  void move_to(const std::vector<member>& next) {
    for (std::uint64_t n = 1; n <= 3; ++n)
      start(add(on(n)), n == 1 ? std::vector{on(1)} : std::vector<member>{});
    commit("alone");
    before_ = at(1).env.copy();
    for (int i = 1; i <= 3; ++i) { // the last ones are not told who was there before
      settle().engine->seal(s0, next, ++tickets);
      REQUIRE(until([&] {
        return leader() && leader() != &at(1) &&
               leader()->engine->status(s0)->gen == generation{static_cast<std::uint32_t>(i + 1)};
      }));
    }
    commit("goes on");
    crash(at(1));
    at(1).leads.clear();
    at(1).env.put_back(before_);
  }
  /// There are no sessions when a node starts.
  void start_apart(std::uint64_t n) {
    cut = {node_id{1}, node_id{2}};
    start(at(n));
    cut.clear();
  }
  bool first_knows() { return at(1).engine->status(s0)->as == replica_status::role::sealed; }

private:
  test::virtual_environment::copy_type before_;
};

} // namespace

TEST_CASE_FIXTURE(first_one_again,
                  "the only member of a generation learns that others went on without it, long ago") {
  move_to({on(2), on(3)});
  start_apart(1);
  meet(at(1));
  CHECK(until([&] { return first_knows(); }, 100));
  until([] { return false; }, 2000);
  CHECK_FALSE(at(1).leads[s0].ready);
}

TEST_CASE_FIXTURE(first_one_again,
                  "of two that would lead alone the later one tells the other one before it leads itself") {
  move_to({on(2)});
  crash(at(2));
  start_apart(1);
  start_apart(2);
  meet(at(1));
  CHECK(until([&] { return first_knows(); }, 100));
  until([] { return false; }, 2000);
  CHECK_FALSE(at(1).leads[s0].ready);
  commit("and on");
  CHECK(at(2).rows(s0).size() == 3);
}

TEST_CASE_FIXTURE(first_one_again,
                  "a session that begins while a new term is written begins with the end of what has ended") {
  move_to({on(2), on(3)});
  auto& led = settle();
  auto& next = &led == &at(2) ? at(3) : at(2);
  const auto term = next.engine->status(s0)->term;
  led.engine->transfer_leadership(s0, next.who.node);
  for (int i = 0; i < 100; ++i) {
    take_inputs();
    if (next.engine->status(s0)->term > term)
      break;
    for (auto* n : {&led, &next})
      turn_of(*n);
  }
  REQUIRE(next.engine->status(s0)->term > term);
  start_apart(1);
  next.engine->peer_begun(node_id{1});
  at(1).engine->peer_begun(next.who.node);
  CHECK(until([&] { return first_knows(); }, 100));
}

TEST_CASE_FIXTURE(three_nodes, "nodes that forgot nothing are never accused, however they are started") {
  for (int round = 0; round < 6; ++round) {
    commit("x");
    for (std::uint64_t n = 1; n <= 3; ++n) {
      if (round % 3 == 2 || n == static_cast<std::uint64_t>(round % 3) + 1)
        crash(at(n));
    }
    for (std::uint64_t n = 1; n <= 3; ++n) {
      if (!at(n).engine) {
        start(at(n));
        meet(at(n));
      }
    }
  }
  settle().engine->seal(s0, {on(1), on(2), on(3)},
                        ++tickets); // the next generation begins with other positions
  REQUIRE(until([&] { return at(1).seals.size() + at(2).seals.size() + at(3).seals.size() >= 3; }));
  commit("in the next generation");
  for (std::uint64_t n = 1; n <= 3; ++n)
    meet(at(n)); // new sessions of processes that go on
  commit("y");
  for (std::uint64_t n = 1; n <= 3; ++n) {
    CHECK(at(n).forgets.empty());
    CHECK(at(n).followers_forgot == 0);
    CHECK(at(n).divergences.empty());
    CHECK(at(n).halts.empty());
  }
}

TEST_CASE_FIXTURE(test_cluster,
                  "a node votes only when all members have said what they know, or after a while") {
  config.votes_after = 20'000ms;
  const std::vector<member> all{on(1), on(2), on(3)};
  const auto start_apart = [&](test_node& n, std::vector<member> members = {}) {
    cut.insert(n.who.node); // there are no sessions when a node starts
    start(n, std::move(members));
    cut.erase(n.who.node);
  };
  for (const auto& m : all)
    start_apart(add(m), all);
  for (int i = 0; i < 3000; ++i)
    step();
  CHECK_FALSE(leader());
  for (const auto& m : all)
    meet(at(number(m.node)));
  CHECK(until([&] { return leader() != nullptr; }, 5000));
  for (const auto& m : all)
    crash(at(number(m.node)));
  const auto since = now;
  for (std::uint64_t n = 1; n <= 2; ++n)
    start_apart(at(n));
  meet(at(1));
  CHECK(until([&] { return leader() != nullptr; }, 60'000)); // who is missing may be lost for good
  CHECK(now >= since + 20'000);
}

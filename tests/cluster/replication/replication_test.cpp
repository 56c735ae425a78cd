#include "tests/cluster/replication/replication_fixture.hpp"

using namespace parley;
using namespace parley::cluster;
using namespace parley::test;
using namespace std::chrono_literals;

TEST_CASE_FIXTURE(test_cluster, "a shard that has no replica here is refused") {
  start(add(on(1)), {on(1)});
  auto& n = at(1);
  n.engine->propose(shard_id{7}, 1, "x");
  n.engine->read(shard_id{7}, 2);
  step();
  CHECK(n.refused[1] == ec::not_leader);
  CHECK(n.refused[2] == ec::not_leader);
}

TEST_CASE_FIXTURE(test_cluster,
                  "on a full disk proposals are refused, and what is committed is still applied") {
  start(add(on(1)), {on(1)});
  auto& n = settle();
  n.env.set_room({0, false});
  commit("last");
  const auto t = propose(n, "too late");
  step();
  CHECK(n.refused[t] == ec::disk_full);
  CHECK(n.rows(s0) == std::vector<std::string>{"last"});
  n.env.set_room({1 << 30, true}); // nothing was written meanwhile
  for (int i = 0; i < 200; ++i)
    step();
  commit("again");
}

TEST_CASE_FIXTURE(
    test_cluster,
    "proposals above the bound are refused as `overloaded`, and one that is too large as `too_large`") {
  config.pending_proposals_max = 2;
  config.entry_bytes_max = 100;
  start(add(on(1)), {on(1)});
  auto& n = settle();
  const auto large = propose(n, std::string(97, 'x'));
  propose(n, "a");
  propose(n, "b");
  const auto third = propose(n, "c");
  step();
  CHECK(n.refused[large] == ec::too_large);
  CHECK(n.refused[third] == ec::overloaded);
  CHECK(until([&] { return n.machine->answered.size() == 2; }));
}

TEST_CASE_FIXTURE(test_cluster, "one node commits alone, and has its entries after a restart") {
  start(add(on(1)), {on(1)});
  commit("a");
  commit("b");
  crash(at(1));
  start(at(1));
  commit("c");
  CHECK(at(1).rows(s0) == std::vector<std::string>{"a", "b", "c"});
  CHECK(at(1).machine->applied.size() == 1); // the others had been applied
  at(1).engine->read(s0, 99);
  CHECK(until([&] { return at(1).read.contains(99); }, 10));
}

TEST_CASE_FIXTURE(three_nodes, "a follower refuses what only a leader can do, and names the leader") {
  auto& l = settle();
  step();
  step();
  for (auto& [id, n] : nodes) {
    if (n.get() == &l)
      continue;
    n->engine->propose(s0, 7, "x");
    n->engine->read(s0, 8);
    step();
    CHECK(n->refused[7] == ec::not_leader);
    CHECK(n->refused[8] == ec::not_leader);
    CHECK(n->engine->status(s0)->leader == l.who.node);
  }
}

TEST_CASE_FIXTURE(three_nodes, "garbage, and messages for another disk, change nothing") {
  auto& l = settle();
  commit("a");
  for (std::size_t n = 0; n < 64; ++n)
    l.engine->receive(node_id{2}, std::string(n, static_cast<char>(n * 37)), mono_ms{now});
  start(add(on(3, 999)), {on(1), on(2), on(3, 999)}); // the same node with an unknown disk
  for (int i = 0; i < 3000; ++i)
    step();
  CHECK(at(3).rows(s0).empty());
  commit("b");
  CHECK(until([&] { return at(1).rows(s0) == at(2).rows(s0); }));
}

TEST_CASE_FIXTURE(three_nodes, "three nodes elect a leader, replicate what it proposes and agree") {
  for (int i = 0; i < 50; ++i)
    commit("c" + std::to_string(i));
  CHECK(until([&] { return same(50); }));
}

TEST_CASE_FIXTURE(three_nodes, "a proposal never waits for a heartbeat") {
  settle();
  for (int i = 0; i < 400; ++i) {
    auto& l = settle();
    const auto t = propose(l, "x");
    REQUIRE(until([&] { return l.machine->answered.contains(t); }, 5));
    for (int gap = i * 37 % 131; gap > 0; --gap)
      step();
  }
}

TEST_CASE_FIXTURE(
    three_nodes, "a node whose leaders are alive wakes up for heartbeats only, however many deadlines move") {
  std::vector<shard_id> shards;
  for (std::uint16_t s = 0; s < 20; ++s)
    shards.push_back(shard_id{s});
  build(shards);
  for (auto s : shards)
    settle(s);
  for (auto& [id, n] : nodes)
    n->ticks = 0;
  const auto from = now;
  until([&] { return now >= from + 10'000; });
  for (auto& [id, n] : nodes)
    CHECK(n->ticks <= 10'000 / config.heartbeat_every.count() + 2);
}

TEST_CASE_FIXTURE(three_nodes, "appended entries have to be synced, and applied ones alone do not") {
  auto& l = settle();
  commit("a");
  REQUIRE(until([&] { return same(1); }));
  l.syncs.clear();
  propose(l, "b");
  REQUIRE(until([&] { return same(2); }));
  CHECK(l.syncs == std::vector<storage::durable>{storage::durable::now, storage::durable::with_next});
}

TEST_CASE_FIXTURE(three_nodes, "many shards of a node share frames and each has a leader") {
  build({s0, s1});
  commit("a", s0);
  commit("b", s1);
  CHECK(until([&] { return same(1, s0) && same(1, s1); }));
}

TEST_CASE_FIXTURE(
    three_nodes,
    "a leader that is cut off answers nothing, and the outcome of what it had in its log is unknown") {
  auto& old = settle();
  commit("a");
  cut.insert(old.who.node);
  const auto lost = propose(old, "lost");
  old.engine->read(s0, 900);
  for (int i = 0; i < 3000; ++i)
    step();
  CHECK(old.refused[lost] == ec::timed_out);
  CHECK((old.refused[900] == ec::not_leader || old.refused[900] == ec::unavailable));
  CHECK(old.read.empty());
  commit("b");
  cut.clear();
  CHECK(until([&] { return same(2); }));
  CHECK(at(1).rows(s0) == std::vector<std::string>{"a", "b"});
}

TEST_CASE_FIXTURE(three_nodes,
                  "a read is answered after a majority has replied, and sees what was acknowledged") {
  auto& l = settle();
  commit("a");
  l.engine->read(s0, 77);
  turn_of(l);
  CHECK(!l.read.contains(77));
  CHECK(until([&] { return l.read.contains(77); }, 50));
  CHECK(l.rows(s0).size() == 1);
}

TEST_CASE_FIXTURE(three_nodes, "leadership is handed over on request") {
  auto& l = settle();
  commit("a");
  const auto to = l.who.node == node_id{1} ? node_id{2} : node_id{1};
  l.engine->transfer_leadership(s0, to);
  CHECK(until([&] { return leader() && leader()->who.node == to; }, 200));
}

TEST_CASE_FIXTURE(three_nodes, "a node that hands its leaderships over asks another member each time") {
  commit("a");
  auto& l = settle();
  std::set<node_id> asked;
  for (int turn = 0; turn < 2; ++turn) {
    l.engine->hand_over_all();
    REQUIRE(until([&] { return leader() && leader() != &l; }));
    asked.insert(leader()->who.node);
    leader()->engine->transfer_leadership(s0, l.who.node);
    REQUIRE(until([&] { return leader() == &l; }));
  }
  CHECK(asked.size() == 2);
}

TEST_CASE_FIXTURE(three_nodes, "each leadership is offered to another member, whatever else is led by then") {
  build({s0, s1});
  auto& l = settle(s0);
  const auto lead = [&](shard_id shard, node_id who) {
    if (leader(shard) && leader(shard)->who.node != who)
      leader(shard)->engine->transfer_leadership(shard, who);
    REQUIRE(until([&] { return leader(shard) && leader(shard)->who.node == who; }));
  };
  settle(s1);
  lead(s1, l.who.node);
  std::set<node_id> asked;
  for (int turn = 0; turn < 2; ++turn) {
    l.engine->hand_over_all();
    REQUIRE(until([&] { return leader(s1) && leader(s1) != &l; }));
    asked.insert(leader(s1)->who.node);
    lead(s1, l.who.node); // as if it had failed; the other shard stays where it went
  }
  CHECK(asked.size() == 2);
}

TEST_CASE_FIXTURE(three_nodes, "leaderships are not handed to a member that is dead, or that halted") {
  commit("a");
  REQUIRE(until([&] { return same(1); }));
  auto& l = settle();
  std::vector<test_node*> others;
  for (auto& [id, n] : nodes)
    if (n.get() != &l)
      others.push_back(n.get());
  std::size_t gone = 0;
  SUBCASE("the first") {
    gone = 0;
  }
  SUBCASE("the second") {
    gone = 1;
  }
  SUBCASE("a halted one") {
    others[gone]->machine->unknown = {"new"};
    propose(l, "new");
    REQUIRE(until([&] { return !others[gone]->halts.empty(); }));
  }
  if (others[gone]->halts.empty())
    crash(*others[gone]);
  until([] { return false; }, 3'000);
  REQUIRE(leader() == &l);
  l.engine->hand_over_all();
  CHECK(until([&] { return leader() == others[1 - gone]; }, 200));
}

TEST_CASE_FIXTURE(three_nodes, "nothing that was acknowledged is lost when all nodes crash and restart") {
  for (int round = 0; round < 5; ++round) {
    commit("r" + std::to_string(round));
    for (auto& [id, n] : nodes)
      crash(*n);
    for (auto& [id, n] : nodes)
      start(*n);
  }
  CHECK(until([&] { return same(5); }));
}

TEST_CASE_FIXTURE(three_nodes, "a follower far behind is sent the state, and follows again") {
  config.log_entries_kept = 8;
  config.snapshot_chunk_bytes = 64;
  config.log_cache_bytes = 0;
  build();
  auto& l = settle();
  const auto behind = l.who.node == node_id{3} ? node_id{2} : node_id{3};
  crash(*nodes[behind]);
  until([] { return false; }, 3000); // the log is not kept any longer for somebody who is away
  for (int i = 0; i < 60; ++i)
    commit("c" + std::to_string(i));
  CHECK(l.env.rows(storage::table::log) < 20);
  start(*nodes[behind]);
  CHECK(until([&] { return same(60); }));
  CHECK(nodes[behind]->machine->replacements.contains(s0));
  commit("after");
  CHECK(until([&] { return same(61); }));
  CHECK(
      until([&] { return nodes[behind]->env.rows(storage::table::state) == 61; })); // the old slot is emptied
}

TEST_CASE_FIXTURE(test_cluster, "a shard of one replica grows to three") {
  start(add(on(1)), {on(1)});
  for (int i = 0; i < 20; ++i)
    commit("c" + std::to_string(i));
  start(add(on(2)));
  start(add(on(3)));
  at(1).engine->seal(s0, {on(1), on(2), on(3)}, 1000);
  CHECK(until([&] { return !at(1).seals.empty(); }));
  CHECK(until([&] { return same(20); }));
  commit("after");
  CHECK(until([&] { return same(21); }));
  CHECK(at(2).engine->status(s0)->gen == generation{2});
}

TEST_CASE_FIXTURE(test_cluster,
                  "a seal that was decided on for a generation that has ended changes nothing") {
  start(add(on(1)), {on(1)});
  commit("before");
  start(add(on(2)));
  start(add(on(3)));
  at(1).engine->seal(s0, {on(1), on(2), on(3)}, 1000, generation{1});
  CHECK(until([&] { return same(1); }));
  auto& l = settle();
  l.engine->seal(s0, {on(1)}, 1001, generation{1});
  step();
  CHECK(l.refused[1001] == ec::sealed);
  commit("after");
  CHECK(until([&] { return same(2); }));
  for (auto& [id, n] : nodes)
    CHECK(n->engine->status(s0)->gen == generation{2});
}

TEST_CASE_FIXTURE(three_nodes, "a lost disk is replaced by another one, which has a new id") {
  for (int i = 0; i < 20; ++i)
    commit("c" + std::to_string(i));
  crash(at(3));
  start(add(on(3, 777))); // empty
  auto& l = settle();
  l.engine->seal(s0, {on(1), on(2), on(3, 777)}, 1000);
  CHECK(until([&] { return same(20); }));
  commit("after");
  CHECK(until([&] { return same(21); }));
}

TEST_CASE_FIXTURE(three_nodes,
                  "after a replica has moved, the old node keeps a tombstone that refuses proposals") {
  for (int i = 0; i < 20; ++i)
    commit("c" + std::to_string(i));
  start(add(on(4)));
  auto& l = settle();
  const auto leaving = l.who.node;
  std::vector<member> next;
  for (std::uint64_t n = 1; n <= 4; ++n)
    if (node_id{n} != leaving)
      next.push_back(on(n));
  l.engine->seal(s0, next, 1000);
  auto gone = [&] { return l.env.rows(storage::table::state) == 0 && l.env.rows(storage::table::log) == 0; };
  CHECK(until(gone));
  commit("after");
  auto& leaver = *nodes[leaving];
  propose(leaver, "x");
  step();
  CHECK(leaver.refused[tickets] == ec::sealed);
  crash(leaver);
  start(leaver);
  step();
  propose(leaver, "y");
  step();
  CHECK(leaver.refused[tickets] == ec::sealed);
  for (auto m : next)
    CHECK(until([&] { return nodes[m.node]->rows(s0).size() == 21; }));
}

TEST_CASE_FIXTURE(three_nodes, "a shard grows from three replicas to five while one of the three is away") {
  for (int i = 0; i < 20; ++i)
    commit("c" + std::to_string(i));
  auto& l = settle();
  const auto sleeper = l.who.node == node_id{3} ? node_id{2} : node_id{3};
  crash(*nodes[sleeper]);
  commit("unseen");
  start(add(on(4)));
  start(add(on(5)));
  l.engine->seal(s0, {on(1), on(2), on(3), on(4), on(5)}, 1000);
  commit("after");
  start(*nodes[sleeper]);
  CHECK(until([&] { return same(22); }));
  for (auto& [id, n] : nodes)
    CHECK(n->engine->status(s0)->gen == generation{2});
}

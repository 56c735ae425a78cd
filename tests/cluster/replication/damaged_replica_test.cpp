// A replica of which a row does not match its checksum: others lead instead of it, and it gets their state.
#include "tests/cluster/replication/replication_fixture.hpp"

using namespace parley;
using namespace parley::test;

TEST_CASE_FIXTURE(three_nodes,
                  "a leader that cannot read a row hands its shard over, and does not lead it again") {
  build({s0, s1});
  auto& first = settle(s0);
  const auto other_shard = [&] { return first.engine->status(s1)->as; };
  settle(s1);
  if (other_shard() != replica_status::role::leader)
    settle(s1).engine->transfer_leadership(s1, first.who.node);
  REQUIRE(until([&] { return other_shard() == replica_status::role::leader; }));
  first.engine->damaged(s0);
  first.engine->damaged(s0); // each question that meets the row reports it
  REQUIRE(until([&] { return leader(s0) && leader(s0) != &first; }));
  CHECK(first.damages == std::vector{s0}); // it is reported once
  CHECK(other_shard() == replica_status::role::leader);

  // It follows, stores and votes; what it acknowledges counts.
  auto& second = settle(s0);
  for (auto& [id, n] : nodes)
    if (n.get() != &first && n.get() != &second) {
      crash(*n);
      break;
    }
  commit("without the third");
  CHECK(leader(s0) == &second);

  // Nobody else can lead: better a leader that cannot read one row than none.
  for (auto& [id, n] : nodes)
    if (!n->engine)
      start(*n);
  REQUIRE(until([&] { return same(1); }));
  crash(second);
  auto& third = settle(s0);
  CHECK(&third != &first);
}

TEST_CASE_FIXTURE(three_nodes, "if all members have damaged rows, one of them leads") {
  settle();
  for (auto& [id, n] : nodes)
    n->engine->damaged(s0);
  commit("all the same");
  CHECK(until([&] { return same(1); }));
}

TEST_CASE_FIXTURE(three_nodes,
                  "a damaged row of a shard that is not here, or that is followed here, moves nothing") {
  auto& first = settle();
  first.engine->damaged(s1);
  for (auto& [id, n] : nodes)
    if (n.get() != &first)
      n->engine->damaged(s0);
  until([] { return false; }, 2000);
  CHECK(leader() == &first);
  CHECK(first.damages.empty());
  commit("as before");
}

namespace {

struct damage : three_nodes {
  /// Flips a byte of the row of the command `n`, counted from 1, in the replica's state.
  void flip(test_node& at, int n) {
    auto key = std::to_string(n);
    key.insert(0, 8 - key.size(), '0');
    const auto slot = replication::state_slot(*at.env.begin_read(), s0);
    REQUIRE(slot);
    REQUIRE(at.env.corrupt(storage::table::state, storage::shard_view::prefix(s0, *slot) + key));
  }
  test_node& other_than(const test_node& a, const test_node* b = nullptr) {
    for (auto& [id, n] : nodes)
      if (n.get() != &a && n.get() != b)
        return *n;
    return *nodes.begin()->second;
  }
  void fill(int rows) {
    for (int i = 0; i < rows; ++i)
      commit("row " + std::to_string(i));
    REQUIRE(until([&] { return same(static_cast<std::size_t>(rows)); }));
  }
  void wait(int ms) {
    until([] { return false; }, ms);
  }
};

} // namespace

TEST_CASE_FIXTURE(damage, "a follower with a damaged row gets its leader's state, though it lacks no entry") {
  fill(30);
  auto& first = settle();
  auto& hurt = other_than(first);
  flip(hurt, 7);
  REQUIRE_FALSE(same(30));
  const auto term = hurt.engine->status(s0)->term, last = hurt.engine->status(s0)->last_index;
  hurt.engine->damaged(s0);
  REQUIRE(until([&] { return same(30); }));
  CHECK(hurt.mends == std::vector{s0});
  CHECK(hurt.machine->replacements.count(s0) == 1);
  CHECK(leader() == &first);
  CHECK(hurt.engine->status(s0)->term == term); // its log and its vote were not what was damaged
  CHECK(hurt.engine->status(s0)->last_index == last);
  wait(5'000);
  CHECK(hurt.machine->replacements.count(s0) == 1); // once is enough
  commit("after");
  REQUIRE(until([&] { return same(31); }));
  crash(hurt); // what it was given, and the log that it kept, fit together on disk
  start(hurt);
  commit("after a crash");
  CHECK(until([&] { return same(32); }));
}

TEST_CASE_FIXTURE(damage, "a leader with a damaged row hands over, is healed, and may lead again") {
  fill(30);
  auto& hurt = settle();
  flip(hurt, 30);
  hurt.engine->damaged(s0);
  REQUIRE(until([&] { return same(30) && leader() && leader() != &hurt; }));
  CHECK(hurt.mends == std::vector{s0});
  settle().engine->transfer_leadership(s0, hurt.who.node);
  REQUIRE(until([&] { return leader() == &hurt; }));
  wait(3'000);
  CHECK(leader() == &hurt);
  commit("after");
  CHECK(until([&] { return same(31); }));
}

TEST_CASE_FIXTURE(damage, "a damaged replica is healed while its shard is written to, and misses nothing") {
  config.snapshot_chunk_bytes = 64; // many messages, so that entries are committed in between
  config.log_entries_kept = 8;
  build();
  fill(60);
  auto& hurt = other_than(settle());
  flip(hurt, 1);
  hurt.engine->damaged(s0);
  int rows = 60;
  while (hurt.mends.empty() && rows < 2000) {
    commit("row " + std::to_string(rows));
    ++rows;
  }
  CHECK(hurt.mends == std::vector{s0});
  CHECK(until([&] { return same(static_cast<std::size_t>(rows)); }));
}

TEST_CASE_FIXTURE(damage, "a crash while a damaged replica is healed leaves one of the two states") {
  config.snapshot_chunk_bytes = 64;
  build();
  fill(40);
  auto& hurt = other_than(settle());
  for (int ms = 60; ms < 320;
       ms += 7) { // its leader learns of it after a heartbeat, and sends for some 40 ms
    CAPTURE(ms);
    flip(hurt, 5);
    hurt.engine->damaged(s0);
    wait(ms);
    crash(hurt);
    start(hurt);
    hurt.engine->damaged(s0); // a reader meets the row again, or there is none, and it is healed in vain
    REQUIRE(until([&] { return same(40) && !hurt.mends.empty(); }));
    hurt.mends.clear();
    crash(hurt); // it would take another word so soon for a late one
    start(hurt);
    REQUIRE(until([&] { return hurt.engine->status(s0)->leader == settle().who.node; }));
  }
}

TEST_CASE_FIXTURE(damage,
                  "a damaged replica stays while the others are no majority, and is healed afterwards") {
  fill(10);
  auto& first = settle();
  auto& hurt = other_than(first);
  auto& third = other_than(first, &hurt);
  crash(third);
  wait(2'000); // the leader has not heard of it for long
  flip(hurt, 3);
  hurt.engine->damaged(s0);
  commit("with the two that are left"); // what it acknowledges counts
  wait(5'000);
  CHECK(hurt.mends.empty());
  CHECK(hurt.damages == std::vector{s0});
  start(third);
  CHECK(until([&] { return same(11); }));
  CHECK(hurt.mends == std::vector{s0});
}

TEST_CASE_FIXTURE(damage, "two damaged replicas are healed one after the other, so that a majority goes on") {
  config.snapshot_chunk_bytes = 64;
  build();
  fill(40);
  auto& first = settle();
  auto& one = other_than(first);
  auto& two = other_than(first, &one);
  flip(one, 3);
  flip(two, 4);
  one.engine->damaged(s0);
  two.engine->damaged(s0);
  std::size_t rows = 40;
  while ((one.mends.empty() || two.mends.empty()) && rows < 2000) {
    commit("meanwhile");
    ++rows;
  }
  CHECK(leader() == &first);
  CHECK(until([&] { return same(rows); }));
}

TEST_CASE_FIXTURE(damage, "a leader that meets a damaged row while it sends its state is damaged as well") {
  fill(20);
  auto& first = settle();
  auto& hurt = other_than(first);
  flip(first, 9); // nobody has read it
  flip(hurt, 10);
  hurt.engine->damaged(s0);
  REQUIRE(until([&] { return same(20); }, 60'000));
  CHECK(first.damages == std::vector{s0});
  CHECK(first.mends == std::vector{s0});
  CHECK(hurt.mends == std::vector{s0});
  commit("after");
  CHECK(until([&] { return same(21); }));
}

TEST_CASE_FIXTURE(
    damage, "a follower that cannot apply a command because of a damaged row heals when it starts again") {
  fill(20);
  auto& first = settle();
  auto& hurt = other_than(first);
  auto& third = other_than(first, &hurt);
  flip(hurt, 4);
  hurt.machine->reads_all = true;
  commit("reads it");
  REQUIRE(until([&] { return hurt.ends == 1; }));
  CHECK(hurt.machine->applied.size() == 20);

  // With another member away, its log is needed, and its rows cannot be replaced. It does not meet the row again.
  crash(third);
  start(hurt);
  hurt.machine->reads_all = true;
  commit("by its log");
  wait(5'000);
  CHECK(hurt.ends == 1);
  CHECK(hurt.damages == std::vector{s0});
  CHECK(hurt.machine->applied.empty());

  start(third);
  REQUIRE(until([&] { return same(22); }));
  CHECK(hurt.mends == std::vector{s0});
  hurt.machine->reads_all = true;
  commit("after");
  REQUIRE(until([&] { return same(23); }));
  crash(hurt); // nothing is remembered of it
  start(hurt);
  wait(1'000);
  CHECK(hurt.damages == std::vector{s0});
  CHECK(hurt.ends == 1);
}

TEST_CASE_FIXTURE(
    damage,
    "a leader that cannot apply a command because of a damaged row leads no more until it is healed") {
  fill(20);
  auto& hurt = settle();
  flip(hurt, 4);
  hurt.machine->reads_all = true;
  const auto t = propose(hurt, "reads it");
  REQUIRE(until([&] { return hurt.ends == 1; }));
  CHECK_FALSE(hurt.machine->answered.contains(t));
  auto& second = settle();
  auto& third = other_than(hurt, &second);
  REQUIRE(
      until([&] { return second.rows(s0).size() == 21 && third.rows(s0).size() == 21; })); // it was committed
  start(hurt);
  REQUIRE(until([&] { return same(21); }));
  CHECK(hurt.mends == std::vector{s0});
}

TEST_CASE_FIXTURE(
    damage, "a replica that cannot apply what only its log has brings it to another, which leads then") {
  fill(20);
  auto& first = settle();
  auto& hurt = other_than(first);
  auto& third = other_than(first, &hurt);
  flip(hurt, 4);
  hurt.machine->reads_all = true;
  commit("reads it");
  REQUIRE(until([&] { return hurt.ends == 1; }));
  crash(third);
  start(hurt);
  commit("with its log");
  crash(first);
  start(third);
  REQUIRE(until([&] { return leader() == &third; }));
  CHECK(third.rows(s0).size() == 22);
  CHECK(hurt.ends == 1);
  start(first);
  CHECK(until([&] { return same(22); }));
  CHECK(hurt.mends == std::vector{s0});
}

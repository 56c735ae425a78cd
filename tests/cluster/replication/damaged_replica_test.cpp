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
  void fill(int rows) {
    for (int i = 0; i < rows; ++i)
      commit("row " + std::to_string(i));
    REQUIRE(until([&] { return same(static_cast<std::size_t>(rows)); }));
  }
  /// A state of which the transfer lasts many seconds: one row in each message, and one message under way.
  void build_large() {
    config.snapshot_chunk_bytes = 64;
    config.transfer_chunks_max = 1;
    build();
    auto& l = settle();
    for (int i = 0; i < large; ++i)
      propose(l, std::string(60, 'x'));
    REQUIRE(until([&] { return same(large); }));
  }
  static constexpr int large = 4000;
  bool is_sent_state(test_node& n) { return n.engine->status(s0)->as == replica_status::role::installing; }
  bool is_marked(test_node& n) {
    return n.env.begin_read()->get(storage::table::node, damage_key(s0)).has_value();
  }
};

constexpr storage::space full_disk{settings::disk_reserve.standard * 3 / 4, false};
constexpr storage::space roomy_disk{std::uint64_t{1} << 40, true};

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

TEST_CASE_FIXTURE(damage,
                  "a damaged replica is needed while another one has no room, and is healed when that has") {
  build_large();
  auto& first = settle();
  auto& hurt = other_than(first);
  auto& third = other_than(first, &hurt);
  third.env.set_room(full_disk);
  wait(300); // its results have said so
  flip(hurt, 3);
  hurt.engine->damaged(s0);
  until([&] { return is_sent_state(hurt); }, 500);
  commit("by the log of the damaged one");
  CHECK(hurt.mends.empty());
  third.env.set_room(roomy_disk);
  REQUIRE(until([&] { return !hurt.mends.empty(); }, 60'000));
  CHECK(until([&] { return same(large + 1); }));
}

TEST_CASE_FIXTURE(damage,
                  "healing stops when the others are no majority any more, and begins again when they "
                  "are") {
  build_large();
  auto& first = settle();
  auto& hurt = other_than(first);
  auto& third = other_than(first, &hurt);
  flip(hurt, 3);
  hurt.engine->damaged(s0);
  REQUIRE(until([&] { return is_sent_state(hurt); }));
  SUBCASE("one falls silent") {
    crash(third);
  }
  SUBCASE("the disk of one fills up") {
    third.env.set_room(full_disk);
    wait(300);
  }
  commit("by the log of the damaged one");
  CHECK(hurt.mends.empty());
  if (third.engine)
    third.env.set_room(roomy_disk);
  else
    start(third);
  REQUIRE(until([&] { return !hurt.mends.empty(); }, 60'000));
  CHECK(until([&] { return same(large + 1); }));
}

TEST_CASE_FIXTURE(damage,
                  "a replica that can apply nothing, and has the seal in its log, gives its log up once "
                  "a majority of the successors has the state") {
  fill(20);
  auto& first = settle();
  auto& hurt = other_than(first);
  auto& third = other_than(first, &hurt);
  auto& fourth = add(on(4));
  start(fourth);
  flip(hurt, 4);
  hurt.machine->reads_all = true;
  commit("reads it");
  REQUIRE(until([&] { return hurt.ends == 1; }));
  crash(third);
  start(hurt);
  REQUIRE(until([&] { return hurt.engine->status(s0)->last_index == first.engine->status(s0)->last_index; }));
  const auto role = [&] { return hurt.engine->status(s0)->as; };
  auto next = members;
  bool goes_on = true;
  SUBCASE("of which it is one") {}
  SUBCASE("of which it is none") {
    next = {first.who, third.who, fourth.who};
    goes_on = false;
    crash(fourth);
  }
  first.engine->seal(s0, next, ++tickets);
  REQUIRE(until([&] { return first.seals.size() == 1; })); // by its log
  wait(5'000);
  CHECK(role() != replica_status::role::waiting_for_state); // only one has the state
  CHECK(role() != replica_status::role::sealed);
  CHECK(is_marked(hurt));
  start(third);
  if (goes_on) {
    REQUIRE(until([&] { return hurt.rows(s0).size() == 21; }));
    commit("in the next generation");
    CHECK(until([&] { return hurt.rows(s0).size() == 22; }));
  } else {
    REQUIRE(until([&] { return role() == replica_status::role::sealed; }));
    CHECK(until([&] { return hurt.env.rows(storage::table::state) == 0; }));
  }
  CHECK(hurt.mends == std::vector{s0});
  CHECK_FALSE(is_marked(hurt));
}

TEST_CASE_FIXTURE(damage, "a damaged replica whose shard goes elsewhere is damaged no more when its rows are "
                          "gone") {
  fill(10);
  auto& first = settle();
  auto& hurt = other_than(first);
  auto& third = other_than(first, &hurt);
  auto& fourth = add(on(4));
  start(fourth);
  hurt.engine->damaged(s0);
  first.engine->seal(s0, {first.who, third.who, fourth.who}, ++tickets);
  REQUIRE(until([&] { return first.seals.size() == 1; }));
  CHECK(hurt.mends.empty());
  REQUIRE(until([&] { return hurt.env.rows(storage::table::state) == 0; }));
  CHECK(hurt.mends == std::vector{s0});
}

TEST_CASE_FIXTURE(damage, "a mark of damage that outlived the rows goes when the node starts") {
  auto& n = add(on(4));
  {
    replica_record r;
    r.as = replica_record::life::tombstone;
    r.gen = generation{1};
    r.members = {on(3), on(4)};
    r.ending = succession{generation{1}, 5, 1, r.members, {on(1), on(2)}};
    auto txn = n.env.begin_write();
    txn->put(storage::table::node, record_key(s0), encode(r));
    replication::remember_unreadable(*txn, s0);
    REQUIRE(txn->commit() == ec::none);
  }
  start(n);
  CHECK(until([&] { return !is_marked(n); }, 100));
  CHECK(n.damages.empty());
}

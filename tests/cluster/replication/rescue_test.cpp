#include "cluster/replication/rescue.hpp"

#include "tests/cluster/replication/replication_fixture.hpp"

using namespace parley;
using namespace parley::cluster;
using namespace parley::test;

namespace {

tl::expected<rescue_view, std::string> rescue_durably(test_node& n) {
  auto txn = n.env.begin_write();
  auto view = rescue(*txn, s0, n.who, "rescued");
  REQUIRE(txn->commit() == ec::none);
  return view;
}

} // namespace

TEST_CASE_FIXTURE(three_nodes,
                  "a survivor goes on alone with all that it has, also with what nobody had applied") {
  commit("a");
  commit("b");
  auto& leads = settle();
  REQUIRE(until([&] { return same(2); }));
  auto& last = leads.who.node == node_id{3} ? at(2) : at(3);
  for (auto& [id, n] : nodes) // the third one has it, and does not learn that it is committed
    if (n.get() != &leads && n.get() != &last)
      crash(*n);
  const auto t = propose(leads, "c");
  REQUIRE(until([&] { return leads.machine->answered.contains(t); }));
  crash(leads);
  crash(last);
  const auto seen = look_at(*last.env.begin_read(), s0, last.who);
  REQUIRE(seen);
  CHECK(seen->last >= seen->applied);
  CHECK(seen->members.size() == 3);
  REQUIRE(rescue_durably(last));
  start(last);
  commit("d");
  // What its leader had sent may be committed, and others may have it under the same numbers.
  CHECK(last.rows(s0) == std::vector<std::string>{"a", "b", "c", "rescued", "d"});
  CHECK(last.engine->status(s0)->gen == generation{2});
  CHECK(last.engine->status(s0)->members == std::vector<member>{last.who});
}

TEST_CASE_FIXTURE(
    three_nodes,
    "what a leader had answered keeps its number, also if its disk does not say that it was committed") {
  commit("a");
  auto& led = settle();
  REQUIRE(until([&] { return same(1); }));
  const auto t = propose(led, "answered");
  auto synced = led.env.copy();
  for (int i = 0; i < 1000 && !led.machine->answered.contains(t); ++i) {
    synced = led.env.copy();
    step();
  }
  REQUIRE(led.machine->answered.contains(t));
  for (auto& [id, n] : nodes)
    crash(*n);
  led.env.put_back(synced); // what it applied was not synced when all of them lost their power
  const auto left = look_at(*led.env.begin_read(), s0, led.who);
  REQUIRE(left);
  CHECK(left->applied < left->last);
  REQUIRE(rescue_durably(led));
  start(led);
  commit("b");
  CHECK(led.rows(s0) == std::vector<std::string>{"a", "answered", "rescued", "b"});
}

TEST_CASE_FIXTURE(three_nodes, "so does what a leader had stored and nobody had acknowledged") {
  commit("a");
  auto& led = settle();
  REQUIRE(until([&] { return same(1); }));
  for (auto& [id, n] : nodes)
    if (n.get() != &led)
      crash(*n);
  propose(led, "never acknowledged");
  wait(10);
  crash(led);
  REQUIRE(rescue_durably(led));
  start(led);
  commit("b");
  CHECK(led.rows(s0) == std::vector<std::string>{"a", "never acknowledged", "rescued", "b"});
}

TEST_CASE_FIXTURE(three_nodes,
                  "entries of an older term than the survivor knows come behind the count of rescues") {
  commit("a");
  auto& leads = settle();
  auto& last = leads.who.node == node_id{3} ? at(2) : at(3);
  for (auto& [id, n] : nodes)
    if (n.get() != &leads && n.get() != &last)
      crash(*n);
  commit("b");
  crash(leads);
  crash(last);
  {
    auto txn = last.env.begin_write();
    auto record = *decode_record(*txn->get(storage::table::node, record_key(s0))).it;
    record.term += 1;
    record.vote = 0;
    record.applied_index = record.applied_term =
        1; // as if it had applied nothing, to see where all entries stand
    record.snapshot_index = record.snapshot_term = 1;
    txn->put(storage::table::node, record_key(s0), encode(record));
    REQUIRE(txn->commit() == ec::none);
  }
  REQUIRE(rescue_durably(last));
  std::vector<std::string> kinds;
  last.env.begin_read()->ascend(storage::table::log, {}, {}, [&](std::string_view, std::string_view row) {
    if (get_row_header(row, core::reading::whole).it->gen == generation{2})
      kinds.emplace_back(row_payload(row));
    return storage::scan::more;
  });
  REQUIRE_FALSE(kinds.empty());
  CHECK(kinds.front().ends_with("rescued"));
}

TEST_CASE_FIXTURE(three_nodes,
                  "the others give up what they had, and are filled when they are members again") {
  commit("a");
  REQUIRE(until([&] { return same(1); }));
  for (std::uint64_t n = 1; n <= 3; ++n)
    crash(at(n));
  REQUIRE(rescue_durably(at(1)));
  start(at(1));
  commit("b");
  start(at(2));
  start(at(3)); // they could elect each other in the generation that ended
  REQUIRE(until([&] {
    return at(2).engine->status(s0)->as == replica_status::role::sealed &&
           at(3).engine->status(s0)->as == replica_status::role::sealed;
  }));
  at(1).engine->seal(s0, members, ++tickets);
  REQUIRE(until([&] { return same(3); }));
  commit("c");
  CHECK(until([&] { return same(4); }));
}

TEST_CASE_FIXTURE(
    three_nodes,
    "who kept the state for members that lost their disks before they said that they had it gives "
    "it up when one of them was rescued") {
  commit("a");
  REQUIRE(until([&] { return same(1); }));
  const std::vector<member> next{on(4), on(5), on(6)};
  for (const auto& m : next)
    start(add(m));
  settle().engine->seal(s0, next, ++tickets);
  REQUIRE(until([&] { return at(1).engine->status(s0)->as == replica_status::role::sealed; }));
  cut.insert(node_id{1}); // it does not hear that the others have the state
  commit("b");
  REQUIRE(until([&] { return at(4).rows(s0).size() == 2; }));
  REQUIRE(at(1).rows(s0).size() == 1);
  for (std::uint64_t n = 4; n <= 6; ++n)
    crash(at(n));
  REQUIRE(rescue_durably(at(4)));
  start(at(4));
  start(add(on(5, 501)));
  start(add(on(6, 601)));
  settle();
  cut.clear();
  meet(at(1));
  CHECK(until([&] { return at(1).rows(s0).empty(); }));
  CHECK(at(1).engine->status(s0)->as == replica_status::role::sealed); // and still answers for what has ended
}

TEST_CASE_FIXTURE(
    three_nodes,
    "who kept the state for members of which one had said that it has it learns that only that one is left") {
  commit("a");
  REQUIRE(until([&] { return same(1); }));
  start(add(on(4)));
  settle().engine->seal(s0, {on(4), on(5), on(6)}, ++tickets);
  REQUIRE(until([&] { return at(4).rows(s0).size() == 1; }));
  wait(2500);
  REQUIRE(at(1).rows(s0).size() == 1); // one of three
  cut.insert(node_id{1});
  start(add(on(5)));
  start(add(on(6)));
  commit("b");
  for (std::uint64_t n = 4; n <= 6; ++n)
    crash(at(n));
  REQUIRE(rescue_durably(at(4)));
  start(at(4));
  start(add(on(5, 501)));
  start(add(on(6, 601)));
  settle();
  cut.clear();                                                  // what is said when sessions begin is lost
  CHECK(until([&] { return at(1).rows(s0).empty(); }, 70'000)); // who has confirmed is asked once a minute
}

TEST_CASE_FIXTURE(three_nodes, "what other members are known to have had is shown") {
  commit("a");
  auto& leads = settle();
  REQUIRE(until([&] { return same(1); }));
  const auto before = leads.env.copy();
  for (int i = 0; i < 5; ++i)
    commit("more");
  REQUIRE(until([&] { return same(6); }));
  const auto record = decode_record(*leads.env.begin_read()->get(storage::table::node, record_key(s0))).it;
  REQUIRE(record);
  crash(leads);
  leads.env.put_back(before); // its log lost something, and its record did not
  {
    auto txn = leads.env.begin_write();
    auto older = *decode_record(*txn->get(storage::table::node, record_key(s0))).it;
    older.known = record->known;
    txn->put(storage::table::node, record_key(s0), encode(older));
    REQUIRE(txn->commit() == ec::none);
  }
  const auto seen = look_at(*leads.env.begin_read(), s0, leads.who);
  REQUIRE(seen);
  REQUIRE_FALSE(seen->known_elsewhere.empty());
  CHECK(seen->known_elsewhere.front().position.index > seen->last);
}

TEST_CASE_FIXTURE(three_nodes, "who cannot go on is told why, and nothing is written") {
  commit("a");
  for (std::uint64_t n = 1; n <= 3; ++n)
    crash(at(n));
  auto txn = at(1).env.begin_write();
  CHECK_FALSE(rescue(*txn, s1, at(1).who, "rescued"));                      // no replica of it
  CHECK_FALSE(rescue(*txn, s0, member{node_id{1}, disk_id{7}}, "rescued")); // another disk
  REQUIRE(rescue(*txn, s0, at(1).who, "rescued"));
  CHECK_FALSE(rescue(*txn, s0, at(1).who, "rescued")); // it is alone already
}

// A follower whose log ends with entries of a leader that nobody followed: how its log and the new leader's come together.
#include "cluster/replication/entry_log.hpp"
#include "tests/cluster/replication/replication_fixture.hpp"

using namespace parley;
using namespace parley::test;

namespace {

struct diverged : three_nodes {
  diverged() {
    config.inflight_entries_max = 8; // less than the log is long, as it is in any log that has grown
    build();
  }
  /// Entries that `n` appends, one in each turn; it leads, or believes so.
  void append(test_node& n, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      propose(n, "more");
      step();
    }
  }
  test_node& third(const test_node& a, const test_node& b) {
    for (auto& [id, n] : nodes)
      if (n.get() != &a && n.get() != &b)
        return *n;
    FAIL("no other node");
    return *nodes.begin()->second;
  }
  std::uint64_t last(test_node& n) { return n.engine->status(s0)->last_index; }
  void lose_session(test_node& n) {
    for (auto& [id, other] : nodes)
      if (other->engine && other.get() != &n) {
        other->engine->peer_reset(n.who.node);
        n.engine->peer_reset(id);
      }
  }
};

} // namespace

TEST_CASE_FIXTURE(diverged, "a follower with a long tail of its own is sent the leader's log after a few "
                            "refusals, and not after one for each entry") {
  auto& old = settle();
  commit("before");
  REQUIRE(until([&] { return same(1); }));
  cut.insert(old.who.node);
  lose_session(old);
  append(old, 300);
  REQUIRE(last(old) > 300);
  auto& second = settle();
  append(second, 400);
  REQUIRE(until([&] { return second.engine->status(s0)->applied_index == last(second); }));
  // The next leader begins with the end of its log, and has to find out how far the two logs are the same.
  auto& next = third(old, second);
  REQUIRE(until([&] { return last(next) == last(second); }));
  second.engine->transfer_leadership(s0, next.who.node);
  REQUIRE(until([&] { return leader() == &next; }));
  crash(second); // so that nothing is committed without the old leader
  cut.clear();
  lose_session(old);
  const auto ticket = propose(next, "after");
  // Three heartbeats are enough, and the new leader would have given up after an election time-out.
  CHECK(until([&] { return next.machine->answered.contains(ticket); },
              static_cast<int>(config.election_timeout.count())));
  CHECK(next.engine->status(s0)->as == replica_status::role::leader);
}

TEST_CASE("the last entry of a log that is not of a later term than another one's") {
  cluster::entry_log log;
  log.clear(10);
  for (const std::uint64_t term : {2, 2, 4, 4, 7}) // 10 to 14
    log.append(s0, generation{1}, cluster::entry_kind::commands, term, begin_row());
  CHECK(log.last_within(14, 9) == 14);
  CHECK(log.last_within(99, 9) == 14);
  CHECK(log.last_within(14, 6) == 13);
  CHECK(log.last_within(12, 6) == 12);
  CHECK(log.last_within(14, 3) == 11);
  CHECK(log.last_within(14, 1) == 9); // none of them
  CHECK(log.last_within(9, 1) == 9);
  CHECK(log.last_within(4, 1) == 4);
}

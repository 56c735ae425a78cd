// Disks that fill up: who leads, who is sent what, and what is refused.
#include "tests/cluster/replication/replication_fixture.hpp"

using namespace parley;
using namespace parley::test;

namespace {

constexpr storage::space full{0, false}, roomy{std::uint64_t{1} << 40, true};

struct disks : three_nodes {
  test_node& other_than(const test_node& a, const test_node* b = nullptr) {
    for (auto& [id, n] : nodes)
      if (n.get() != &a && n.get() != b)
        return *n;
    return *nodes.begin()->second;
  }
  void wait(int ms) {
    until([] { return false; }, ms);
  }
  std::uint64_t stored(test_node& n) { return n.engine->status(s0)->last_index; }
  ec outcome_of(test_node& at, std::uint64_t ticket) {
    REQUIRE(until([&] { return at.machine->answered.contains(ticket) || at.refused.contains(ticket); }));
    return at.machine->answered.contains(ticket) ? ec::none : at.refused[ticket];
  }
};

} // namespace

TEST_CASE_FIXTURE(
    disks, "a leader whose disk is full hands over to members with room, and leads nothing while it is") {
  auto& first = settle();
  commit("before");
  first.env.set_room(full); // nothing is written meanwhile: it looks by itself
  REQUIRE(until([&] { return leader() && leader() != &first; }));
  for (int i = 0; i < 10; ++i) {
    commit("meanwhile");
    CHECK(leader() != &first);
    wait(300);
  }
  // The new leader dies, too: the other member with room is elected, although the full one has fewer entries to
  // wait for and as many votes to get.
  auto& second = settle();
  auto& third = other_than(first, &second);
  crash(second);
  REQUIRE(until([&] { return leader() == &third; }));
  start(second);
  first.env.set_room(roomy);
  wait(500); // its results have said so
  commit("after");
  CHECK(until([&] { return same(12); }));
}

TEST_CASE_FIXTURE(disks, "a drain hands leaderships to members with room") {
  auto& first = settle();
  auto& second = other_than(first);
  auto& third = other_than(first, &second);
  second.env.set_room(full);
  wait(300); // its results have said so
  for (int attempt = 0; attempt < 4 && leader() != &third; ++attempt) {
    first.engine->hand_over_all();
    wait(50);
    CHECK(leader() != &second);
  }
  CHECK(until([&] { return leader() == &third; }));
}

TEST_CASE_FIXTURE(
    disks, "a follower without room is sent no entries while the others are a majority, and all of them "
           "once it has room") {
  auto& first = settle();
  auto& second = other_than(first);
  commit("before");
  REQUIRE(until([&] { return same(1); }));
  second.env.set_room(full);
  wait(300);
  const auto before = stored(second);
  for (int i = 0; i < 20; ++i)
    commit("meanwhile");
  wait(1000);
  CHECK(leader() == &first); // it hears the leader, and stays a follower
  CHECK(stored(second) == before);
  second.env.set_room(roomy);
  CHECK(until([&] { return same(21); }));
}

TEST_CASE_FIXTURE(disks, "a follower without room is not sent the state, however far it is behind") {
  config.log_entries_kept = 4;
  config.log_bytes_kept = 1;
  config.log_bytes_needed_max = 2000;
  build();
  auto& first = settle();
  auto& second = other_than(first);
  commit("before");
  REQUIRE(until([&] { return same(1); }));
  second.env.set_room(full);
  wait(300);
  const auto replaced = second.machine->replacements.size();
  for (int i = 0; i < 60; ++i)
    commit(std::string(100, 'x'));
  wait(5000);
  CHECK(second.machine->replacements.size() == replaced);
  CHECK(second.rows(s0).size() == 1);
  second.env.set_room(roomy);
  CHECK(until([&] { return same(61); }, 60'000));
}

TEST_CASE_FIXTURE(disks,
                  "if the members with room are no majority, only what frees room is taken, and it arrives") {
  auto& first = settle();
  auto& second = other_than(first);
  auto& third = other_than(first, &second);
  second.env.set_room(full);
  third.env.set_room(full);
  wait(300);
  CHECK(leader() == &first);
  CHECK(outcome_of(first, propose(first, "more")) == ec::disk_full);
  first.engine->propose(s0, ++tickets, "less", true);
  CHECK(outcome_of(first, tickets) == ec::none);
  CHECK(until([&] { return same(1); }));
  third.env.set_room(roomy);
  wait(300);
  CHECK(outcome_of(first, propose(first, "more")) == ec::none);
}

TEST_CASE_FIXTURE(disks,
                  "if nobody has room, somebody leads all the same, so that what is stored can be read") {
  for (auto& [id, n] : nodes)
    n->env.set_room(full);
  auto& first = settle();
  first.engine->read(s0, ++tickets);
  CHECK(until([&] { return first.read.contains(tickets); }));
  CHECK(outcome_of(first, propose(first, "more")) == ec::disk_full);
}

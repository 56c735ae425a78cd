// Disks that fill up: who leads, who is sent what, and what is refused.
#include "tests/cluster/replication/replication_fixture.hpp"

using namespace parley;
using namespace parley::test;

namespace {

constexpr auto reserve = settings::disk_reserve.standard;
/// Proposals are refused: the reserve is reached, or more than half of it is used up.
constexpr storage::space full{reserve * 3 / 4, false}, fuller{reserve / 4, false};
constexpr storage::space roomy{std::uint64_t{1} << 40, true};

struct disks : three_nodes {
  /// The rows of its state and of what is staged beside it.
  std::size_t state_rows(test_node& n) { return n.env.rows(storage::table::state); }
  bool can_read(test_node& at) {
    at.engine->read(s0, ++tickets);
    return until([&, t = tickets] { return at.read.contains(t) || at.refused.contains(t); }) &&
           at.read.contains(tickets);
  }
  void less(test_node& at) { at.engine->propose(s0, ++tickets, "less", true); }
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

TEST_CASE_FIXTURE(
    disks, "a leader without room keeps what its successor could commit nothing of, and serves reads") {
  auto& first = settle();
  auto& second = other_than(first);
  commit("before");
  second.env.set_room(fuller); // takes no entries any more
  wait(500);                   // its results have said that it has no room
  first.env.set_room(fuller);
  wait(2'000);
  CHECK(leader() == &first);
  CHECK(can_read(first));
  second.env.set_room(roomy);
  REQUIRE(until([&] { return leader() && leader() != &first; }));
  commit("after");
  CHECK(can_read(*leader()));
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

TEST_CASE_FIXTURE(disks, "a member that has been without room for long is not flooded when another one falls "
                         "silent: sends stop, and reads go on") {
  config.full_backlog_bytes_max = 4000;
  build();
  auto& first = settle();
  auto& second = other_than(first);
  auto& third = other_than(first, &second);
  commit("before");
  REQUIRE(until([&] { return same(1); }));
  second.env.set_room(full);
  wait(300);
  const auto before = stored(second);
  for (int i = 0; i < 100; ++i)
    commit(std::string(100, 'x'));
  crash(third);
  wait(3000);
  CHECK(stored(second) == before);
  CHECK(leader() == &first);
  CHECK(can_read(first));
  CHECK(outcome_of(first, propose(first, "more")) == ec::disk_full);
  start(third);
  wait(1000);
  commit("after");
  CHECK(stored(second) == before);
  second.env.set_room(roomy);
  CHECK(until([&] { return same(102); }));
}

TEST_CASE_FIXTURE(disks,
                  "a member without room that lacks little is sent it when it is needed for a majority") {
  config.full_backlog_bytes_max = 4000;
  build({s0, s1});
  auto& first = settle();
  settle(s1).engine->transfer_leadership(s1, first.who.node);
  REQUIRE(until([&] { return leader(s1) == &first; }));
  auto& second = other_than(first);
  auto& third = other_than(first, &second);
  commit("before");
  REQUIRE(until([&] { return same(1); }));
  second.env.set_room(full);
  wait(300);
  for (int i = 0; i < 10; ++i)
    commit(std::string(100, 'x'));
  crash(third);
  less(first);
  CHECK(outcome_of(first, tickets) == ec::none);
  CHECK(stored(second) == stored(first));

  // What it lacks of all shards counts.
  start(third);
  wait(1000);
  for (int i = 0; i < 20; ++i) {
    commit(std::string(100, 'x'));
    commit(std::string(100, 'x'), s1);
  }
  const auto before = stored(second);
  crash(third);
  wait(2000);
  CHECK(stored(second) == before);
}

TEST_CASE_FIXTURE(disks, "below half of its reserve a replica takes no entries, and stays a follower") {
  auto& first = settle();
  auto& second = other_than(first);
  auto& third = other_than(first, &second);
  commit("before");
  REQUIRE(until([&] { return same(1); }));
  crash(third);
  second.env.set_room(fuller);
  wait(300);
  const auto before = stored(second);
  less(first);
  const auto freed = tickets;
  wait(3000);
  CHECK(stored(second) == before);
  CHECK_FALSE(first.machine->answered.contains(freed));
  CHECK(leader() == &first);
  CHECK(can_read(first));
  second.env.set_room(full); // something was freed
  CHECK(outcome_of(first, freed) == ec::none);
  CHECK(stored(second) == stored(first));
}

TEST_CASE_FIXTURE(disks, "the log is not kept for a follower that is held back") {
  config.log_bytes_kept = 2000;
  build();
  auto& first = settle();
  auto& second = other_than(first);
  commit("before");
  second.env.set_room(full);
  wait(300);
  for (int i = 0; i < 100; ++i)
    commit(std::string(100, 'x'));
  wait(100);
  CHECK(first.env.rows(storage::table::log) <= 20);
  second.env.set_room(roomy);
  CHECK(until([&] { return same(101); }, 60'000));
}

TEST_CASE_FIXTURE(disks,
                  "a follower whose disk fills up while it is sent the state ends the transfer, empties "
                  "what is staged, and has the state later") {
  config.snapshot_chunk_bytes = 128;
  config.log_entries_kept = 4;
  config.log_bytes_kept = 1;
  config.log_bytes_needed_max = 2000;
  build();
  auto& first = settle();
  auto& second = other_than(first);
  commit("before");
  REQUIRE(until([&] { return same(1); }));
  crash(second);
  for (int i = 0; i < 200; ++i)
    commit(std::string(100, 'x'));
  start(second);
  REQUIRE(until([&] { return state_rows(second) > 50; }));
  second.env.set_room(full);
  wait(1000);
  CHECK(state_rows(second) == 1);
  const auto written = second.env.commits();
  wait(10'000);
  CHECK(state_rows(second) == 1);
  CHECK(second.env.commits() - written < 100); // it does not begin again and again
  second.env.set_room(roomy);
  CHECK(until([&] { return same(201); }, 120'000));
}

TEST_CASE_FIXTURE(disks, "while one follower is sent the state and the other one has no room, proposals are "
                         "refused at once") {
  config.snapshot_chunk_bytes = 64;
  config.transfer_chunks_max = 1;
  config.log_entries_kept = 4;
  config.log_bytes_kept = 1;
  config.log_bytes_needed_max = 2000;
  build();
  auto& first = settle();
  auto& second = other_than(first);
  auto& third = other_than(first, &second);
  crash(second);
  for (int i = 0; i < 1000; ++i)
    commit(std::string(100, 'x'));
  start(second);
  REQUIRE(until([&] { return state_rows(second) > 50; }));
  third.env.set_room(full);
  wait(300);
  CHECK(outcome_of(first, propose(first, "more")) == ec::disk_full);
  CHECK(state_rows(second) < 1000); // on its way
  third.env.set_room(roomy);
  CHECK(until([&] { return same(1000); }, 60'000));
}

TEST_CASE_FIXTURE(disks, "a state that does not fit on the disk is not tried again and again") {
  config.snapshot_chunk_bytes = 128;
  config.log_entries_kept = 4;
  config.log_bytes_kept = 1;
  config.log_bytes_needed_max = 2000;
  build();
  auto& first = settle();
  auto& second = other_than(first);
  commit("before");
  REQUIRE(until([&] { return same(1); }));
  crash(second);
  for (int i = 0; i < 200; ++i)
    commit(std::string(100, 'x'));
  constexpr storage::space narrow{reserve + 10'000, true};
  second.env.set_room(narrow);
  start(second);
  REQUIRE(until([&] { return state_rows(second) > 50; }));
  second.env.set_room(full); // half of what there was has been staged
  REQUIRE(until([&] { return state_rows(second) == 1; }));
  second.env.set_room(narrow);
  for (int s = 0; s < 20; ++s) {
    wait(1000);
    CHECK(state_rows(second) == 1);
  }
  second.env.set_room(roomy);
  CHECK(until([&] { return same(201); }, 60'000));
}

TEST_CASE_FIXTURE(disks, "a new member whose disk is full waits for its state until it has room") {
  members = {on(1)};
  config.snapshot_chunk_bytes = 128;
  build();
  for (int i = 0; i < 100; ++i)
    commit(std::string(100, 'x'));
  auto& full_before = add(on(2));
  auto& full_meanwhile = add(on(3));
  start(full_before);
  start(full_meanwhile);
  full_before.env.set_room(full);
  at(1).engine->seal(s0, {on(1), on(2), on(3)}, 1000);
  REQUIRE(until([&] { return state_rows(full_meanwhile) > 50; }));
  full_meanwhile.env.set_room(full);
  wait(10'000);
  CHECK(state_rows(full_before) == 0);
  CHECK(state_rows(full_meanwhile) == 0);
  REQUIRE(full_before.engine->status(s0));
  CHECK(full_before.engine->status(s0)->as == replica_status::role::waiting_for_state);
  full_before.env.set_room(roomy);
  full_meanwhile.env.set_room(roomy);
  CHECK(until([&] { return same(100); }, 120'000));
}

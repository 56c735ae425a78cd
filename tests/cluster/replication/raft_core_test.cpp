#include "cluster/replication/raft_core.h"

#include <doctest/doctest.h>

#include <array>
#include <memory>
#include <random>
#include <vector>

namespace {

struct core_deleter {
  void operator()(raft_core* core) const { raft_core_destroy(core); }
};
using core_ptr = std::unique_ptr<raft_core, core_deleter>;

constexpr std::array<std::uint64_t, 3> members{1, 2, 3};
constexpr std::uint64_t term = 5;

/// A follower at index 1 that has heard from its leader, which is member 2.
core_ptr make_follower() {
  raft_core_settings s{};
  s.self = 1;
  s.members = members.data();
  s.members_n = members.size();
  s.seed = 7;
  s.election_ms = 1000;
  s.heartbeat_ms = 100;
  s.install_ms = 1000;
  s.inflight_entries_max = 100;
  core_ptr core{raft_core_create(&s)};
  raft_core_update u{};
  REQUIRE(raft_core_start(core.get(), 1, term, 0, 1, 1, 2, nullptr, 0, &u) == 0);
  raft_core_message heartbeat{};
  heartbeat.type = RAFT_CORE_APPEND;
  heartbeat.peer = 2;
  heartbeat.term = term;
  heartbeat.log_index = 1;
  heartbeat.log_term = 1;
  REQUIRE(raft_core_receive(core.get(), 2, &heartbeat, nullptr, 0, &u) == 0);
  REQUIRE(raft_core_leader(core.get()) == 2);
  return core;
}

} // namespace

TEST_CASE("a follower takes no term from a late answer to its pre-vote, wherever its memory lies") {
  // What decided it was the lowest byte of an address, so there are many followers at different ones.
  std::vector<core_ptr> cores;
  std::vector<std::unique_ptr<char[]>> between;
  std::mt19937 chance{1};
  int terms_taken = 0;
  for (std::size_t i = 0; i < 1'000; ++i) {
    between.push_back(std::make_unique<char[]>(1 + chance() % 256));
    cores.push_back(make_follower());
    raft_core_message late{};
    late.type = RAFT_CORE_VOTE_RESULT;
    late.peer = 3;
    late.term = term + 1; // what the peer was asked about, not where it is
    late.pre_vote = 1;
    raft_core_update u{};
    REQUIRE(raft_core_receive(cores.back().get(), 3, &late, nullptr, 0, &u) == 0);
    terms_taken += raft_core_term(cores.back().get()) != term || u.persist_term != 0;
    CHECK(u.messages_n == 0);
  }
  CHECK(terms_taken == 0);
}

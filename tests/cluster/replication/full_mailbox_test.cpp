// A node receives more than its store may have waiting: entries and rows are left out, and are sent again.
#include "cluster/replication/peer_frames.hpp"
#include "tests/cluster/replication/replication_fixture.hpp"

using namespace parley;
using namespace parley::test;

namespace {

struct full_mailbox : three_nodes {
  test_node& follower() {
    for (auto& [id, n] : nodes)
      if (n.get() != &settle())
        return *n;
    return settle();
  }
  /// Of what waits for the node only what is small is kept.
  void leave_out(const test_node& n) {
    for (auto& [ends, wire] : wires)
      if (ends.second == n.who.node)
        for (auto& bytes : wire)
          bytes = without_bulk(bytes);
  }
};

} // namespace

TEST_CASE_FIXTURE(full_mailbox,
                  "entries that were left out while a disk hung are sent again when it goes on") {
  commit("before");
  REQUIRE(until([&] { return same(1); }));
  auto& hung = follower();
  hung.hangs = true;
  for (int i = 0; i < 20; ++i) {
    commit(std::string(1'000, static_cast<char>('a' + i)));
    leave_out(hung);
  }
  CHECK(hung.rows(s0).size() == 1);
  hung.hangs = false;
  CHECK(until([&] { return same(21); }));
}

TEST_CASE_FIXTURE(full_mailbox, "rows of a state that were left out are sent again, with the whole state") {
  config.log_entries_kept = 4;
  config.log_bytes_kept = 1;
  config.log_bytes_needed_max = 2'000;
  config.snapshot_chunk_bytes = 1'024;
  build();
  commit("before");
  REQUIRE(until([&] { return same(1); }));
  auto& late = follower();
  cut.insert(late.who.node);
  for (auto& [id, n] : nodes)
    if (n.get() != &late)
      n->engine->peer_reset(late.who.node);
  for (int i = 0; i < 60; ++i)
    commit(std::string(400, 'x'));
  cut.clear();
  for (int ms = 0; ms < 6'000; ++ms) { // its state is sent, and nothing of it arrives
    step();
    leave_out(late);
  }
  CHECK(late.rows(s0).size() == 1);
  CHECK(until([&] { return same(61); }, 60'000));
}

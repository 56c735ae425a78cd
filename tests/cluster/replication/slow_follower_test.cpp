// What a leader sends to followers that are dead, that hang, or that are far behind.
#include "cluster/replication/peer_bodies.hpp"
#include "cluster/replication/peer_frames.hpp"
#include "tests/cluster/replication/replication_fixture.hpp"

using namespace parley;
using namespace parley::test;

namespace {

struct lagging : three_nodes {
  lagging() {
    config.frame_bytes_max = 4096;
    config.snapshot_chunk_bytes = 1024;
    config.link_bytes_max = 16 << 10;
    config.flight_bytes_max = 8 << 10;
    config.log_entries_kept = 100'000;
    config.log_bytes_kept = 64 << 20;
    config.log_cache_bytes = 0; // followers are sent rows from the disk
    build();
  }
  /// The most bytes that `n` built for `to` within a millisecond, in so many of them.
  std::size_t most_built(const test_node& n, node_id to, int ms) {
    std::size_t most = 0;
    for (int i = 0; i < ms; ++i) {
      auto& bytes = built[{n.who.node, to}];
      const auto before = bytes;
      step();
      most = std::max(most, bytes - before);
    }
    return most;
  }
  test_node& follower_of(const test_node& leader) { return other_than(leader); }
  void write(std::size_t commands, std::size_t bytes) {
    for (std::size_t i = 0; i < commands; ++i)
      commit(std::to_string(i) + std::string(bytes, 'x'));
  }
};

} // namespace

TEST_CASE_FIXTURE(lagging,
                  "hardly anything is built for a peer without a session, however far it is behind") {
  auto& dead = follower_of(settle());
  write(3, 10);
  crash(dead);
  write(200, 1000);
  auto& leader = settle();
  CHECK(most_built(leader, dead.who.node, 3000) <= 256);
}

TEST_CASE_FIXTURE(lagging, "a peer whose node hangs is sent a bounded part of the log, once") {
  auto& hung = follower_of(settle());
  write(3, 10);
  hung.hangs = true; // its link receives, and its store does not
  write(200, 1000);
  auto& leader = settle();
  until([] { return false; }, 3000);
  std::size_t bytes = 0;
  for (const auto& f : wires[{leader.who.node, hung.who.node}])
    if (f.size() > 1000)
      bytes += f.size();
  CHECK(bytes <= config.flight_bytes_max + 2 * config.frame_bytes_max);
  hung.hangs = false;
  CHECK(until([&] { return same(203); }, 5000));
}

TEST_CASE_FIXTURE(lagging,
                  "a peer whose node hangs is sent no more of the log because the log is trimmed meanwhile") {
  config.log_entries_kept = 20;
  config.log_bytes_needed_max = 0;
  build();
  auto& hung = follower_of(settle());
  write(3, 10);
  hung.hangs = true;
  for (int i = 0; i < 20; ++i) { // over many heartbeats
    write(20, 1000);
    until([] { return false; }, 200);
  }
  std::size_t bytes = 0;
  for (const auto& f : wires[{settle().who.node, hung.who.node}])
    if (f.size() > 1000)
      bytes += f.size();
  CHECK(bytes <= config.flight_bytes_max + 2 * config.frame_bytes_max);
  hung.hangs = false;
  CHECK(until([&] { return same(403); }, 10'000));
}

TEST_CASE_FIXTURE(lagging, "a new leader tells of a member that is away without waiting for it") {
  auto& first = settle();
  auto& second = other_than(first);
  auto& away = other_than(first, &second);
  cut.insert(away.who.node);
  first.engine->transfer_leadership(s0, second.who.node);
  REQUIRE(until([&] { return leader() == &second; }, 100));
  CHECK(until(
      [&] {
        const auto silent = second.engine->silent_members();
        return silent.size() == 1 && silent[0].who == away.who;
      },
      50));
}

TEST_CASE_FIXTURE(lagging,
                  "a leader tells of a follower that answers how far it is behind, until it has caught up") {
  auto& away = follower_of(settle());
  write(3, 10);
  auto& first = settle();
  REQUIRE(until([&] { return same(3) && first.engine->lagging_members().empty(); }, 3000));
  crash(away);
  write(300, 1000);
  auto& leader = settle();
  REQUIRE(until([&] { return leader.engine->silent_members().size() == 1; }, 3000));
  CHECK(until([&] { return leader.engine->lagging_members().empty(); }, 3000)); // what it lacks is not known
  start(away);
  const auto behind = [&]() -> std::uint64_t {
    for (const auto& m : leader.engine->lagging_members())
      if (m.who.node == away.who.node && m.shard == s0)
        return m.behind;
    return 0;
  };
  CHECK(until([&] { return behind() > 100; }, 3000));
  CHECK(leader.engine->silent_members().empty());
  CHECK(until([&] { return same(303) && behind() == 0; }, 3000));
}

TEST_CASE_FIXTURE(lagging,
                  "a follower that is many times the link's credit behind catches up, within the credit") {
  auto& away = follower_of(settle());
  write(3, 10);
  crash(away);
  write(300, 1000);
  start(away);
  std::size_t most = 0;
  const auto caught_up = [&] {
    for (const auto& [ends, wire] : wires) {
      std::size_t bytes = 0;
      for (const auto& f : wire)
        bytes += f.size();
      most = std::max(most, bytes);
    }
    return same(303);
  };
  CHECK(until(caught_up, 3000));
  CHECK(most <= config.link_bytes_max + 2 * config.frame_bytes_max);
}

TEST_CASE_FIXTURE(lagging, "shards that share a link without credit are served in turn") {
  std::vector<shard_id> shards;
  for (std::uint16_t s = 0; s < 6; ++s)
    shards.push_back(shard_id{s});
  config.link_bytes_max = 4096; // one frame at a time
  build(shards);
  for (auto s : shards)
    settle(s);
  auto& away = at(3);
  crash(away);
  constexpr std::size_t count = 200;
  for (auto s : shards) {
    REQUIRE(until([&] { return leader(s) != nullptr; }));
    if (leader(s) != &at(1))
      at(2).engine->transfer_leadership(s, node_id{1});
    REQUIRE(until([&] { return leader(s) == &at(1); }));
    for (std::size_t i = 0; i < count; ++i)
      commit(std::to_string(i) + std::string(1000, 'x'), s);
  }
  start(away);
  std::size_t least = 0;
  const auto one_is_done = [&] {
    least = count;
    std::size_t most = 0;
    for (auto s : shards) {
      least = std::min(least, away.rows(s).size());
      most = std::max(most, away.rows(s).size());
    }
    return most == count;
  };
  CHECK(until(one_is_done, 10'000));
  CHECK(least >= count / 2);
}

TEST_CASE_FIXTURE(lagging, "entries that a follower lost on the way are sent again without a new session") {
  auto& leader = settle();
  write(3, 10);
  propose(leader, "lost");
  step();
  wires[{leader.who.node, follower_of(leader).who.node}].clear();
  CHECK(until([&] { return same(4); }, 2000));
}

TEST_CASE_FIXTURE(lagging, "a follower whose place in the log is trimmed meanwhile is sent the state") {
  config.log_entries_kept = 20;
  config.log_bytes_needed_max = 0;
  build();
  auto& hung = follower_of(settle());
  write(3, 10);
  hung.hangs = true;
  write(200, 1000);
  hung.hangs = false;
  CHECK(until([&] { return same(203); }, 10'000));
  CHECK(hung.machine->replacements.contains(s0));
}

TEST_CASE_FIXTURE(lagging,
                  "while a follower is sent the state, the log behind it stays: one transfer is enough") {
  config.log_entries_kept = 20;
  build();
  auto& away = follower_of(settle());
  write(3, 10);
  crash(away);
  write(300, 1000);
  until([] { return false; }, 3000); // it is not waited for any more,
  write(30, 10);                     // and the log is trimmed
  auto& leader = settle();
  start(away);
  std::size_t written = 0;
  bool level = false;
  for (int ms = 0; ms < 8000 && !level; ++ms) {
    if (ms % 2 == 0) {
      propose(leader, std::to_string(written++) + std::string(300, 'y'));
    }
    step();
    level = away.machine->replacements.contains(s0) && away.rows(s0).size() + 30 > leader.rows(s0).size();
  }
  CHECK(level);
  CHECK(away.machine->replacements.count(s0) == 1);
}

TEST_CASE_FIXTURE(lagging, "a follower that is alive and slow keeps the log that it needs, up to a bound") {
  config.log_entries_kept = 20;
  config.log_bytes_needed_max = 60'000;
  config.flight_bytes_max = 1024; // an entry at a time
  build();
  auto& leader = settle();
  auto& slow = follower_of(leader);
  write(3, 10);
  for (int i = 0; i < 60; ++i) { // it is heard, and falls behind
    propose(leader, std::to_string(i) + std::string(1000, 'y'));
    slow.hangs = i % 4 != 0;
    step();
  }
  slow.hangs = false;
  CHECK(until([&] { return same(63); }, 4000));
  CHECK_FALSE(slow.machine->replacements.contains(s0));
}

TEST_CASE_FIXTURE(lagging, "a transfer of state that makes progress goes on, however long it takes") {
  config.log_entries_kept = 20;
  config.transfer_time_max = milliseconds{200};
  config.transfer_chunks_min = 1;
  build();
  auto& away = follower_of(settle());
  write(3, 10);
  crash(away);
  write(300, 1000);
  until([] { return false; }, 3000);
  write(30, 10); // the log is trimmed
  settle();
  start(away);
  bool level = false; // at about two chunks every 100 ms
  for (int ms = 0; ms < 60'000 && !level; ++ms) {
    away.hangs = ms % 100 >= 5;
    step();
    level = away.machine->replacements.contains(s0);
  }
  CHECK(level);
  away.hangs = false;
  CHECK(until([&] { return same(333); }));
}

TEST_CASE_FIXTURE(lagging, "a transfer of state to a receiver that hardly takes any of it is given up") {
  config.log_entries_kept = 20;
  config.transfer_time_max = milliseconds{500};
  config.transfer_chunks_min = 1000;
  build();
  auto& away = follower_of(settle());
  write(3, 10);
  crash(away);
  write(300, 1000);
  until([] { return false; }, 3000);
  write(30, 10);
  settle();
  start(away);
  std::set<std::uint64_t> begun;
  for (int ms = 0; ms < 10'000; ++ms) {
    away.hangs = ms % 100 >= 5;
    step();
    for (const auto& [ends, wire] : wires)
      for (const auto& bytes : wire)
        for (auto [frame, m] = std::pair{frame_reader{bytes}, message_view{}}; frame.next(m);)
          if (m.header.type == message_type::transfer_begin)
            begun.insert(get_body<transfer_begin_body>(m.body)->id);
  }
  CHECK(begun.size() >= 2);
}

TEST_CASE_FIXTURE(lagging, "a follower that dies right after it was sent the state keeps no log") {
  config.log_entries_kept = 20;
  config.snapshot_retry_after = milliseconds{60'000}; // the end of another try would let the log go as well
  build();
  auto& away = follower_of(settle());
  write(3, 10);
  crash(away);
  write(100, 1000);
  until([] { return false; }, 3000);
  write(30, 10);
  auto& leader = settle();
  start(away);
  REQUIRE(until([&] { return away.machine->replacements.contains(s0); }));
  // The leader learns that the transfer has ended, and never how far the follower is.
  for (auto& bytes : wires[{away.who.node, leader.who.node}]) {
    frame_batcher kept{1 << 20};
    frame_reader frame{bytes};
    for (message_view m; frame.next(m);)
      if (m.header.type == message_type::transfer_ack) {
        kept.start(leader.who.node, frame_batcher::leaves::early, m.header).append(m.body);
        kept.finish();
      }
    std::vector<cluster::frame> left;
    kept.take(frame_batcher::leaves::early, left);
    bytes = left.empty() ? std::string{} : left.front().bytes;
  }
  auto to_leader = wires[{away.who.node, leader.who.node}];
  std::erase(to_leader, std::string{});
  REQUIRE(!to_leader.empty());
  away.engine.reset();
  away.env.crash();
  for (const auto& bytes : to_leader)
    leader.engine->receive(away.who.node, bytes, mono_ms{now});
  for (auto& [id, other] : nodes)
    if (other->engine)
      other->engine->peer_reset(away.who.node);
  wires.clear();
  write(200, 100);
  until([] { return false; }, 3000);
  write(30, 10);
  CHECK(leader.env.rows(storage::table::log) <= 2 * config.log_entries_kept);
}

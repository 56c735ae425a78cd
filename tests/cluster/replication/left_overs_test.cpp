// Rows that no longer count and wait to be erased: how many go at once, and that none is read again.
#include "tests/cluster/replication/replication_fixture.hpp"

namespace parley::test {
namespace {

std::size_t rows_of_log(test_node& n) {
  std::size_t rows = 0;
  n.env.begin_read()->ascend(storage::table::log, {}, {}, [&](std::string_view, std::string_view) {
    ++rows;
    return storage::scan::more;
  });
  return rows;
}

} // namespace

TEST_CASE_FIXTURE(test_cluster,
                  "a turn erases a bounded number of rows, whatever number of shards have left-overs") {
  config.log_entries_kept = 4;
  config.trim_rows_max = 8;
  std::vector<shard_id> shards;
  for (std::uint16_t s = 0; s < 8; ++s)
    shards.push_back(shard_id{s});
  auto& n = add(on(1));
  start(n, {on(1)}, shards);
  for (const auto s : shards)
    settle(s);
  // One turn stores forty entries of each shard. The turns after it have nothing to do but to trim the logs.
  for (int i = 0; i < 40; ++i)
    for (const auto s : shards)
      propose(n, std::string(config.entry_bytes_max / 2 + 1, 'x'), s);
  step();
  auto before = rows_of_log(n);
  REQUIRE(before >= 40 * shards.size());
  std::size_t most = 0;
  for (int i = 0; i < 200; ++i) {
    step();
    const auto now_there = rows_of_log(n);
    if (now_there < before)
      most = std::max(most, before - now_there);
    before = now_there;
  }
  CHECK(most <= config.trim_rows_max);
  CHECK(before <= 5 * shards.size());
}

TEST_CASE_FIXTURE(
    three_nodes,
    "entries of a log that a state replaced are gone with it, or a crash would bring them back") {
  config.log_entries_kept = 4;
  config.trim_rows_max = 1;
  build();
  auto& old = settle();
  commit("first");
  REQUIRE(until([&] { return same(1); }));
  cut.insert(old.who.node); // its entries from here on are stored by nobody else
  for (int i = 0; i < 90; ++i) {
    propose(old, std::string(config.entry_bytes_max / 2 + 1, 'o'));
    step();
  }
  auto written = 1;
  for (; written < 40; ++written) {
    commit("entry " + std::to_string(written));
    step();
  }
  cut.clear();
  REQUIRE(until([&] { return old.machine->replacements.contains(s0); }));
  crash(old);
  start(old);
  commit("after the crash");
  CHECK(until([&] { return same(static_cast<std::size_t>(written) + 1); }));
  CHECK(old.halts.empty());
}

} // namespace parley::test

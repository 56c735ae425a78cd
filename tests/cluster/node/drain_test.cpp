// SIGTERM to a real node that people are connected to.
#include "storage/journal.hpp"
#include "storage/journal_rows.hpp"
#include "storage/lmdb_environment.hpp"
#include "tests/e2e/people.hpp"

#include <doctest/doctest.h>

#include <fstream>
#include <set>

using namespace parley;
using namespace parley::test;

namespace {

std::string last_line_with(const std::string& file, const std::string& word) {
  std::ifstream in{file};
  std::string found;
  for (std::string line; std::getline(in, line);)
    if (line.find(word) != std::string::npos)
      found = line;
  return found;
}

/// How many records the journal of a stopped node holds that its tables do not contain; the tables are opened as they are.
std::uint64_t records_left(const std::string& data) {
  const auto named = storage::journal::checkpoint_in(data);
  REQUIRE(named.has_value());
  REQUIRE_FALSE(named->has_value());
  auto tables = storage::lmdb_environment::open(data, {});
  REQUIRE(tables.has_value());
  const auto txn = (*tables)->begin_read();
  const auto mark = storage::decode_mark(txn->get(storage::table::node, storage::mark_key).value_or(""));
  REQUIRE(mark);
  const auto file = storage::journal::open(data, 0);
  REQUIRE(file.has_value());
  const auto last = file->read(mark->salt, {mark->sequence, storage::journal::words_bytes},
                               [](std::string_view) { return storage::record_fault::none; });
  REQUIRE(last.has_value());
  return *last - mark->sequence;
}

process_cluster_config spread_over(const char* time) {
  process_cluster_config c;
  c.flags = {"--drain-spread", time, "--drain-deadline", "10s"};
  return c;
}

} // namespace

TEST_CASE("a node that is told to stop hands its leaderships over, sends its clients away at different "
          "times, leaves nothing in its journal, and exits with 0") {
  constexpr auto spread = 3'000ms;
  town t{spread_over("3s")};
  t.settings.first_seed = 1;
  std::vector<std::unique_ptr<person>> people;
  for (std::size_t i = 1; i <= 8; ++i)
    people.push_back(std::make_unique<person>(t, i));
  for (const auto& p : people)
    REQUIRE(p->device->state().node == node_id{2});
  const auto c = people[0]->chat_with(*people[1]);
  REQUIRE(people[0]->device->post(c, "before"));
  REQUIRE(t.until(10s, [&] { return !people[1]->heard.empty(); }));

  CHECK(!t.cluster.terminate(2, 0ms)); // the signal alone: its clients have to be heard meanwhile
  std::vector<std::chrono::milliseconds> told(people.size(), -1ms);
  CHECK(t.until(15s, [&] {
    for (std::size_t i = 0; i < people.size(); ++i)
      if (const auto& s = people[i]->device->state();
          s.state == client::link_state::offline && s.why == ec::draining)
        told[i] = s.next_try;
    return !t.cluster.running(2);
  }));
  CHECK(t.cluster.terminate(2, 0ms) == 0); // has ended: its status
  CHECK(records_left(t.cluster.directory() + "/data/2") == 0);
  const auto drained = last_line_with(t.cluster.log(2), "drained");
  CHECK_MESSAGE(drained.find("clients=0 leaderships=0") != std::string::npos, drained);

  std::set<std::chrono::milliseconds> waits;
  for (const auto w : told) // one who is to come back at once may have been missed
    if (w >= 0ms) {
      CHECK(w <= spread);
      waits.insert(w);
    }
  CHECK(waits.size() >= people.size() / 2);

  REQUIRE(people[0]->device->post(c, "after"));
  CHECK(t.until(15s, [&] {
    return std::all_of(people.begin(), people.end(), [](const auto& p) {
      const auto& s = p->device->state();
      return s.state == client::link_state::online && s.node != node_id{2};
    });
  }));
  CHECK(t.until(10s, [&] { return people[1]->heard == std::vector<std::string>{"before", "after"}; }));
}

TEST_CASE("nodes that are all told to stop do not wait for each other, and none advises to wait longer") {
  town t{spread_over("0ms")};
  for (std::size_t node = 1; node <= 3; ++node)
    CHECK(!t.cluster.terminate(node, 0ms)); // the signal alone
  CHECK(
      t.until(30s, [&] { return !t.cluster.running(1) && !t.cluster.running(2) && !t.cluster.running(3); }));
  for (std::size_t node = 1; node <= 3; ++node) {
    CHECK(t.cluster.terminate(node, 0ms) == 0); // has ended: its status
    CHECK(last_line_with(t.cluster.log(node), "drain-incomplete") == "");
  }
}

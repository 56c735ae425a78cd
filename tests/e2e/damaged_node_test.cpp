// A byte of a row flips on the disk of one node: others answer, and the node heals by itself.
#include "tests/e2e/people.hpp"

#include <doctest/doctest.h>

#include <lmdb.h>

#include <fstream>
#include <string>
#include <vector>

using namespace parley;
using namespace parley::test;

namespace {

process_cluster_config one_shard(std::vector<std::string> more = {}) {
  process_cluster_config c;
  c.flags = {"--shards", "1", "--drain-spread", "100ms", "--drain-deadline", "5s"};
  c.flags.insert(c.flags.end(), more.begin(), more.end());
  return c;
}

/// Flips a bit of each message of a conversation that holds `text`, beneath the checksums of the store. The node does not
/// run. Returns how many there were.
int flip_messages(const std::string& data, std::string_view text) {
  MDB_env* env = nullptr;
  MDB_txn* txn = nullptr;
  MDB_dbi state = 0;
  MDB_cursor* rows = nullptr;
  REQUIRE(mdb_env_create(&env) == 0);
  mdb_env_set_maxdbs(env, 8);
  mdb_env_set_mapsize(env, std::size_t{1} << 30);
  REQUIRE(mdb_env_open(env, (data + "/store.mdb").c_str(), MDB_NOSUBDIR, 0600) == 0);
  REQUIRE(mdb_txn_begin(env, nullptr, 0, &txn) == 0);
  REQUIRE(mdb_dbi_open(txn, "state", 0, &state) == 0);
  REQUIRE(mdb_cursor_open(txn, state, &rows) == 0);
  int flipped = 0;
  MDB_val key{}, value{};
  for (auto rc = mdb_cursor_get(rows, &key, &value, MDB_FIRST); rc == 0;
       rc = mdb_cursor_get(rows, &key, &value, MDB_NEXT)) {
    constexpr std::size_t kind_at = 3; // behind shard and slot
    if (key.mv_size <= kind_at || static_cast<const char*>(key.mv_data)[kind_at] != 'm')
      continue;
    std::string bytes{static_cast<const char*>(value.mv_data), value.mv_size};
    const auto at = bytes.find(text);
    if (at == std::string::npos)
      continue;
    bytes[at] = static_cast<char>(bytes[at] ^ 0x04);
    MDB_val changed{bytes.size(), bytes.data()};
    REQUIRE(mdb_cursor_put(rows, &key, &changed, MDB_CURRENT) == 0);
    ++flipped;
  }
  mdb_cursor_close(rows);
  REQUIRE(mdb_txn_commit(txn) == 0);
  mdb_env_close(env);
  return flipped;
}

struct damaged_town : town {
  using town::town;
  /// How often a replica of the node got the rows of its leader.
  std::size_t mended(std::size_t node) const {
    return lines_with(cluster.log(node), "the rows of this replica are those of its leader now");
  }
  void write(person& from, conversation_id c, std::vector<std::string> bodies) {
    for (const auto& b : bodies)
      REQUIRE(from.device->post(c, b));
    REQUIRE(until(60s, [&] { return from.device->unsettled() == 0; }));
  }
  bool all_whole() {
    for (std::size_t n = 1; n <= cluster.size(); ++n)
      if (!cluster.whole(n))
        return false;
    return true;
  }
  /// Whether all rows of the node match their checksums. Ends it, and starts it again.
  bool dumps_whole(std::size_t node) {
    REQUIRE(cluster.terminate(node, 20s) == 0);
    const bool whole = cluster.dump(node, cluster.directory() + "/dump");
    cluster.start(node);
    return whole;
  }
  /// The conversation, as soon as the cluster gives it.
  std::vector<std::string> read(person& as, conversation_id c) {
    std::vector<std::string> out;
    REQUIRE(until(60s, [&] {
      try {
        out = as.bodies(c);
        return true;
      } catch (const cluster_error&) {
        return false; // "try again"
      }
    }));
    return out;
  }
};

const std::vector<std::string> said{"first", "the row that rots", "last"};

} // namespace

TEST_CASE("a leader with a damaged row answers nobody wrongly, lets another lead, and heals") {
  damaged_town t{one_shard()};
  person alice{t, 1}, bob{t, 2};
  const auto c = alice.chat_with(bob);
  t.write(alice, c, said);
  REQUIRE(t.until(60s, [&] { return t.all_whole(); }));
  REQUIRE(t.cluster.terminate(3, 20s) == 0);
  REQUIRE(flip_messages(t.cluster.data(3), "the row that rots") == 1);
  CHECK_FALSE(t.cluster.dump(3, t.cluster.directory() + "/dump"));
  t.cluster.start(3);
  REQUIRE(t.until(60s, [&] { return t.all_whole(); })); // nobody has read the row

  for (int i = 0; i < 30 && t.cluster.leads(3) == 0; ++i)
    for (const std::size_t n : {1, 2})
      if (t.cluster.leads(n) != 0) { // one of the others is elected, by chance
        t.cluster.kill(n);
        REQUIRE(t.until(60s, [&] { return t.cluster.leads(3 - n) + t.cluster.leads(3) != 0; }));
        t.cluster.start(n);
        REQUIRE(t.until(60s, [&] { return t.all_whole(); }));
      }
  REQUIRE(t.cluster.leads(3) == 1);
  CHECK(t.read(bob, c) == said);
  CHECK(t.until(60s, [&] { return t.mended(3) == 1; }));
  CHECK(lines_with(t.cluster.log(3), "replica-damaged") == 1);
  CHECK(t.until(60s, [&] { return t.all_whole(); }));
  CHECK(t.dumps_whole(3));
  t.write(alice, c, {"and on"});
  CHECK(t.read(bob, c).size() == said.size() + 1);
}

TEST_CASE("damage that nobody reads is found, and healed at the latest when the others are a majority") {
  damaged_town t{one_shard({"--timing-row-check", "1s"})};
  person alice{t, 1}, bob{t, 2};
  const auto c = alice.chat_with(bob);
  t.write(alice, c, said);
  REQUIRE(t.until(60s, [&] { return t.all_whole(); }));
  REQUIRE(t.cluster.terminate(3, 20s) == 0);
  REQUIRE(flip_messages(t.cluster.data(3), "the row that rots") == 1);
  t.cluster.kill(1);
  t.cluster.start(3);
  // A leader that was elected a moment ago takes all for alive, so a small state may be there before node 1 is.
  REQUIRE(t.until(60s, [&] { return lines_with(t.cluster.log(3), "replica-damaged") == 1; }));
  CHECK(t.cluster.page(3, "/wholez").starts_with("503 "));
  CHECK(t.until(60s, [&] { return t.cluster.ready(2) && t.cluster.ready(3); }));
  t.write(alice, c, {"with two of three"}); // the damaged one counts: its log is good

  t.cluster.start(1);
  CHECK(t.until(60s, [&] { return t.all_whole(); }));
  CHECK(t.mended(3) == 1);
  CHECK(t.cluster.ready(3));
  CHECK(t.dumps_whole(3));
  CHECK(t.read(bob, c).size() == said.size() + 1);
}

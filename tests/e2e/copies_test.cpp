// A node's data directory is replaced by an older copy of itself, or a copy of it runs beside it.
#include "tests/e2e/people.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

using namespace parley;
using namespace parley::test;

namespace {

process_cluster_config few_shards() {
  process_cluster_config c;
  c.flags = {"--shards", "4", "--drain-spread", "100ms", "--drain-deadline", "2s"};
  return c;
}

struct chat {
  town& t;
  person& from;
  conversation_id where;
  std::vector<std::string> written;

  /// Returns when all are acknowledged.
  void write(const std::string& what, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      written.push_back(what + " " + std::to_string(i));
      REQUIRE(from.device->post(where, written.back()));
    }
    REQUIRE(t.until(60s, [&] { return from.device->unsettled() == 0; }));
  }
};

bool says_fenced(const std::string& page) {
  return page.starts_with("503 ") && page.find("fenced") != std::string::npos;
}
bool is_fenced(town& t, std::size_t node) {
  return says_fenced(t.cluster.page(node, "/readyz"));
}

/// Whether the node has all replicas that it should have.
bool is_whole(town& t, std::size_t node) {
  const auto text = t.cluster.get(node, "/metrics").value_or("");
  double sum = 0;
  for (const auto* role : {"leader", "follower"}) {
    const auto line = std::string{"parley_replicas{role=\""} + role + "\"} ";
    if (const auto i = text.find(line); i != std::string::npos)
      sum += std::strtod(text.c_str() + i + line.size(), nullptr);
  }
  return sum == 4;
}

/// Whether all replicas get to have the same.
bool all_applied_the_same(town& t) {
  const auto applied = [&](std::size_t node) {
    std::string lines;
    std::istringstream page{t.cluster.get(node, "/metrics").value_or("")};
    for (std::string line; std::getline(page, line);)
      if (line.starts_with("parley_shard_applied_total{"))
        lines += line + "\n";
    return lines;
  };
  return t.until(20s,
                 [&] { return !applied(1).empty() && applied(1) == applied(2) && applied(1) == applied(3); });
}

/// All nodes are down. The disks of the others are lost, and node 1 goes on with what it has.
void rescue_all_with_node_1(town& t) {
  t.cluster.wipe(2);
  t.cluster.wipe(3);
  for (int shard = 0; shard < 4; ++shard) {
    const auto n = std::to_string(shard);
    const auto command = "echo rescue shard " + n + " | " + program_folder() + "/parleyd --rescue-shard " +
                         n + " --data-dir " + t.cluster.data(1) + " >> " + t.cluster.log(1);
    REQUIRE(std::system(command.c_str()) == 0);
  }
  for (std::size_t n = 1; n <= 3; ++n)
    t.cluster.start(n);
}

std::size_t asides(town& t, std::size_t node) {
  std::size_t n = 0;
  for (const auto& e : std::filesystem::directory_iterator{t.cluster.directory() + "/data"})
    n += e.path().filename().string().starts_with(std::to_string(node) + ".aside-");
  return n;
}

} // namespace

TEST_CASE("an older copy of a directory is not taken for the node, and nothing acknowledged is lost") {
  town t{few_shards()};
  person alice{t, 1}, bob{t, 2};
  chat c{t, alice, alice.chat_with(bob), {}};
  c.write("all three", 20);
  REQUIRE(t.cluster.terminate(3, 15s) == 0);
  t.cluster.copy_data(3, "older");
  t.cluster.start(3);
  REQUIRE(t.cluster.wait_ready(30s));
  REQUIRE(t.cluster.terminate(1, 15s) == 0);
  c.write("two and three", 100);
  REQUIRE(t.cluster.terminate(3, 15s) == 0);
  t.cluster.put_back(3, "older");
  REQUIRE(t.cluster.terminate(2, 15s) == 0);

  // Node 1 was away while the hundred were written: with the older copy it is a majority that has none of them.
  t.cluster.start(1);
  t.cluster.start(3);
  CHECK(t.until(30s, [&] { return is_fenced(t, 3); }));
  CHECK_FALSE(t.cluster.ready(1));

  t.cluster.start(2); // which has them all
  CHECK(t.until(30s, [&] { return t.cluster.ready(1) && t.cluster.ready(2); }));
  CHECK(bob.bodies(c.where) == c.written);
  c.write("one and two", 10);
  CHECK(bob.bodies(c.where) == c.written);
  CHECK(lines_with(t.cluster.log(1), "copy-refused") == 1); // and not one line with each attempt

  // The others have everything, so the directory is set aside, and the node is filled as a new disk.
  REQUIRE(t.until(60s, [&] { return t.cluster.ready(3) && is_whole(t, 3); }));
  CHECK(lines_with(t.cluster.log(3), "set-aside") == 1);
  CHECK(asides(t, 3) == 1);
  t.cluster.kill(1);
  c.write("two and three again", 10);
  CHECK(bob.bodies(c.where) == c.written);
}

TEST_CASE("a copy that runs beside its node is fenced, and the node goes on as if it were not there") {
  town t{few_shards()};
  person alice{t, 1}, bob{t, 2};
  chat c{t, alice, alice.chat_with(bob), {}};
  c.write("before", 20);
  t.cluster.copy_data(3, "beside"); // of a directory in use
  t.cluster.start_beside(3, "beside");
  REQUIRE(t.until(30s, [&] { return says_fenced(t.cluster.page_beside("/readyz")); }));
  CHECK(t.cluster.page_beside("/readyz").find("another process of this node is running") !=
        std::string::npos);
  c.write("beside", 50);
  CHECK(t.cluster.ready(3));
  t.cluster.kill(1); // the node counts, and the copy does not
  c.write("two and three", 20);
  CHECK(bob.bodies(c.where) == c.written);
  CHECK(says_fenced(t.cluster.page_beside("/readyz")));

  t.cluster.start_beside(3, "beside"); // a fenced directory stays fenced
  CHECK(t.until(30s, [&] { return says_fenced(t.cluster.page_beside("/readyz")); }));
}

TEST_CASE("a copy of a running node's directory that is put back is recognised by what others know of it") {
  town t{few_shards()};
  person alice{t, 1}, bob{t, 2};
  chat c{t, alice, alice.chat_with(bob), {}};
  c.write("before", 20);
  t.cluster.copy_data(3, "older"); // its start is the one that runs: no number and no word is another one
  c.write("after the copy", 50);
  t.cluster.kill(3);
  t.cluster.put_back(3, "older");
  t.cluster.start(3);
  CHECK(t.until(60s, [&] { return asides(t, 3) == 1 && t.cluster.ready(3) && is_whole(t, 3); }));
  CHECK(lines_with(t.cluster.log(3), "had stored entry") > 0);
  c.write("all again", 10);
  CHECK(bob.bodies(c.where) == c.written);

  // From before the disk of another node was lost: the shards have gone on in later generations since.
  t.cluster.copy_data(3, "older");
  t.cluster.kill(2);
  t.cluster.wipe(2);
  t.cluster.start(2);
  REQUIRE(t.until(60s, [&] { return is_whole(t, 1) && is_whole(t, 2) && is_whole(t, 3); }));
  c.write("in later generations", 10);
  t.cluster.kill(3);
  t.cluster.put_back(3, "older");
  t.cluster.start(3);
  CHECK(t.until(60s, [&] { return asides(t, 3) == 2 && t.cluster.ready(3) && is_whole(t, 3); }));
  CHECK(bob.bodies(c.where) == c.written);

  // Once more, when all the others were killed as well: now it is also not the start that they saw.
  for (std::size_t n = 1; n <= 3; ++n)
    t.cluster.kill(n);
  t.cluster.put_back(3, "older");
  for (std::size_t n = 1; n <= 3; ++n)
    t.cluster.start(n);
  CHECK(t.until(60s, [&] { return asides(t, 3) == 3; }));
  CHECK(t.until(60s, [&] { return t.cluster.wait_ready(1s); }));
  CHECK(bob.bodies(c.where) == c.written);
}

TEST_CASE("a survivor goes on alone with shards that were rescued, and then fills the others") {
  town t{few_shards()};
  person alice{t, 1}, bob{t, 2};
  chat c{t, alice, alice.chat_with(bob), {}};
  c.write("all three", 20);
  REQUIRE(all_applied_the_same(t));
  t.cluster.kill_all();
  rescue_all_with_node_1(t);
  REQUIRE(t.until(60s, [&] { return is_whole(t, 1) && is_whole(t, 2) && is_whole(t, 3); }));
  CHECK(bob.bodies(c.where) == c.written);
  t.cluster.kill(1); // the others have it all
  c.write("two and three", 10);
  CHECK(bob.bodies(c.where) == c.written);
}

TEST_CASE("after a rescue, what is sent arrives also where more was known than the survivor had") {
  town t{few_shards()};
  person alice{t, 1}, bob{t, 2};
  chat c{t, alice, alice.chat_with(bob), {}};
  c.write("kept", 10);
  REQUIRE(t.until(60s, [&] { return bob.heard.size() == 10; }));
  REQUIRE(all_applied_the_same(t));
  t.cluster.kill_all();
  t.cluster.copy_data(1, "older");
  for (std::size_t n = 1; n <= 3; ++n)
    t.cluster.start(n);
  REQUIRE(t.cluster.wait_ready(60s));
  c.write("lost", 5);
  REQUIRE(t.until(60s, [&] { return bob.heard.size() == 15; }));
  const std::vector<std::string> lost(c.written.begin() + 10, c.written.end());
  c.written.resize(10);
  t.cluster.kill_all();
  t.cluster.put_back(1, "older");
  rescue_all_with_node_1(t);
  REQUIRE(t.cluster.wait_ready(60s));
  c.write("later", 7); // more than was lost
  REQUIRE(t.until(60s, [&] { return bob.heard.size() >= 22; }));
  CHECK(std::vector(bob.heard.begin() + 15, bob.heard.end()) ==
        std::vector(c.written.begin() + 10, c.written.end()));
  // Alice's device, whose newest message the cluster has, does not compare what is before it.
  CHECK(t.until(60s, [&] { return bob.lost.size() >= 5; }));
  CHECK(bob.lost == lost);
  CHECK(bob.bodies(c.where) == c.written);
}

TEST_CASE(
    "when all nodes are put back to older copies, clients report what is lost and show what comes later "
    "once") {
  town t{few_shards()};
  person alice{t, 1}, bob{t, 2};
  chat c{t, alice, alice.chat_with(bob), {}};
  const auto arrived = [&](std::size_t total, seq_no last) {
    return t.until(60s, [&] { return bob.heard.size() == total && alice.delivered == last; });
  };
  const auto stop_all = [&] {
    for (std::size_t n = 1; n <= 3; ++n)
      REQUIRE(t.cluster.terminate(n, 15s) == 0);
  };
  const auto start_all = [&] {
    for (std::size_t n = 1; n <= 3; ++n)
      t.cluster.start(n);
    REQUIRE(t.cluster.wait_ready(60s));
  };
  const auto older = [](std::size_t n) { return "older " + std::to_string(n); };
  c.write("kept", 10);
  REQUIRE(arrived(10, seq_no{10}));
  stop_all();
  for (std::size_t n = 1; n <= 3; ++n)
    t.cluster.copy_data(n, older(n));
  start_all();
  c.write("lost", 5);
  REQUIRE(arrived(15, seq_no{15}));
  const std::vector<std::string> lost(c.written.begin() + 10, c.written.end());
  c.written.resize(10);
  stop_all();
  for (std::size_t n = 1; n <= 3; ++n)
    t.cluster.put_back(n, older(n));
  start_all();

  c.write("later", 7); // under the numbers of the lost ones, and two more
  REQUIRE(t.until(60s, [&] { return bob.heard.size() >= 22; }));
  REQUIRE(t.until(60s, [&] { return bob.lost.size() >= 5 && alice.lost.size() >= 5; }));
  c.write("at last", 1);
  REQUIRE(t.until(60s, [&] { return bob.heard.back() == "at last 0"; }));
  CHECK(std::vector(bob.heard.begin() + 15, bob.heard.end()) ==
        std::vector(c.written.begin() + 10, c.written.end()));
  CHECK(bob.lost == lost);
  std::string reported; // her own
  for (const auto& body : alice.lost)
    reported += body + "; ";
  CAPTURE(reported);
  CHECK(alice.lost == lost);
  CHECK(bob.bodies(c.where) == c.written);
  std::vector<std::string> kept;
  for (const auto& m : bob.store.history(c.where, seq_no{0}, 100))
    kept.push_back(m.body);
  CHECK(kept == c.written);
}

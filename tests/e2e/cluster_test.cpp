#include "tests/e2e/people.hpp"
#include "tests/support/scratch_directory.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>

using namespace parley;
using namespace parley::test;

namespace {

/// Submits `count` messages one after the other, without waiting for answers.
std::vector<std::string> write(person& from, conversation_id c, const std::string& what, std::size_t count) {
  std::vector<std::string> out;
  for (std::size_t i = 0; i < count; ++i) {
    out.push_back(what + " " + std::to_string(i));
    REQUIRE(from.device->post(c, out.back()));
  }
  return out;
}

std::size_t node_of(const person& p) {
  return static_cast<std::size_t>(number(p.device->state().node));
}

} // namespace

TEST_CASE("sends go on, once each and in order, while one node after the other is killed") {
  town t;
  person alice{t, 1}, bob{t, 2};
  const auto c = alice.chat_with(bob);
  std::vector<std::string> all;
  for (std::size_t node = 1; node <= 3; ++node) {
    CAPTURE(node);
    for (const auto& b : write(alice, c, "before " + std::to_string(node), 20))
      all.push_back(b);
    t.cluster.kill(node); // some of them are in progress
    for (const auto& b : write(alice, c, "without " + std::to_string(node), 5))
      all.push_back(b);
    CHECK(t.until(15s, [&] { return alice.device->unsettled() == 0; }));
    t.cluster.start(node);
    REQUIRE(t.cluster.wait_ready(20s));
  }
  CHECK(t.until(10s, [&] { return bob.heard.size() >= all.size(); }));
  CHECK(bob.heard == all);
  CHECK(bob.bodies(c) == all);
}

TEST_CASE("two people whose node is killed go on chatting at another") {
  town t;
  t.settings.first_seed = 0;
  person alice{t, 1}, bob{t, 2};
  const auto c = alice.chat_with(bob);
  REQUIRE(node_of(alice) == 1);
  REQUIRE(node_of(bob) == 1);
  t.cluster.kill(1);
  REQUIRE(alice.device->post(c, "still there?"));
  CHECK(t.until(15s, [&] { return !bob.heard.empty(); }));
  CHECK(node_of(alice) != 1);
  CHECK(node_of(bob) != 1);
  REQUIRE(bob.device->post(c, "yes"));
  CHECK(t.until(15s, [&] { return !alice.heard.empty(); }));
}

TEST_CASE("a cluster killed as a whole keeps what it acknowledged") {
  town t;
  person alice{t, 1}, bob{t, 2};
  const auto c = alice.chat_with(bob);
  const auto all = write(alice, c, "kept", 50);
  REQUIRE(t.until(15s, [&] { return alice.device->unsettled() == 0; }));
  for (std::size_t node = 1; node <= 3; ++node)
    t.cluster.kill(node);
  t.cluster.start_all();
  REQUIRE(t.cluster.wait_ready(30s));
  bob.restart();
  CHECK(t.until(15s, [&] { return bob.device->state().state == client::link_state::online; }));
  CHECK(bob.bodies(c) == all);
  CHECK(t.until(10s, [&] { return bob.heard.size() >= all.size(); }));
  CHECK(bob.heard == all); // each once, from before and after the restart
}

TEST_CASE("a node whose disk was lost is given new replicas by itself") {
  town t;
  person alice{t, 1}, bob{t, 2};
  const auto c = alice.chat_with(bob);
  auto all = write(alice, c, "before", 30);
  REQUIRE(t.until(15s, [&] { return alice.device->unsettled() == 0; }));
  t.cluster.kill(3);
  t.cluster.wipe(3);
  for (const auto& b : write(alice, c, "meanwhile", 10))
    all.push_back(b);
  t.cluster.start(3);
  REQUIRE(t.cluster.wait_ready(60s));
  // A node is ready as soon as it knows who leads; the cluster is whole when the node has its replicas again.
  REQUIRE(t.until(60s, [&] { return t.cluster.whole(1) && t.cluster.whole(2) && t.cluster.whole(3); }));
  CHECK(t.until(20s, [&] { return alice.device->unsettled() == 0; }));
  // The node counts towards the majority again: with another node killed, it and the third are the majority.
  t.cluster.kill(1);
  for (const auto& b : write(alice, c, "after", 10))
    all.push_back(b);
  CHECK(t.until(20s, [&] { return alice.device->unsettled() == 0; }));
  CHECK(bob.bodies(c) == all);
}

TEST_CASE("SIGTERM drains: clients go elsewhere, no send fails, the node exits with 0") {
  town t;
  t.settings.first_seed = 1;
  person alice{t, 1}, bob{t, 2};
  const auto c = alice.chat_with(bob);
  auto all = write(alice, c, "before", 20);
  CHECK(t.cluster.terminate(2, 15s) == 0);
  for (const auto& b : write(alice, c, "after", 20))
    all.push_back(b);
  CHECK(t.until(15s, [&] { return alice.device->unsettled() == 0; }));
  CHECK(t.until(10s, [&] { return bob.heard.size() >= all.size(); }));
  CHECK(bob.heard == all);
}

TEST_CASE("a phone that dies mid-send sends again when it is back, and nothing arrives twice") {
  town t;
  person alice{t, 1}, bob{t, 2};
  const auto c = alice.chat_with(bob);
  const auto all = write(alice, c, "once", 40);
  alice.restart(); // no message was answered yet
  CHECK(t.until(15s, [&] { return alice.device->unsettled() == 0 && bob.heard.size() >= all.size(); }));
  CHECK(bob.heard == all);
}

TEST_CASE("nodes that all come back on other addresses form again from corrected seeds") {
  town t;
  person alice{t, 1}, bob{t, 2};
  const auto c = alice.chat_with(bob);
  auto all = write(alice, c, "before", 10);
  REQUIRE(t.until(15s, [&] { return alice.device->unsettled() == 0; }));
  for (std::size_t n = 1; n <= 3; ++n)
    REQUIRE(t.cluster.terminate(n, 15s) == 0);
  t.cluster.move_peers({1, 2, 3});
  t.cluster.start_all();
  REQUIRE(t.cluster.wait_ready(30s));
  for (const auto& b : write(alice, c, "after", 10))
    all.push_back(b);
  CHECK(t.until(15s, [&] { return alice.device->unsettled() == 0; }));
  CHECK(bob.bodies(c) == all);
  for (std::size_t n = 1; n <= 3; ++n) // now every node knows where the others are, whatever its seeds
    REQUIRE(t.cluster.terminate(n, 15s) == 0);
  t.cluster.start_all();
  CHECK(t.cluster.wait_ready(30s));
}

TEST_CASE("a cluster that began with one node and grew comes back after all nodes were killed") {
  const scratch_directory scratch;
  const auto program = scratch.file("parleyd.sh"); // node 1 has only itself as its seed
  std::ofstream{program} << "#!/bin/sh\ncase \" $* \" in *' --node 1 '*)\n"
                            "  n=$# prev=\n"
                            "  while [ $n -gt 0 ]; do\n"
                            "    a=$1; shift; [ \"$prev\" != --seeds ] || a=${a%%,*}\n"
                            "    set -- \"$@\" \"$a\"; prev=$a n=$((n - 1))\n"
                            "  done ;;\nesac\nexec '"
                         << program_folder() << "/parleyd' \"$@\"\n";
  std::filesystem::permissions(program, std::filesystem::perms::owner_all);
  process_cluster_config config;
  config.parleyd = program;
  config.flags = {"--shards", "6", "--drain-spread", "100ms"};
  town t{config};
  const auto all_whole = [&] {
    return t.cluster.whole(1, 1000ms) && t.cluster.whole(2, 1000ms) && t.cluster.whole(3, 1000ms);
  };
  REQUIRE(t.until(60s, all_whole));
  person alice{t, 1}, bob{t, 2};
  const auto c = alice.chat_with(bob);
  REQUIRE(alice.device->send(c, "before").wait(t.io.waitScope));
  for (std::size_t n = 1; n <= 3; ++n)
    t.cluster.kill(n);
  t.cluster.start_all();
  REQUIRE(t.cluster.wait_ready(30s));
  CHECK(t.until(30s, all_whole));
  CHECK(alice.device->send(c, "after").wait(t.io.waitScope));
  CHECK(t.until(10s, [&] { return bob.bodies(c) == std::vector<std::string>{"before", "after"}; }));
}

TEST_CASE("what one sends, the other receives, and both ticks come back") {
  town t;
  person alice{t, 1}, bob{t, 2};
  const auto c = alice.chat_with(bob);
  CHECK(bob.chat_with(alice) == c);
  const auto sent = alice.device->send(c, "hello").wait(t.io.waitScope);
  REQUIRE(sent);
  CHECK(sent->seq == seq_no{1});
  CHECK(t.until(5s, [&] { return bob.heard == std::vector<std::string>{"hello"}; }));
  CHECK(t.until(5s, [&] { return alice.delivered == seq_no{1}; }));
  bob.device->ack_read(c, seq_no{1});
  CHECK(t.until(5s, [&] { return alice.read == seq_no{1}; }));
}

TEST_CASE("in a cluster of more nodes than replicas, each node serves every user") {
  process_cluster_config c;
  c.nodes = 5;
  town t{c};
  const auto all = t.settings.seeds;
  std::vector<std::unique_ptr<person>> people;
  for (std::size_t node = 1; node <= c.nodes; ++node) {
    t.settings.seeds = {all[node - 1]}; // a client that knows no other node
    people.push_back(std::make_unique<person>(t, node));
    CHECK(node_of(*people.back()) == node);
  }
  for (std::size_t i = 0; i < people.size(); ++i) {
    CAPTURE(i);
    auto& from = *people[i];
    auto& to = *people[(i + 1) % people.size()];
    REQUIRE(from.device->post(from.chat_with(to), "hello"));
    CHECK(t.until(15s, [&] { return !to.heard.empty(); }));
  }
}

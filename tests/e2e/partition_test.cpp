#include "tests/e2e/people.hpp"

#include <doctest/doctest.h>

#include <algorithm>

using namespace parley;
using namespace parley::test;

namespace {

process_cluster_config one_shard_behind_a_proxy() {
  process_cluster_config c;
  c.proxied = true;
  c.flags = {"--shards", "1"};
  return c;
}

std::size_t leader_of(process_cluster& cluster) {
  for (std::size_t n = 1; n <= cluster.size(); ++n) {
    if (cluster.leads(n) > 0)
      return n;
  }
  return 0;
}

/// What the others send to `node` is lost, and nothing tells anybody.
path_settings deafen(std::size_t node, std::size_t nodes, path::mode how) {
  path_settings out;
  path p;
  p.how = how;
  for (std::size_t n = 1; n <= nodes; ++n) {
    if (n != node)
      out.push_back({n, node, p});
  }
  return out;
}

} // namespace

TEST_CASE(
    "a leader that sends and does not receive acknowledges nothing, others serve, and all is there once") {
  town t{one_shard_behind_a_proxy()};
  const auto everywhere = t.settings.seeds;
  std::size_t leader = 0;
  REQUIRE(t.until(10s, [&] { return (leader = leader_of(t.cluster)) != 0; }));
  CAPTURE(leader);
  t.settings.seeds = {everywhere[leader - 1]}; // Alice knows no other node
  person alice{t, 1};
  t.settings.seeds = everywhere;
  t.settings.seeds.erase(t.settings.seeds.begin() + static_cast<std::ptrdiff_t>(leader - 1));
  person bob{t, 2}, carol{t, 3};
  const auto with_alice = alice.chat_with(bob), with_carol = carol.chat_with(bob);
  REQUIRE(alice.device->send(with_alice, "before").wait(t.io.waitScope));
  REQUIRE(leader_of(t.cluster) == leader);

  t.cluster.network().set(deafen(leader, t.cluster.size(), path::mode::blackhole));
  std::vector<std::string> written{"before"};
  for (int i = 0; i < 20; ++i) {
    written.push_back("into the void " + std::to_string(i));
    REQUIRE(alice.device->post(with_alice, written.back()));
  }
  const auto unsettled = alice.device->unsettled();
  REQUIRE(unsettled == 20);
  REQUIRE(carol.device->post(with_carol, "elsewhere"));
  CHECK(t.until(20s, [&] { return carol.device->unsettled() == 0; }));
  CHECK(t.until(10s, [&] { return std::count(bob.heard.begin(), bob.heard.end(), "elsewhere") == 1; }));
  CHECK(alice.device->unsettled() == unsettled);
  path_counters lost;
  for (std::size_t n = 1; n <= t.cluster.size(); ++n)
    lost += t.cluster.network().counters(n, leader);
  CHECK(lost.swallowed > 0); // the fault happened

  t.cluster.network().set(deafen(leader, t.cluster.size(), path::mode::pass));
  CHECK(t.until(20s, [&] { return alice.device->unsettled() == 0; }));
  CHECK(t.until(20s, [&] { return bob.heard.size() >= written.size() + 1; }));
  CHECK(bob.bodies(with_alice) == written);
  CHECK(bob.bodies(with_carol) == std::vector<std::string>{"elsewhere"});
  std::erase(bob.heard, "elsewhere");
  CHECK(bob.heard == written);
}

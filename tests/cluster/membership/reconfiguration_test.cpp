#include "cluster/membership/reconfiguration.hpp"

#include <doctest/doctest.h>

using namespace parley;
using namespace parley::cluster;

namespace {

core::node_record node(std::uint64_t id, std::uint64_t disk) {
  return {node_id{id}, disk_id{disk}, "", ""};
}
member at(std::uint64_t id, std::uint64_t disk) {
  return {node_id{id}, disk_id{disk}};
}
reconfiguration_facts whole() {
  reconfiguration_facts f;
  f.members = {at(1, 11), at(2, 22), at(3, 33)};
  f.nodes = {node(1, 11), node(2, 22), node(3, 33)};
  f.reachable = {node_id{1}, node_id{2}, node_id{3}};
  f.self = node_id{1};
  return f;
}

} // namespace

TEST_CASE("no member is replaced while no disk is lost, whichever nodes are away") {
  auto f = whole();
  CHECK_FALSE(reconfigure(f));
  f.reachable.clear();
  CHECK_FALSE(reconfigure(f));
  f.nodes.clear(); // the meta shard has not answered yet
  CHECK_FALSE(reconfigure(f));
}

TEST_CASE("a new disk is not used before its node can be reached") {
  auto f = whole();
  f.nodes[1].disk = disk_id{99};
  f.reachable = {node_id{3}};
  CHECK_FALSE(reconfigure(f));
}

TEST_CASE("a node's new disk takes the place of its lost one") {
  auto f = whole();
  f.nodes[1].disk = disk_id{99};
  CHECK(reconfigure(f) == std::vector{at(1, 11), at(2, 99), at(3, 33)});
}

TEST_CASE("lost disks are replaced one at a time") {
  auto f = whole();
  f.nodes[1].disk = disk_id{99};
  f.nodes[2].disk = disk_id{98};
  const auto first = reconfigure(f);
  CHECK(first == std::vector{at(1, 11), at(2, 99), at(3, 33)});
  f.members = *first;
  CHECK(reconfigure(f) == std::vector{at(1, 11), at(2, 99), at(3, 98)});
}

TEST_CASE("a shard of one replica grows to three when two nodes have joined, and stays alone until then") {
  auto f = whole();
  f.members = {at(1, 11)};
  CHECK(reconfigure(f) == std::vector{at(1, 11), at(2, 22), at(3, 33)});
  f.reachable = {node_id{3}};
  CHECK_FALSE(reconfigure(f)); // two would stop when either of them fails
  f.reachable = {node_id{2}, node_id{3}};
  f.nodes.pop_back();
  CHECK_FALSE(reconfigure(f));
}

TEST_CASE("a shard of three replicas grows to five at once, never to four, unless four are wanted") {
  auto f = whole();
  f.replicas = 5;
  f.nodes.push_back(node(4, 44));
  f.reachable.insert(node_id{4});
  CHECK_FALSE(reconfigure(f));
  f.nodes.push_back(node(5, 55));
  f.reachable.insert(node_id{5});
  REQUIRE(reconfigure(f));
  CHECK(reconfigure(f)->size() == 5);
  f.replicas = 4;
  CHECK(reconfigure(f)->size() == 4);
}

TEST_CASE("a shard of two replicas, as a list of two seeds makes it, grows to three") {
  auto f = whole();
  f.members = {at(1, 11), at(3, 33)};
  CHECK(reconfigure(f) == std::vector{at(1, 11), at(2, 22), at(3, 33)});
}

TEST_CASE("a shard does not grow beyond the replicas wanted, and new replicas spread over the nodes") {
  auto f = whole();
  f.nodes.push_back(node(4, 44));
  f.reachable.insert(node_id{4});
  CHECK_FALSE(reconfigure(f));
  f.members = {at(1, 11)};
  std::set<std::vector<member>> seen;
  for (std::uint16_t s = 0; s < 8; ++s) {
    f.shard = shard_id{s};
    const auto next = reconfigure(f);
    REQUIRE(next);
    CHECK(next->size() == 3);
    seen.insert(*next);
  }
  CHECK(seen.size() > 1);
}

TEST_CASE("the decision does not depend on the order in which nodes and shards are listed") {
  auto f = whole();
  f.members = {at(3, 33), at(1, 11)};
  auto g = f;
  std::reverse(g.members.begin(), g.members.end());
  std::reverse(g.nodes.begin(), g.nodes.end());
  CHECK(reconfigure(f) == reconfigure(g));
}

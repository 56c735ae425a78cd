// A leader whose disk syncs slowly: when is it slow, and who leads then.
#include "cluster/replication/disk_pace.hpp"
#include "tests/cluster/replication/replication_fixture.hpp"

using namespace parley;
using namespace parley::test;
using cluster::disk_pace;

namespace {

/// A disk in virtual time: a sync follows the other after `rest`.
struct virtual_disk {
  disk_pace pace;
  std::int64_t now = 1'000;
  void syncs(int n, std::int64_t took, std::int64_t rest = 10) {
    for (int i = 0; i < n; ++i) {
      now += took + rest;
      pace.synced(took, now);
    }
  }
  bool slow() const { return pace.is_slow(now); }
};

} // namespace

TEST_CASE("a disk is slow after some seconds of slow syncs, and not because of a single long one") {
  virtual_disk d;
  d.syncs(100, 10);
  CHECK_FALSE(d.slow());
  CHECK(d.pace.typical_ms(d.now) == 10);
  d.syncs(1, 10'000);
  CHECK_FALSE(d.slow());
  d.syncs(100, 10, 500);
  CHECK_FALSE(d.slow());
  const auto from = d.now;
  d.syncs(10, 250);
  CHECK_FALSE(d.slow());
  while (!d.slow() && d.now < from + 60'000)
    d.syncs(1, 250);
  CHECK(d.slow());
  CHECK(d.now - from >= disk_pace::slow_for_ms);
  CHECK(d.now - from <= 2 * disk_pace::slow_for_ms);
}

TEST_CASE("few syncs are no evidence, however slow") {
  virtual_disk d;
  d.syncs(disk_pace::syncs_min - 1, 3'000);
  CHECK_FALSE(d.slow());
  CHECK(d.pace.typical_ms(d.now) == 0);
}

TEST_CASE("a disk that is a little quicker again stays slow, and one that is well is not") {
  virtual_disk d;
  d.syncs(100, 250);
  REQUIRE(d.slow());
  d.syncs(100, 80); // below what begins it, above what ends it
  CHECK(d.slow());
  d.syncs(100, 20);
  CHECK_FALSE(d.slow());
  d.syncs(100, 80);
  CHECK_FALSE(d.slow());
}

TEST_CASE("what a disk was long ago is forgotten") {
  virtual_disk d;
  d.syncs(100, 250);
  REQUIRE(d.slow());
  d.now += disk_pace::forgets_after_ms + 1;
  CHECK_FALSE(d.slow());
  CHECK(d.pace.typical_ms(d.now) == 0);
  d.syncs(1, 250);
  CHECK_FALSE(d.slow());
}

TEST_CASE("only a disk that is several times quicker is given anything") {
  virtual_disk d;
  d.syncs(100, 400);
  CHECK(d.pace.is_quicker(100));
  CHECK_FALSE(d.pace.is_quicker(101));
  CHECK_FALSE(d.pace.is_quicker(0)); // not known
}

TEST_CASE("a disk is as good as another one if both are quick, or neither is several times quicker") {
  virtual_disk d;
  d.syncs(100, 5);
  CHECK(d.pace.is_as_good(19));
  CHECK_FALSE(d.pace.is_as_good(20)); // four times as long: what made it quick may be that it only follows
  CHECK_FALSE(d.pace.is_as_good(0));  // not known
  d.syncs(100, 15);
  CHECK(d.pace.is_as_good(45));
  CHECK_FALSE(d.pace.is_as_good(disk_pace::quick_below_ms));
}

TEST_CASE_FIXTURE(paced_disks, "a leader with a slow disk hands over to a member with a quick one, once") {
  auto& first = settle();
  pass(2'000);
  REQUIRE(leader() == &first);
  takes[first.who.node] = 250;
  pass(disk_pace::slow_for_ms / 2);
  CHECK(leader() == &first); // some seconds
  pass(10'000);
  auto& second = settle();
  CHECK(&second != &first);
  CHECK(first.slow == std::vector{true});
  for (int i = 0; i < 20; ++i) {
    pass(1'000);
    commit("row");
    CHECK(leader() == &second);
  }
  takes.erase(first.who.node); // it is well again, and nothing moves back by itself
  pass(10'000);
  CHECK(leader() == &second);
  CHECK(first.slow == std::vector{true, false});
}

TEST_CASE_FIXTURE(paced_disks, "the quickest way is to no disk that is slow as well") {
  auto& first = settle();
  node_id quick{};
  for (auto& [id, n] : nodes)
    if (n.get() != &first)
      quick = id;
  for (auto& [id, n] : nodes)
    if (id != quick)
      takes[id] = 300;
  pass(15'000);
  CHECK(settle().who.node == quick);
}

TEST_CASE_FIXTURE(paced_disks, "if all disks are slow, leaderships stay where they are") {
  auto& first = settle();
  for (auto& [id, n] : nodes)
    takes[id] = n.get() == &first ? 400 : 200;
  for (int i = 0; i < 30; ++i) {
    pass(1'000);
    CHECK(leader() == &first);
  }
}

TEST_CASE_FIXTURE(paced_disks, "a node with a slow disk leads on while no member with a quick one is there") {
  auto& first = settle();
  takes[first.who.node] = 300;
  std::vector<test_node*> others;
  for (auto& [id, n] : nodes)
    if (n.get() != &first) {
      others.push_back(n.get());
      takes[id] = 300;
    }
  crash(*others[0]);
  pass(15'000);
  CHECK(leader() == &first);
  start(*others[0]);
  takes.erase(others[0]->who.node);
  pass(15'000);
  CHECK(leader() == others[0]);
}

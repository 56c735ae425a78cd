#include "tests/harness/chaos/disk_scheduler.hpp"

#include <doctest/doctest.h>

#include <map>
#include <set>
#include <tuple>
#include <vector>

using namespace parley;
using namespace parley::chaos;
using namespace std::chrono_literals;

namespace {

struct episode {
  disk_step as;
  milliseconds began{}, ended{-1};
};

/// A run in virtual time, in which all nodes run.
std::vector<episode> run(std::uint64_t seed, disk_config c = {}, std::size_t nodes = 3) {
  disk_scheduler it{c, seed, nodes};
  const std::vector<bool> running(nodes, true);
  std::vector<episode> out;
  const auto suffer = [&](const disk_step& step, milliseconds now) {
    if (step.is == disk_step::what::begin) {
      CHECK((out.empty() || out.back().ended >= 0ms)); // one at a time
      out.push_back({step, now});
    } else {
      REQUIRE(!out.empty());
      CHECK(step.node == out.back().as.node);
      CHECK(step.fault == out.back().as.fault);
      out.back().ended = now;
    }
  };
  for (milliseconds now{0}; now < c.length; now += 10ms)
    if (const auto step = it.tick(now, running))
      suffer(*step, now);
  if (const auto step = it.heal())
    suffer(*step, c.length);
  return out;
}

} // namespace

TEST_CASE("each kind of ailing disk comes once before any comes again, and hits any node") {
  for (const std::size_t nodes : {3u, 5u, 7u}) {
    std::set<std::size_t> hit;
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
      CAPTURE(nodes);
      CAPTURE(seed);
      const auto all = run(seed, {}, nodes);
      REQUIRE(all.size() >= 6);
      for (std::size_t i = 0; i + 3 <= all.size(); i += 3)
        CHECK(std::set{all[i].as.fault, all[i + 1].as.fault, all[i + 2].as.fault}.size() == 3);
      for (const auto& e : all)
        hit.insert(e.as.node);
    }
    CHECK(hit.size() == nodes);
    CHECK(*hit.rbegin() == nodes);
  }
}

TEST_CASE("every disk is well again at the end, and only those that are slow or stalled delay anything") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    const disk_config c;
    for (const auto& e : run(seed, c)) {
      CHECK(e.ended > e.began);
      CHECK(e.ended <= c.length);
      CHECK((e.as.delay > 0ms) == (e.as.fault != disk_fault::full));
    }
  }
}

TEST_CASE("a seed repeats its run, and another one differs") {
  const auto told = [](const std::vector<episode>& all) {
    std::vector<std::tuple<std::size_t, milliseconds, milliseconds, milliseconds>> out;
    for (const auto& e : all)
      out.emplace_back(e.as.node, e.as.delay, e.began, e.ended);
    return out;
  };
  CHECK(told(run(5)) == told(run(5)));
  CHECK(told(run(5)) != told(run(6)));
}

TEST_CASE("the disk of a node that ends is well, because a node does not start on a full one") {
  disk_scheduler it{{}, 3, 3};
  std::vector<bool> running(3, true);
  std::optional<disk_step> step;
  milliseconds now{0};
  for (; !step; now += 10ms)
    step = it.tick(now, running);
  running.at(step->node - 1) = false;
  const auto end = it.tick(now, running);
  REQUIRE(end);
  CHECK(end->is == disk_step::what::end);
  CHECK_FALSE(it.active());
}

TEST_CASE("no disk ails where no node runs") {
  disk_scheduler it{{}, 3, 3};
  for (milliseconds now{0}; now < 60s; now += 10ms)
    CHECK_FALSE(it.tick(now, std::vector<bool>(3, false)));
}

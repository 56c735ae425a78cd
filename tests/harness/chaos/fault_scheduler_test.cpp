#include "tests/harness/chaos/fault_scheduler.hpp"

#include "tests/harness/chaos/body_sizes.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>

using namespace parley::chaos;
using namespace std::chrono_literals;

namespace {

/// A cluster whose nodes are ready half a second after a start, and which is whole three
/// seconds after a wipe.
struct world {
  explicit world(std::size_t nodes = 3)
      : view{std::vector<node_view>(nodes, {true, false, true}), true}, ready_at(nodes, 0ms),
        kills_of(nodes) {}

  cluster_view view;
  std::vector<milliseconds> ready_at;
  std::vector<std::uint64_t> kills_of;
  milliseconds whole_at{0};
  std::vector<fault> trace;
  std::uint64_t kills = 0, pauses = 0, wipes = 0, client_kills = 0;

  void run(fault_scheduler& s, milliseconds length) {
    for (milliseconds now{0}; now <= length; now += 10ms) {
      for (std::size_t i = 0; i < view.nodes.size(); ++i)
        view.nodes[i].ready = view.nodes[i].running && !view.nodes[i].paused && now >= ready_at[i];
      view.whole = now >= whole_at &&
                   std::all_of(view.nodes.begin(), view.nodes.end(), [](const auto& n) { return n.ready; });
      const bool was_whole = view.whole;
      for (const auto& f : s.tick(now, view))
        suffer(f, now, was_whole);
    }
    for (const auto& f : s.heal())
      suffer(f, length, false);
  }
  void suffer(const fault& f, milliseconds now, bool was_whole) {
    trace.push_back(f);
    if (f.what == fault::kind::client_kill) {
      ++client_kills;
      return;
    }
    auto& n = view.nodes[f.node - 1];
    switch (f.what) {
    case fault::kind::kill:
      CHECK(n.running);
      CHECK_FALSE(n.paused);
      n.running = false;
      ++kills;
      ++kills_of[f.node - 1];
      break;
    case fault::kind::start:
      CHECK_FALSE(n.running);
      n.running = true;
      ready_at[f.node - 1] = now + 500ms;
      break;
    case fault::kind::pause:
      CHECK(n.running);
      n.paused = true;
      ++pauses;
      break;
    case fault::kind::resume:
      CHECK(n.paused);
      n.paused = false;
      break;
    case fault::kind::wipe:
      CHECK_FALSE(n.running);
      CHECK(was_whole);
      whole_at = now + 3s;
      ++wipes;
      break;
    case fault::kind::client_kill:
      break;
    }
  }
};

} // namespace

TEST_CASE("an outage happens once, for as long as asked, and no other node fails meanwhile") {
  fault_config plan;
  plan.length = 60s;
  plan.outage = 15s;
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    const std::size_t nodes = 3 + seed % 3 * 2; // 3, 5 or 7
    fault_scheduler faults{plan, seed, nodes};
    world w{nodes};
    milliseconds down_since{-1}, longest{0};
    std::size_t dead = 0;
    for (milliseconds now{0}; now <= plan.length; now += 10ms) {
      w.view.whole = true;
      for (auto& n : w.view.nodes)
        n.ready = n.running && !n.paused;
      for (const auto& f : faults.tick(now, w.view)) {
        const bool down =
            std::any_of(w.view.nodes.begin(), w.view.nodes.end(), [](auto& n) { return !n.running; });
        if (f.what == fault::kind::kill && !down)
          down_since = now, dead = f.node;
        if (f.what == fault::kind::start && f.node == dead)
          longest = std::max(longest, now - down_since);
        w.suffer(f, now, true);
      }
    }
    CHECK(longest == 15s);
  }
}

TEST_CASE("a disk is wiped only while every other replica is whole, and all is repaired at the end") {
  for (const std::size_t nodes : {3u, 5u, 7u}) {
    for (std::uint64_t seed = 1; seed <= 40; ++seed) {
      CAPTURE(nodes);
      CAPTURE(seed);
      fault_scheduler s{{}, seed, nodes};
      world w{nodes};
      w.run(s, 120s);
      CHECK_FALSE(s.anything_broken());
      for (const auto& n : w.view.nodes)
        CHECK((n.running && !n.paused));
      CHECK(w.kills >= 20);
      CHECK(w.pauses >= 3);
      CHECK(w.wipes >= 1);
      CHECK(w.client_kills >= 40);
      CHECK(std::count(w.kills_of.begin(), w.kills_of.end(), 0u) <= 1);
    }
  }
}

TEST_CASE("while another trial holds the nodes, no fault of a node begins") {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    CAPTURE(seed);
    fault_scheduler s{{}, seed, 3};
    world w;
    w.run(s, 20s);
    w.view.held = true;
    std::size_t clients = 0;
    for (milliseconds now{20s}; now <= 40s; now += 10ms) {
      for (const auto& f : s.tick(now, w.view)) {
        CHECK(f.what == fault::kind::client_kill);
        ++clients;
      }
    }
    CHECK(clients > 5);
    w.view.held = false;
    CHECK(s.tick(40s, w.view).size() > 0);
  }
}

TEST_CASE("a cluster that never gets whole again loses no second disk") {
  fault_scheduler s{{}, 5, 3};
  world w;
  std::uint64_t wipes = 0;
  for (milliseconds now{0}; now <= 120s; now += 10ms) {
    for (const auto& f : s.tick(now, w.view)) {
      wipes += f.what == fault::kind::wipe;
      w.view.whole = w.view.whole && f.what != fault::kind::wipe;
      if (f.node == 0)
        continue;
      w.view.nodes[f.node - 1].running = f.what != fault::kind::kill && f.what != fault::kind::wipe;
      w.view.nodes[f.node - 1].paused = f.what == fault::kind::pause;
    }
  }
  CHECK(wipes == 1);
}

TEST_CASE("the same seed tells the same story, another one another") {
  const auto trace = [](std::uint64_t seed) {
    fault_scheduler s{{}, seed, 3};
    world w;
    w.run(s, 60s);
    return w.trace;
  };
  CHECK(trace(7) == trace(7));
  CHECK(trace(7) != trace(8));
}

TEST_CASE("sizes with a heavy tail reach from one byte to the bound, and most are short") {
  std::mt19937_64 random{1};
  std::array<unsigned, 6> by_magnitude{};
  unsigned short_ones = 0;
  constexpr unsigned draws = 20'000;
  for (unsigned i = 0; i < draws; ++i) {
    const auto size = draw_size(random, 12, true);
    REQUIRE(size >= 1);
    REQUIRE(size <= parley::body_bytes_max);
    short_ones += size < 400;
    ++by_magnitude[static_cast<std::size_t>(std::log10(static_cast<double>(size)))];
  }
  CHECK(short_ones > draws / 2);
  for (std::size_t m = 0; m < 5; ++m)
    CHECK(by_magnitude[m] > draws / 100);
  for (unsigned i = 0; i < draws; ++i)
    REQUIRE(draw_size(random, 12, false) < 400);
}

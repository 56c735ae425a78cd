#include "tests/harness/chaos/network_scheduler.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <set>

using namespace parley;
using namespace parley::chaos;
using namespace std::chrono_literals;

namespace {

using what = network_step::what;
using mode = test::path::mode;

struct episode {
  network_fault fault{};
  milliseconds began{}, ended{-1};
  test::path_settings set;
  std::size_t changes = 0;
};

/// A run in virtual time: the paths as they are, and what happened.
struct world {
  world(network_config c, std::uint64_t seed, std::size_t nodes = 3) : it{c, seed, nodes}, length{c.length} {}

  void run(const network_view& view) {
    for (milliseconds now{0}; now < length; now += 10ms) {
      if (const auto step = it.tick(now, view))
        suffer(*step, now);
    }
    if (const auto step = it.heal())
      suffer(*step, length);
  }
  void suffer(const network_step& step, milliseconds now) {
    for (const auto& s : step.set) {
      CHECK(s.from != s.to);
      paths[{s.from, s.to}] = s.as;
    }
    switch (step.is) {
    case what::begin:
      CHECK((episodes.empty() || episodes.back().ended >= 0ms));
      episodes.push_back({step.fault, now, -1ms, step.set, 0});
      break;
    case what::change:
      ++episodes.back().changes;
      break;
    case what::end:
      episodes.back().ended = now;
      for (const auto& [_, p] : paths)
        CHECK(p == test::path{});
      break;
    }
  }
  std::set<network_fault> kinds() const {
    std::set<network_fault> out;
    for (const auto& e : episodes)
      out.insert(e.fault);
    return out;
  }

  network_scheduler it;
  milliseconds length;
  std::map<std::pair<std::size_t, std::size_t>, test::path> paths;
  std::vector<episode> episodes;
};

network_config config(milliseconds length, bool partitions, bool links) {
  network_config c;
  c.length = length;
  c.partitions = partitions;
  c.links = links;
  return c;
}

constexpr network_view calm{true, false, 2};

/// Pairs of nodes whose direction is broken.
std::set<std::pair<std::size_t, std::size_t>> broken(const episode& e) {
  std::set<std::pair<std::size_t, std::size_t>> out;
  for (const auto& s : e.set)
    out.insert({s.from, s.to});
  return out;
}

} // namespace

TEST_CASE("nothing begins while a lost disk is being replaced, and the run then lacks what it promised") {
  world w{config(45s, true, false), 1};
  w.run({true, true, 1});
  CHECK(w.episodes.empty());
  CHECK(w.it.promised().size() == 5);
}

TEST_CASE("a cluster that is never whole suffers all the same, only later") {
  world w{config(45s, true, false), 1};
  w.run({false, false, 0});
  CHECK(w.kinds().size() >= 5);
}

TEST_CASE("a run keeps its promise although a lost disk holds it up for ten seconds and it is never whole") {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    for (milliseconds lost_at{0}; lost_at < 30s; lost_at += 5s) {
      CAPTURE(seed);
      CAPTURE(lost_at.count());
      world w{config(45s, true, false), seed};
      for (milliseconds now{0}; now < w.length; now += 10ms) {
        if (const auto step = w.it.tick(now, {false, now >= lost_at && now < lost_at + 10s, 0}))
          w.suffer(*step, now);
      }
      const auto kinds = w.kinds();
      for (const auto f : w.it.promised())
        CHECK(kinds.contains(f));
    }
  }
}

TEST_CASE("a fault that had no effect comes again as the next one, and the run keeps its promise") {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    CAPTURE(seed);
    world w{config(180s, true, true), seed};
    for (milliseconds now{0}; now < w.length; now += 10ms) {
      if (const auto step = w.it.tick(now, calm)) {
        w.suffer(*step, now);
        if (step->is == what::end && w.episodes.size() == 2)
          w.it.once_more();
      }
    }
    CHECK(w.episodes[2].fault == w.episodes[1].fault);
    const auto kinds = w.kinds();
    for (const auto f : w.it.promised())
      CHECK(kinds.contains(f));
  }
}

TEST_CASE("a run of 45 s injects five of six kinds of partition or all, and everything is undone") {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    CAPTURE(seed);
    world w{config(45s, true, false), seed};
    w.run(calm);
    CHECK(w.kinds().size() >= 5);
    CHECK_FALSE(w.it.active());
    for (const auto& e : w.episodes) {
      CHECK(e.ended - e.began <= 30s + 10ms);
      CHECK(!e.set.empty());
    }
  }
}

TEST_CASE("with five and seven nodes a run keeps its promise, hits any node, and undoes everything") {
  for (const std::size_t nodes : {5u, 7u}) {
    std::set<std::size_t> hit;
    for (std::uint64_t seed = 1; seed <= 40; ++seed) {
      CAPTURE(nodes);
      CAPTURE(seed);
      world w{config(180s, true, true), seed, nodes};
      w.run(calm);
      CHECK(w.it.promised().size() == network_fault_kinds);
      const auto kinds = w.kinds();
      for (const auto f : w.it.promised())
        CHECK(kinds.contains(f));
      for (const auto& [_, p] : w.paths)
        CHECK(p == test::path{});
      for (const auto& e : w.episodes) {
        if (e.fault != network_fault::alone && e.fault != network_fault::flapping)
          continue;
        std::map<std::size_t, std::size_t> pairs_of; // the node that is alone is in all of them
        for (const auto& [from, to] : broken(e)) {
          ++pairs_of[from];
          ++pairs_of[to];
        }
        for (const auto& [node, n] : pairs_of)
          if (n == 2 * (nodes - 1))
            hit.insert(node);
      }
    }
    CHECK(hit.size() == nodes);
  }
}

TEST_CASE("a short run promises no more than fits, and keeps it") {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    CAPTURE(seed);
    world w{config(20s, true, true), seed};
    w.run(calm);
    CHECK(w.it.promised().size() == 1);
    const auto kinds = w.kinds();
    for (const auto f : w.it.promised())
      CHECK(kinds.contains(f));
  }
}

TEST_CASE("a long run has partitions of seconds and of half a minute") {
  world w{config(3'600s, true, false), 1};
  w.run(calm);
  std::size_t brief = 0, lasting = 0;
  for (const auto& e : w.episodes) {
    brief += e.ended - e.began <= 5s;
    lasting += e.ended - e.began >= 20s;
  }
  CHECK(brief > 50);
  CHECK(lasting > 5);
}

TEST_CASE("each partition is of the shape that its name says") {
  using f = network_fault;
  for (const std::size_t nodes : {3, 4, 5, 7}) {
    world w{config(1'800s, true, false), 3, nodes};
    w.run(calm);
    for (const auto& e : w.episodes) {
      CAPTURE(nodes);
      CAPTURE(name_of(e.fault));
      const auto pairs = broken(e);
      const bool symmetric = std::all_of(pairs.begin(), pairs.end(), [&](const auto& p) {
        return pairs.contains({p.second, p.first});
      });
      const bool of_clients =
          std::any_of(pairs.begin(), pairs.end(), [](const auto& p) { return p.first == 0; });
      CHECK(symmetric == (e.fault != f::one_way));
      CHECK(of_clients == (e.fault == f::halves));
      switch (e.fault) {
      case f::alone:
      case f::flapping:
        CHECK(pairs.size() == 2 * (nodes - 1));
        break;
      case f::leader_alone:
        CHECK(pairs.size() == 2 * (nodes - 1));
        for (const auto& p : pairs)
          CHECK((p.first == 2 || p.second == 2));
        break;
      case f::one_way:
        CHECK(pairs.size() == nodes - 1);
        for (const auto& s : e.set)
          CHECK(s.as.how == mode::blackhole);
        break;
      case f::ring: // who does not reach whom
        CHECK(pairs.size() == (nodes == 3 ? 2 : nodes * (nodes - 3)));
        break;
      default:
        CHECK(e.fault == f::halves);
      }
    }
  }
}

TEST_CASE("flapping changes every second") {
  world w{config(1'800s, true, false), 1};
  w.run(calm);
  for (const auto& e : w.episodes) {
    if (e.fault == network_fault::flapping)
      CHECK(e.changes + 1 >= static_cast<std::size_t>((e.ended - e.began) / 1s));
    else
      CHECK(e.changes == 0);
  }
}

TEST_CASE("the links' faults have the strength that was asked for, and a stall lasts three seconds") {
  world w{config(600s, false, true), 1};
  w.run(calm);
  CHECK(w.kinds().size() == 4);
  for (const auto& e : w.episodes) {
    for (const auto& s : e.set) {
      switch (e.fault) {
      case network_fault::delay:
        CHECK(s.as.delay == 50ms);
        CHECK(s.as.jitter == 30ms);
        break;
      case network_fault::rate:
        CHECK(s.as.bytes_per_second == 1'000'000);
        break;
      case network_fault::stall:
        CHECK(s.as.how == mode::stall);
        CHECK(e.ended - e.began == 3s);
        break;
      default:
        CHECK(e.fault == network_fault::cut_after);
        CHECK(s.as.cut_after >= 512);
        CHECK(s.as.cut_after <= 1 << 20);
      }
    }
  }
}

TEST_CASE("the same seed gives the same faults, and another one others") {
  const auto trace = [](std::uint64_t seed) {
    world w{config(300s, true, true), seed};
    w.run(calm);
    std::vector<std::pair<network_fault, milliseconds>> out;
    for (const auto& e : w.episodes)
      out.emplace_back(e.fault, e.began);
    return out;
  };
  CHECK(trace(7) == trace(7));
  CHECK(trace(7) != trace(8));
}

TEST_CASE("a fault is proved by what it did, and not by what passed") {
  test::path_counters c;
  c.bytes = c.opened = 100;
  for (std::size_t i = 0; i < network_fault_kinds; ++i)
    CHECK(effect(static_cast<network_fault>(i), c) == 0);
  c.swallowed = 1;
  CHECK(effect(network_fault::one_way, c) == 1);
  CHECK(effect(network_fault::stall, c) == 0);
  c.held = 2;
  CHECK(effect(network_fault::stall, c) == 2);
}

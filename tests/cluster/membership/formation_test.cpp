#include "cluster/membership/formation.hpp"

#include <doctest/doctest.h>

#include <memory>
#include <numeric>
#include <random>
#include <set>

using namespace parley;
using namespace parley::cluster;
using kind = formation_step::kind;

namespace {

/// Nodes with disks that survive crashes, and a network that a test cuts. Nothing here takes time.
struct world {
  struct node {
    core::node_record self;
    std::vector<endpoint> seeds;
    bool form = false;
    std::optional<promise> promised; // the disk
    std::optional<founding> founded;
    std::vector<cluster_id> ever_founded;
    bool joined = false;
    std::unique_ptr<formation> running; // the process
  };
  std::map<std::uint64_t, node> nodes;
  std::set<std::pair<std::uint64_t, std::uint64_t>> cut;
  std::uint64_t next_random = 1;

  static endpoint address(std::uint64_t n) { return {"n" + std::to_string(n), 1}; }
  static std::vector<endpoint> list(std::uint64_t n) {
    std::vector<endpoint> out;
    for (std::uint64_t i = 1; i <= n; ++i)
      out.push_back(address(i));
    return out;
  }

  void add(std::uint64_t n, std::vector<endpoint> seeds, bool form = false) {
    auto& it = nodes[n];
    it.self = {node_id{n}, disk_id{next_random++}, to_string(address(n)), "c"};
    it.seeds = std::move(seeds);
    it.form = form;
  }
  void start(std::uint64_t n) {
    auto& it = nodes.at(n);
    formation_config c;
    c.self = it.self;
    c.seeds = it.seeds;
    c.form = it.form;
    c.fresh = {next_random, next_random};
    ++next_random;
    it.running = std::make_unique<formation>(c, it.promised, it.founded);
  }
  void crash(std::uint64_t n) { nodes.at(n).running.reset(); }
  void lose_disk(std::uint64_t n) {
    auto& it = nodes.at(n);
    it.running.reset();
    it.promised.reset();
    it.founded.reset();
    it.joined = false;
    it.self.disk = disk_id{next_random++};
  }
  bool talk(std::uint64_t a, std::uint64_t b) const {
    return !cut.contains({std::min(a, b), std::max(a, b)}) && nodes.contains(b) && nodes.at(b).running;
  }
  /// Node `n` asks one seed.
  void ask(std::uint64_t n, const endpoint& seed) {
    auto& it = nodes.at(n);
    const auto to = std::stoull(seed.host.substr(1));
    if (talk(n, to))
      it.running->heard(seed, nodes.at(to).running->answer());
    else
      it.running->silent(seed);
  }
  enum class dies { never, before_sync, after_sync };
  /// Node `n` does what it decides; true if that was something.
  bool act(std::uint64_t n, dies when = dies::never) {
    auto& it = nodes.at(n);
    if (!it.running)
      return false;
    const auto step = it.running->decide();
    if (step.as == kind::wait || step.as == kind::done)
      return false;
    if (when == dies::before_sync) {
      crash(n);
      return true;
    }
    if (step.as == kind::promise) {
      it.promised = step.what;
    } else {
      it.founded = step.what.record;
      it.joined = step.as == kind::join;
      if (step.as == kind::found)
        it.ever_founded.push_back(step.what.record.cluster);
    }
    if (when == dies::after_sync) {
      crash(n);
      return true;
    }
    if (step.as == kind::promise)
      it.running->promised(step.what);
    else
      it.running->founded(step.what.record);
    return true;
  }
  void round(std::uint64_t n) {
    if (!nodes.at(n).running)
      return;
    for (const auto& s : nodes.at(n).running->to_ask())
      ask(n, s);
    while (act(n)) {
    }
  }
  void rounds(int times) {
    for (int i = 0; i < times; ++i)
      for (auto& [n, it] : nodes)
        round(n);
  }
  std::set<cluster_id> clusters() const {
    std::set<cluster_id> out;
    for (const auto& [n, it] : nodes) {
      if (it.founded)
        out.insert(it.founded->cluster);
      out.insert(it.ever_founded.begin(), it.ever_founded.end());
    }
    return out;
  }
  bool all_in() const {
    return std::all_of(nodes.begin(), nodes.end(),
                       [](const auto& e) { return e.second.founded.has_value(); });
  }
};

world three_seeds() {
  world w;
  for (std::uint64_t n = 1; n <= 3; ++n)
    w.add(n, world::list(3));
  return w;
}

} // namespace

TEST_CASE("no first cluster is formed while a seed is silent, for however long") {
  auto w = three_seeds();
  w.start(1);
  w.start(2);
  w.rounds(50);
  CHECK(w.clusters().empty());
  CHECK_FALSE(w.nodes.at(1).promised);
  CHECK(w.nodes.at(1).running->decide().why.find("n3:1 is silent") != std::string::npos);
  w.start(3);
  w.rounds(3);
  CHECK(w.all_in());
  CHECK(w.clusters().size() == 1);
}

TEST_CASE("two halves of one seed list form no cluster while they cannot reach each other") {
  world w;
  for (std::uint64_t n = 1; n <= 4; ++n) {
    w.add(n, world::list(4));
    w.start(n);
  }
  for (auto [a, b] : {std::pair{1, 3}, {1, 4}, {2, 3}, {2, 4}})
    w.cut.insert({a, b});
  w.rounds(50);
  CHECK(w.clusters().empty());
  w.cut.clear();
  w.rounds(4);
  CHECK(w.all_in());
  CHECK(w.clusters().size() == 1);
}

TEST_CASE("if a seed belongs to a cluster, the others join it and form no other") {
  world w;
  w.add(3, {world::address(3)});
  w.start(3);
  w.rounds(1);
  REQUIRE(w.nodes.at(3).founded);
  w.add(1, world::list(3));
  w.add(2, world::list(3));
  w.start(1);
  w.start(2);
  w.rounds(4);
  CHECK(w.all_in());
  CHECK(w.clusters().size() == 1);
  CHECK(w.nodes.at(1).joined);
}

TEST_CASE("seeds of two clusters are not joined") {
  world w;
  w.add(2, {world::address(2)});
  w.add(3, {world::address(3)});
  w.start(2);
  w.start(3);
  w.rounds(1);
  REQUIRE(w.clusters().size() == 2);
  w.add(1, world::list(3));
  w.start(1);
  w.rounds(10);
  CHECK_FALSE(w.nodes.at(1).founded);
  CHECK(w.nodes.at(1).running->decide().why.find("two clusters") != std::string::npos);
}

TEST_CASE(
    "nodes with different seed lists, or with one number twice, form no cluster and report the reason") {
  auto w = three_seeds();
  w.nodes.at(2).seeds = {world::address(1), world::address(2)};
  for (std::uint64_t n = 1; n <= 3; ++n)
    w.start(n);
  w.rounds(10);
  CHECK(w.clusters().empty());
  CHECK(w.nodes.at(1).running->decide().why.find("another list of seeds") != std::string::npos);

  auto twins = three_seeds();
  twins.nodes.at(3).self.id = node_id{2};
  for (std::uint64_t n = 1; n <= 3; ++n)
    twins.start(n);
  twins.rounds(10);
  CHECK(twins.clusters().empty());
  CHECK(twins.nodes.at(1).running->decide().why.find("two nodes have the number 2") != std::string::npos);
}

TEST_CASE("a node that is not in the seed list never forms a cluster but waits to join one") {
  auto w = three_seeds();
  w.add(4, world::list(3));
  w.start(4);
  w.rounds(10);
  CHECK(w.clusters().empty());
  for (std::uint64_t n = 1; n <= 3; ++n)
    w.start(n);
  w.rounds(4);
  CHECK(w.all_in());
  CHECK(w.nodes.at(4).joined);
  CHECK(w.clusters().size() == 1);
  CHECK(w.nodes.at(1).founded->nodes.size() == 3);
}

TEST_CASE("a disk lost after its promise stops formation until the operator decides") {
  auto w = three_seeds();
  for (std::uint64_t n = 1; n <= 3; ++n)
    w.start(n);
  w.round(1); // proposes and promises
  REQUIRE(w.nodes.at(1).promised);
  w.lose_disk(3);
  w.start(3);
  w.rounds(20);
  CHECK(w.clusters().empty());
  CHECK(w.nodes.at(1).running->decide().why.find("--form") != std::string::npos);
  w.crash(1);
  w.nodes.at(1).form = true;
  w.start(1);
  w.rounds(5);
  CHECK(w.all_in());
  CHECK(w.clusters().size() == 1);
}

TEST_CASE("--form forms a cluster without the silent seeds, which join later, and changes nothing on nodes "
          "of a cluster") {
  auto w = three_seeds();
  w.nodes.at(2).form = true;
  w.start(1);
  w.start(2);
  w.rounds(1);
  CHECK(w.clusters().empty()); // a seed gets a few chances to answer
  w.rounds(5);
  REQUIRE(w.nodes.at(1).founded);
  REQUIRE(w.nodes.at(2).founded);
  CHECK(w.nodes.at(1).founded->nodes.size() == 2);
  w.start(3);
  w.rounds(3);
  CHECK(w.nodes.at(3).joined);
  CHECK(w.clusters().size() == 1);

  w.nodes.at(3).form = true;
  w.lose_disk(3);
  w.start(3);
  w.rounds(10);
  CHECK(w.nodes.at(3).joined);
  CHECK(w.clusters().size() == 1);
}

TEST_CASE("--form on every node forms one cluster, too") {
  auto w = three_seeds();
  for (std::uint64_t n = 1; n <= 3; ++n) {
    w.nodes.at(n).form = true;
    w.start(n);
  }
  w.rounds(8);
  CHECK(w.all_in());
  CHECK(w.clusters().size() == 1);
}

TEST_CASE("a single node forms a cluster") {
  world w;
  w.add(1, {world::address(1)});
  w.start(1);
  w.rounds(1);
  REQUIRE(w.nodes.at(1).founded);
  CHECK(first_members(*w.nodes.at(1).founded, shard_id{5}).size() == 1);
}

TEST_CASE("in whatever order the seeds start, every seed becomes a founder") {
  std::vector<std::uint64_t> order{1, 2, 3};
  do {
    auto w = three_seeds();
    for (auto n : order) {
      w.start(n);
      w.rounds(2);
    }
    w.rounds(2);
    CHECK(w.all_in());
    CHECK(w.clusters().size() == 1);
    for (const auto& [n, it] : w.nodes)
      CHECK_FALSE(it.joined);
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_CASE("a node that lost its disk after the founding joins with its new one") {
  auto w = three_seeds();
  for (std::uint64_t n = 1; n <= 3; ++n)
    w.start(n);
  w.rounds(4);
  REQUIRE(w.all_in());
  w.lose_disk(1);
  w.start(1);
  w.rounds(2);
  CHECK(w.nodes.at(1).joined);
  CHECK(w.clusters().size() == 1);
}

TEST_CASE("shards spread over the founders, with as many replicas as there are nodes up to three") {
  founding f;
  f.shards = 8;
  for (std::uint64_t n = 1; n <= 4; ++n) {
    f.nodes.push_back({node_id{n}, disk_id{n}, "", ""});
    std::map<node_id, int> holds;
    for (std::uint16_t s = 0; s < f.shards; ++s) {
      const auto members = first_members(f, shard_id{s});
      CHECK(members.size() == std::min<std::size_t>(3, n));
      for (const auto& m : members)
        ++holds[m.node];
    }
    for (const auto& [node, count] : holds)
      CHECK(count == static_cast<int>(8 * std::min<std::uint64_t>(3, n) / n));
  }
}

TEST_CASE("in whatever order things happen, crashes and partitions included, there are never two clusters, "
          "and one in the end") {
  for (std::uint64_t seed = 1; seed <= 3000; ++seed) {
    std::mt19937_64 chance{seed};
    const auto pick = [&](std::uint64_t n) { return chance() % n; };
    const auto n = 1 + pick(5);
    world w;
    for (std::uint64_t i = 1; i <= n; ++i) {
      auto seeds = world::list(n);
      std::shuffle(seeds.begin(), seeds.end(), chance);
      w.add(i, seeds);
    }
    for (int event = 0; event < 120; ++event) {
      const auto who = 1 + pick(n);
      auto& it = w.nodes.at(who);
      switch (pick(8)) {
      case 0:
        if (!it.running)
          w.start(who);
        break;
      case 1:
        if (pick(4) == 0)
          w.crash(who);
        break;
      case 2: {
        const auto other = 1 + pick(n);
        const auto pair = std::pair{std::min(who, other), std::max(who, other)};
        if (!w.cut.erase(pair) && pick(3) == 0)
          w.cut.insert(pair);
        break;
      }
      case 3:
        w.act(who, pick(6) == 0   ? world::dies::before_sync
                   : pick(5) == 0 ? world::dies::after_sync
                                  : world::dies::never);
        break;
      default: // answers of different age stand side by side
        if (it.running)
          if (const auto seeds = it.running->to_ask(); !seeds.empty())
            w.ask(who, seeds[pick(seeds.size())]);
      }
      CAPTURE(seed);
      REQUIRE(w.clusters().size() <= 1);
    }
    w.cut.clear();
    for (std::uint64_t i = 1; i <= n; ++i)
      if (!w.nodes.at(i).running)
        w.start(i);
    w.rounds(5);
    CAPTURE(seed);
    REQUIRE(w.all_in());
    REQUIRE(w.clusters().size() == 1);
    for (const auto& [id, it] : w.nodes)
      REQUIRE_FALSE(it.joined);
  }
}

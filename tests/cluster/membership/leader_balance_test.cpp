// Leaderships are evened out: always a little closer, never back and forth, and not at all while anything else happens.
#include "cluster/membership/leader_balance.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

using namespace parley;
using namespace parley::cluster;
using namespace std::chrono_literals;

namespace {

/// Node 1 leads six shards of three members each, and nobody leads anything else.
balance_facts six_to_none() {
  balance_facts f;
  f.self = node_id{1};
  f.leaders.assign(6, f.self);
  for (std::uint16_t s = 0; s < 6; ++s)
    f.led.push_back({shard_id{s}, {node_id{2}, node_id{3}}});
  f.calm = calm_min;
  return f;
}

/// Nodes that see each other's leaderships only after a while, in virtual time.
struct virtual_cluster {
  std::vector<std::vector<node_id>> members; ///< by shard
  std::vector<node_id> leaders;              ///< by shard
  std::chrono::milliseconds lag{0};          ///< until every second node sees a change
  std::chrono::milliseconds now{1h};
  std::vector<std::pair<std::chrono::milliseconds, std::vector<node_id>>> history{{0ms, {}}};
  std::set<node_id> unfit; ///< members that no hand-over reaches
  std::map<node_id, std::size_t> attempts;
  std::size_t moves = 0;

  virtual_cluster(std::size_t nodes, std::size_t shards, std::size_t replicas, std::mt19937& luck) {
    std::vector<node_id> all;
    for (std::size_t n = 1; n <= nodes; ++n)
      all.push_back(node_id{n});
    for (std::size_t s = 0; s < shards; ++s) {
      std::vector<node_id> some;
      for (std::size_t i = 0; i < std::min(replicas, nodes); ++i)
        some.push_back(all[(s + i) % nodes]);
      members.push_back(some);
      leaders.push_back(some[std::uniform_int_distribution<std::size_t>{0, some.size() - 1}(luck)]);
    }
    history.back().second = leaders;
  }
  std::map<node_id, std::size_t> leads() const {
    std::map<node_id, std::size_t> n;
    for (const auto& m : members)
      for (const auto who : m)
        n[who];
    for (const auto l : leaders)
      ++n[l];
    return n;
  }
  std::size_t squares() const {
    std::size_t sum = 0;
    for (const auto& [node, n] : leads())
      sum += n * n;
    return sum;
  }
  /// What a node sees.
  balance_facts seen_by(node_id self, std::size_t attempt) const {
    const auto late = number(self) % 2 == 0 ? lag : 0ms;
    const auto seen = std::ranges::find_if(history.rbegin(), history.rend(),
                                           [&](const auto& h) { return h.first + late <= now; });
    balance_facts f;
    f.self = self;
    f.leaders = seen->second;
    f.attempt = attempt;
    f.calm = now - seen->first - late;
    for (std::size_t s = 0; s < leaders.size(); ++s) {
      if ((f.leaders[s] == self) != (leaders[s] == self))
        f.calm = 0ms; // its own change
      if (leaders[s] != self)
        continue;
      f.led.push_back({shard_id{static_cast<std::uint16_t>(s)}, {}});
      for (const auto m : members[s])
        if (m != self)
          f.led.back().others.push_back(m);
    }
    return f;
  }
  void pass(std::chrono::milliseconds time) {
    for (const auto until = now + time; now < until; now += 2s)
      for (const auto& [node, n] : leads()) {
        const auto move = even_out(seen_by(node, attempts[node]));
        attempts[node] += move ? 1 : 0;
        if (!move || unfit.contains(move->to))
          continue;
        REQUIRE(leaders.at(number(move->shard)) == node);
        REQUIRE(std::ranges::count(members.at(number(move->shard)), move->to) == 1);
        const auto before = squares();
        leaders[number(move->shard)] = move->to;
        CHECK(squares() < before);
        history.emplace_back(now, leaders);
        attempts.clear(); // all of them see it
        ++moves;
      }
  }
};

} // namespace

TEST_CASE("a node that leads many more shards hands one over to the member that leads fewest") {
  auto f = six_to_none();
  const auto move = even_out(f);
  REQUIRE(move);
  CHECK(number(move->to) != 1);
  f.leaders[5] = node_id{2};
  f.led.pop_back();
  CHECK(even_out(f)->to == node_id{3});
}

TEST_CASE("tries differ, so that a member that is not fit is not tried for ever") {
  auto f = six_to_none();
  std::set<leader_move> tried;
  for (f.attempt = 0; f.attempt < 12; ++f.attempt)
    tried.insert(*even_out(f));
  CHECK(tried.size() == 12);
}

TEST_CASE("nothing is handed over before it has been calm, nor while a shard has no leader") {
  auto f = six_to_none();
  f.calm = calm_min - 1ms;
  CHECK_FALSE(even_out(f));
  f.calm = calm_min;
  REQUIRE(even_out(f));
  f.leaders.push_back(node_id::none);
  CHECK_FALSE(even_out(f));
}

TEST_CASE("while a node drains, however long, no leadership moves: it would be the one that leads fewest") {
  auto f = six_to_none();
  f.calm = calm_min;
  REQUIRE(even_out(f));
  f.draining = {node_id{3}};
  CHECK_FALSE(even_out(f));
}

TEST_CASE("nodes that lead one or two shards more than others keep them") {
  auto f = six_to_none();
  f.calm = 24h;
  f.leaders = {node_id{1}, node_id{1}, node_id{1}, node_id{2}, node_id{3}, node_id{3}};
  f.led.resize(3);
  CHECK_FALSE(even_out(f));
  f.calm = calm_min;
  f.leaders[3] = f.leaders[5] = node_id{1};
  f.led = six_to_none().led;
  f.led.resize(5);
  REQUIRE(even_out(f));
  CHECK(even_out(f)->to == node_id{2});
}

TEST_CASE("the node with most comes first, and others in their turns only if it does nothing") {
  auto f = six_to_none();
  for (int i = 0; i < 7; ++i)
    f.leaders.push_back(node_id{4}); // of which this node has no replica
  CHECK_FALSE(even_out(f));
  f.calm = calm_min + turn_every;
  CHECK(even_out(f));
  f.calm += turn_used;
  CHECK_FALSE(even_out(f));
  f.calm = calm_min + 2 * turn_every; // the other one's again
  CHECK_FALSE(even_out(f));
}

TEST_CASE("a node that leads nothing, and a cluster of one node, have nothing to hand over") {
  auto f = six_to_none();
  f.led.clear();
  f.leaders.assign(6, node_id{2});
  f.calm = 24h;
  CHECK_FALSE(even_out(f));
  f.leaders.assign(6, node_id{1});
  for (std::uint16_t s = 0; s < 6; ++s)
    f.led.push_back({shard_id{s}, {}});
  CHECK_FALSE(even_out(f));
}

TEST_CASE(
    "three nodes of which one leads all are even within a third of a minute for each shard, and stay so") {
  std::mt19937 luck{1};
  virtual_cluster c{3, 12, 3, luck};
  c.leaders.assign(12, node_id{1});
  c.history = {{0ms, c.leaders}};
  c.pass(8 * (calm_min + 2s) + 1min);
  for (const auto& [node, n] : c.leads())
    CHECK(n >= 3);
  CHECK(c.moves <= 8);
  const auto moves = c.moves;
  c.pass(24h);
  CHECK(c.moves == moves);
}

TEST_CASE(
    "whatever the cluster's shape, leaderships come closer to even, stop, and never go back and forth") {
  for (std::uint32_t seed = 1; seed <= 30; ++seed) {
    CAPTURE(seed);
    std::mt19937 luck{seed};
    const auto draw = [&](std::size_t from, std::size_t to) {
      return std::uniform_int_distribution<std::size_t>{from, to}(luck);
    };
    virtual_cluster c{draw(1, 9), draw(1, 64), 2 * draw(0, 3) + 1, luck};
    c.lag = std::chrono::milliseconds{draw(0, 1'500)};
    if (draw(0, 3) == 0)
      c.unfit.insert(node_id{draw(1, 9)});
    c.pass(90min);
    CHECK(c.moves <= c.leaders.size()); // none of them twice, on the average
    const auto leads = c.leads();
    for (std::size_t s = 0; s < c.leaders.size(); ++s)
      for (const auto m : c.members[s])
        if (!c.unfit.contains(m))
          CHECK(leads.at(c.leaders[s]) < leads.at(m) + surplus_min);
    const auto moves = c.moves;
    c.pass(30min);
    CHECK(c.moves == moves);
  }
}

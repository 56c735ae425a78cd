// What a node says of itself is true: it is ready exactly if every shard has a majority that it can reach,
// and it knows who leads each.
#include "cluster/node/health.hpp"
#include "tests/sim/world.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace parley::sim {
namespace {

/// A stalled link is given up after `keepalive`, a leader without followers steps down, the others elect
/// one, and a gap counts after `leader_gap_max`.
constexpr micros true_within = 20 * one_second;

} // namespace

/// Empty, or which node says of itself what is not so, if those of `alone` are cut off from all others. One that is gone says nothing.
std::string world::untrue(const std::set<node_id>& alone) {
  std::map<shard_id, cluster::replica_status> newest; // as its leader has it, or whoever has heard most
  for (auto& n : nodes_)
    for (auto& r : n->status()) {
      auto& is = newest.try_emplace(r.shard, r).first->second;
      const bool leads = r.as == cluster::replica_status::role::leader;
      if (std::tuple{r.gen, r.term, leads} >
          std::tuple{is.gen, is.term, is.as == cluster::replica_status::role::leader})
        is = r;
    }
  for (auto& n : nodes_) {
    if (n->id() == gone_)
      continue;
    const auto reaches = [&](node_id other) {
      if (other == gone_)
        return false;
      return other == n->id() || (!alone.contains(n->id()) && !alone.contains(other));
    };
    bool should = true;
    for (const auto& [shard, r] : newest)
      should &= 2 * static_cast<std::size_t>(
                        std::ranges::count_if(r.members, [&](const auto& m) { return reaches(m.node); })) >
                r.members.size();
    const auto facts = n->health(nodes_.size());
    const auto says = cluster::ready_of(facts);
    if (says.ready != should)
      return fmt::format("node {} says \"{}\", and it should {}be ready", number(n->id()), says.why,
                         should ? "" : "not ");
    if (!alone.empty())
      continue;
    for (const auto& [shard, r] : newest)
      if (facts.leaders.at(number(shard)) != r.leader)
        return fmt::format("node {} takes node {} for the leader of shard {}, and it is node {}",
                           number(n->id()), number(facts.leaders.at(number(shard))), number(shard),
                           number(r.leader));
  }
  return {};
}

void world::expect_truth(const std::set<node_id>& alone) {
  std::string why;
  if (!until(true_within, [&] { return (why = untrue(alone)).empty(); }))
    sim_.violate("liveness: " + why);
}

/// One node is cut off for longer than in a storm, while nothing else happens.
void world::examine_cut_off() {
  const auto alone = any_node().id();
  const auto set = [&](fuzz::blocked how) {
    for (auto& n : nodes_)
      if (n->id() != alone) {
        net_.block(alone, n->id(), how);
        net_.block(n->id(), alone, how);
      }
  };
  set(sim_.luck.percent(50) ? fuzz::blocked::stalls : fuzz::blocked::drops);
  expect_truth({alone});
  set(fuzz::blocked::no);
}

} // namespace parley::sim

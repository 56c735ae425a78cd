#include "cluster/membership/leader_balance.hpp"

#include <algorithm>
#include <map>

namespace parley::cluster {

std::optional<leader_move> even_out(const balance_facts& f) {
  if (f.calm < calm_min || std::ranges::count(f.leaders, node_id::none) != 0)
    return std::nullopt;
  // What a draining node gave away would be given back to it, for as long as its clients let it wait.
  if (!f.draining.empty())
    return std::nullopt;
  std::map<node_id, std::size_t> leads; // a node without any is in it once it is asked for
  for (const auto n : f.leaders)
    ++leads[n];
  const auto mine = leads[f.self];
  const auto before_me = std::ranges::count_if(leads, [&](const auto& other) {
    return other.second > mine || (other.second == mine && other.first < f.self);
  });
  const auto since = f.calm - calm_min;
  const auto turn = since / turn_every;
  if (turn % static_cast<std::ptrdiff_t>(leads.size()) != before_me || since % turn_every >= turn_used)
    return std::nullopt;

  /// A member that might receive one, and the shards of which it might.
  struct receiver {
    std::size_t leads = 0;
    node_id node{};
    std::vector<shard_id> shards;
  };
  std::map<node_id, receiver> by_node;
  for (const auto& [shard, others] : f.led)
    for (const auto to : others)
      if (const auto theirs = leads[to]; to != f.self && theirs + surplus_min <= mine) {
        auto& r = by_node.try_emplace(to, receiver{theirs, to, {}}).first->second;
        r.shards.push_back(shard);
      }
  if (by_node.empty())
    return std::nullopt;
  std::vector<receiver> receivers;
  for (auto& [node, r] : by_node)
    receivers.push_back(std::move(r));
  std::ranges::stable_sort(receivers, {}, &receiver::leads);
  const auto& r = receivers[f.attempt % receivers.size()];
  return leader_move{r.shards[f.attempt / receivers.size() % r.shards.size()], r.node};
}

} // namespace parley::cluster

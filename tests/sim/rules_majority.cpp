// A majority is enough: what holds in a calm holds without a node that does not come back, too. Whoever was connected to it
// goes to another one.
#include "tests/sim/world.hpp"

#include <algorithm>

namespace parley::sim {

/// Whether each shard has a majority of its newest members without the node. Of a shard whose members are all down it is not
/// known.
bool world::is_dispensable(node_id node) {
  std::map<shard_id, cluster::replica_status> newest;
  for (auto& n : nodes_)
    for (const auto& r : n->status())
      if (auto& is = newest.try_emplace(r.shard, r).first->second; r.gen > is.gen)
        is = r;
  return newest.size() == profile_.shards && std::ranges::all_of(newest, [&](const auto& shard) {
           const auto& members = shard.second.members;
           const auto left = std::ranges::count_if(members, [&](const auto& m) { return m.node != node; });
           return 2 * static_cast<std::size_t>(left) > members.size();
         });
}

/// In a part of the seeds in which no shard moves away from a dead node, or to it, `when` the storm ends or all has settled
/// after it. Where an operator moves shards, they are to be where they shall be before.
void world::lose_one_for_good(moment when) {
  fuzz::chance luck{mix64(options_.seed ^ 0x676f6e65) + static_cast<std::uint64_t>(when)};
  if (gone_ != node_id::none || options_.disks || options_.rescues || shape_.tends_itself ||
      (when == moment::storm_ends && shape_.seal_every != 0) || options_.without.contains("gone-for-good") ||
      !luck.percent(33))
    return;
  auto& node = *luck.pick(nodes_);
  if (!is_dispensable(node.id()))
    return;
  ++judge_.count.gone_for_good;
  sim_.note("gone-for-good", number(node.id()));
  take_down(node, 0);
  node.keep_down(true);
  gone_ = node.id();
}

} // namespace parley::sim

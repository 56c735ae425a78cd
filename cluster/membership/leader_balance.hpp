#pragma once
// Which leadership a node hands over, so that none leads many more shards than others for long.
//
// Nothing in Raft moves a leadership back after a node was away, so after restarts one node may lead everything for hours, with
// the syncs, the CPU and the traffic of all. Each hand-over makes calls of one shard wait for some milliseconds, so there is
// no hurry: one at a time in the whole cluster, only while nothing else happens, and none at all where the nodes are about even.
//
// Thread: any. Pure functions with time as an argument. Whether the member that is chosen is fit to lead at this moment is
// seen only by the replica that hands over (`replication::offer_leadership`).
#include "protocol/values/types.hpp"

#include <chrono>
#include <cstddef>
#include <optional>
#include <set>
#include <vector>

namespace parley::cluster {

struct balance_facts {
  node_id self{};
  std::vector<node_id> leaders; ///< by shard; `none`: it has none that can be reached from here
  struct led_shard {
    shard_id shard{};
    std::vector<node_id> others; ///< its other members
  };
  std::vector<led_shard> led;        ///< the shards that this node leads
  std::set<node_id> draining;        ///< nodes that are about to end, and lead nothing any more
  std::size_t attempt = 0;           ///< rises with each try: a member that was not fit is not tried for ever
  std::chrono::milliseconds calm{0}; ///< nothing has changed, and nothing was amiss, for so long
};

struct leader_move {
  shard_id shard{};
  node_id to{};
  auto operator<=>(const leader_move&) const = default;
};

/// A node hands over only to one that leads so many fewer shards. Afterwards the difference is two less, so the receiver never
/// hands back, and each hand-over brings the cluster closer to even: the sum of the squares falls.
inline constexpr std::size_t surplus_min = 3;
/// The calm that comes before each hand-over, which is itself a change: in a cluster whose nodes see the same, that is the pace.
inline constexpr std::chrono::seconds calm_min{30};
/// After it the nodes that lead anything take turns of this length, the one with most leaderships first.
inline constexpr std::chrono::seconds turn_every{6};
/// A node hands over only at the beginning of its turn, so that the next one sees it before its own turn comes, although their
/// clocks began at different moments.
inline constexpr std::chrono::seconds turn_used{3};

/// The leadership to hand over now, if any: at the first attempt to the member that leads fewest.
std::optional<leader_move> even_out(const balance_facts& facts);

} // namespace parley::cluster

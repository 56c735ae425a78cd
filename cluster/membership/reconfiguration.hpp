#pragma once
// Which members a shard should continue with. Its leader decides this from facts, one change at a time.
//
// A node that lost its disk returns with another one, and the vote of the old disk is lost: a seal replaces
// the old disk by the new one. A shard with fewer members than it should have gets nodes that joined since, but
// never an even number of members on the way: two stop when either fails, so one is better until there are
// three. Nothing else changes: a node that cannot be reached keeps its place.
//
// Thread: any. A pure function: nodes with the same facts decide the same.
#include "actors/core/commands.hpp"
#include "cluster/replication/replication.hpp"
#include "protocol/values/settings.hpp"

#include <optional>
#include <set>
#include <vector>

namespace parley::cluster {

struct reconfiguration_facts {
  shard_id shard{};
  std::vector<member> members;
  std::vector<core::node_record> nodes; ///< from the meta shard: each node with its newest disk
  std::set<node_id> reachable;          ///< from this node, which itself counts as reachable, listed or not
  node_id self{};
  std::uint16_t replicas = settings::replicas.standard; ///< the wanted number, if there are so many nodes
};

/// The members of the next generation, ascending; `none` if no change is needed, or none is possible now.
std::optional<std::vector<member>> reconfigure(const reconfiguration_facts& facts);

} // namespace parley::cluster

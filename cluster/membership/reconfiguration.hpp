#pragma once
// Which members a shard should go on with: decided by its leader, from facts, one change at a time.
//
// A node that lost its disk comes back with another one, and the old one's vote is gone: its place goes to
// the new disk, by a seal. A shard with fewer members than it should have gets those that joined since.
// Nothing else moves: a node that is merely away keeps its place.
//
// Thread: any; a pure function, the same answer on every node that knows the same.
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
  std::set<node_id> reachable;          ///< from here; this node counts as reachable, listed or not
  node_id self{};
  std::uint16_t replicas = settings::replicas.standard; ///< wanted, if there are so many nodes
};

/// The next generation's members, ascending; nothing: all is as it should be, or cannot be better now.
std::optional<std::vector<member>> reconfigure(const reconfiguration_facts& facts);

} // namespace parley::cluster

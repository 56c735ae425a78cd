#pragma once
// Whether a node serves clients, and whether its shards would survive a loss: pure decisions, and the sentences that
// /readyz and /wholez show. Both name shard, cause and what to do.
#include "actors/core/shards.hpp"
#include "cluster/links/link_outlet.hpp"
#include "cluster/ops/admin_server.hpp"
#include "cluster/replication/replication.hpp"

#include <chrono>
#include <cstddef>
#include <map>
#include <set>
#include <vector>

namespace parley::cluster {

/// What a node knows at one moment.
struct health_facts {
  node_id self{};
  std::vector<node_id> leaders; ///< by shard, as the router knows them; `none`: unknown
  std::vector<core::replica_status> replicas;
  std::vector<link_status> links;
  std::vector<silent_member> silent; ///< members of shards led here that do not answer
  std::set<shard_id> damaged;        ///< a row of the replica here does not match its checksum
  std::size_t replicas_wanted = 1;   ///< of each shard, by the cluster's setting
  std::size_t nodes = 1;             ///< in the cluster's list
  bool store_answers = true;
  bool has_room = true;                 ///< on the disk, for messages
  std::int64_t clock_difference_ms = 0; ///< by which most nodes are ahead of this one; 0 while it is believed
};

/// Whether clients can be served through this node, wherever the replicas are.
admin_source::readiness ready_of(const health_facts& f);

/// Whether all replicas that this node holds, and all members of the shards that it leads, are there and sound. The
/// cluster is whole if all its nodes are.
admin_source::readiness whole_of(const health_facts& f);

/// How many replicas the shards that this node leads lack: members that do not answer, and members to be added.
std::size_t missing_replicas(const health_facts& f);

/// Decides when the operator is told of a node that is away.
class absences {
public:
  using clock = std::chrono::steady_clock;
  static constexpr std::chrono::minutes first_after{1};
  static constexpr std::chrono::hours again_after{1};
  /// The nodes to tell of now: away for `first_after`, or told of `again_after` ago.
  std::vector<node_id> due(const std::vector<link_status>& links, clock::time_point now);

private:
  struct absence {
    clock::time_point since, tell_at;
  };
  std::map<node_id, absence> away_;
};

} // namespace parley::cluster

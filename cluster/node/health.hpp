#pragma once
// Whether a node serves clients, and whether its shards would survive a loss: pure decisions, and the sentences that
// /readyz and /wholez show. Both name shard, cause and what to do.
#include "actors/core/leader_gaps.hpp"
#include "actors/core/shards.hpp"
#include "cluster/links/link_outlet.hpp"
#include "cluster/ops/admin_server.hpp"
#include "cluster/replication/replication.hpp"
#include "protocol/gateway/pulse.hpp"

#include <chrono>
#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace parley::cluster {

/// A gateway that has not turned for so long serves nobody. Its loop turns every half second, and each turn is short:
/// what takes longer is a fault, or a machine without a processor for it.
inline constexpr std::chrono::seconds gateway_still_max{10};

/// Committed entries that a replica may lack, or has not applied, and is still counted as one that could take over at
/// once: twice what a leader has on its way to a follower under load (`inflight_entries_max`).
inline constexpr std::uint64_t behind_max = 8'192;

/// A shard may lack a leader for so long before a node counts as not ready: a planned change of members or of the leader
/// takes a part of it, and a load balancer that hears 503 of every healthy node meanwhile has none left. In a planned change
/// the leader is unknown for that time, and a call waits for one for as long as the router parks it, which is longer. If the
/// leader's node is lost, calls to the shard are refused at once until another one is elected (`unavailable`, and clients
/// try again), through whichever node they come: another one would not serve them better.
inline constexpr std::chrono::milliseconds leader_gap_max{1'500};

/// What a node knows at one moment.
struct health_facts {
  node_id self{};
  gateway::pulse_clock::time_point at{};    ///< the moment
  std::vector<gateway::heartbeat> gateways; ///< by thread
  std::vector<node_id> leaders;             ///< by shard, as the router knows them; `none`: unknown
  core::leader_gaps::since without_since;   ///< by shard, of those without a leader that can be reached
  std::set<node_id> full;                   ///< other nodes that say that their disks have no room
  std::vector<core::replica_status> replicas;
  std::vector<link_status> links;
  std::vector<silent_member> silent;   ///< members of shards led here that do not answer
  std::vector<lagging_member> lagging; ///< members of shards led here that lack committed entries
  std::vector<shard_id> diverged;      ///< a leader contradicts what is committed here
  std::set<shard_id> damaged;          ///< a row of the replica here does not match its checksum
  std::size_t replicas_wanted = 1;     ///< of each shard, by the cluster's setting
  std::size_t nodes = 1;               ///< in the cluster's list
  bool store_answers = true;
  bool has_room = true;                  ///< on the disk, for messages
  bool client_certificate_ended = false; ///< clients that connect refuse it
  std::int64_t clock_difference_ms = 0; ///< by which most nodes are ahead of this one; 0 while it is believed
};

/// Whether clients can be served through this node, wherever the replicas are; want of room on other nodes' disks is seen
/// only for shards with a replica here. A shard without a leader counts once that has lasted for `leader_gap_max`, and at
/// once if this node has not known a leader of it since its start.
admin_source::readiness ready_of(const health_facts& f);

/// Which gateway threads do not turn, or do not accept: a sentence that begins with the first; empty if all do.
std::string standstill_of(const std::vector<gateway::heartbeat>& gateways,
                          gateway::pulse_clock::time_point now);

/// Whether all replicas that this node holds, and all members of the shards that it leads, are there and sound. The
/// cluster is whole if all its nodes are.
admin_source::readiness whole_of(const health_facts& f);

/// How many replicas the shards that this node leads lack: members that do not answer, and members to be added.
std::size_t missing_replicas(const health_facts& f);

/// How many replicas here, and members of the shards that this node leads, are more than `behind_max` behind.
std::size_t replicas_far_behind(const health_facts& f);

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

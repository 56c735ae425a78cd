#pragma once
#include "actors/core/cluster_clock.hpp"
#include "actors/core/kept_answers.hpp"
#include "actors/core/leader_gaps.hpp"
#include "actors/interfaces.hpp"
#include "actors/refused_calls.hpp"
#include "protocol/values/config_fault.hpp"
#include "protocol/values/counters.hpp"
#include "protocol/values/node_limits.hpp"

#include <atomic>
#include <chrono>
#include <mutex>
#include <set>
#include <unordered_map>
#include <vector>

namespace parley {

/// Sends bytes on the calls lane. False: the peer is not reachable now, or its window is full.
class peer_port {
public:
  virtual ~peer_port() = default;
  virtual bool send(node_id to, std::string payload) = 0;
};

/// The cluster as the router knows it.
struct cluster_view {
  std::vector<node_id> leaders;           ///< by shard; `none`: not known
  core::leader_gaps::since without_since; ///< by shard: since when it has no leader that can be reached
  std::set<node_id> full;                 ///< nodes that said last that their disks have no room for messages
  std::set<node_id> draining;             ///< nodes linked here that said that they are about to end
  /// When a leader, a session with a peer, `full` or `draining` changed last.
  std::chrono::steady_clock::time_point changed_at{};
};

/// Thread: the router's writes, any reads.
class known_cluster {
public:
  void set(cluster_view view) {
    std::lock_guard guard{mutex_};
    std::swap(view_, view);
  }
  cluster_view read() const {
    std::lock_guard guard{mutex_};
    return view_;
  }

private:
  mutable std::mutex mutex_;
  cluster_view view_;
};

/// What the router knows, and what it could not pass on. Thread: any.
struct router_counters {
  known_cluster cluster;
  /// Of peers: payloads that are unreadable or of a kind that this node does not know, such commands, and
  /// answers that do not belong to the call whose number they have.
  counter payloads_refused{0};
  counter payloads_unsent{0}; ///< answers and deliveries that the link did not take, each time it was asked
};

struct router_config {
  node_id node{};
  std::uint64_t process = 0; ///< random: tells other nodes that this is a new process
  std::uint16_t shards = 64;
  std::size_t forwarded_max = 65'536;              ///< calls under way to other nodes
  std::size_t parked_max = 16'384;                 ///< calls that wait for a leader to be known
  std::size_t parked_bytes_max = 32 << 20;         ///< of these calls, as they would be sent
  std::chrono::milliseconds park_for{2000};        ///< then `unavailable`
  std::chrono::milliseconds answer_within{10'000}; ///< of a forwarded call; then `timed_out`
  std::size_t hosted_max = 65'536;                 ///< calls of other nodes under way here; above: overloaded
  std::chrono::milliseconds hosted_within{10'000}; ///< then they are answered `timed_out`
  std::chrono::milliseconds sweep_every{100};
  /// How often the node announces to its peers which shards it leads. A peer ignores this for a shard while
  /// its own replica takes part, and needs it when that replica stops.
  std::chrono::milliseconds announce_every{5000};
  /// When a session with a peer begins, the users whose shards it leads are told, spread over this time: what
  /// it pushed to them may be lost, and each of them asks it for what is missing.
  std::chrono::milliseconds rehome_within{1000};
  /// Sessions of other nodes that are to be told that they missed a push. Those above the bound find it out
  /// by their heartbeat.
  std::size_t missed_max = 65'536;
  core::kept_answers::bounds kept; ///< answers that a full link did not take; each sweep offers them again
  /// Of one payload to another node. More is split: a link refuses what is larger than its queue. A single
  /// item that is larger travels alone.
  std::size_t payload_bytes_max = calls_payload_bytes_max;
  router_counters* counters = nullptr;  ///< outlives the actor; may be null
  refused_calls* refused = nullptr;     ///< the same
  core::cluster_clock* clock = nullptr; ///< compared with those of the peers; outlives the actor; may be null
  /// Whether this node's disk has room for messages: the peers are told. It outlives the actor; may be null.
  const std::atomic<bool>* has_room = nullptr;
  const std::atomic<bool>* drains = nullptr; ///< whether this node is about to end: the same
};
config_check validate(const router_config& config);

/// What the ROUTER is sent once, before the first call: shards need the router's handle, so they are spawned
/// after it. The port outlives every actor.
struct router_wiring {
  std::unordered_map<std::uint16_t, shard_actor> shards; ///< all shards, with a replica here or without
  peer_port* peers = nullptr;
};

} // namespace parley
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::router_wiring)

namespace parley {

/// The ROUTER as its node assembles it, with one more message than its other users see.
using wired_router_actor = router_actor::extend<caf::reacts_to<router_wiring>>;
wired_router_actor spawn_router(caf::actor_system& sys, router_config config);

} // namespace parley

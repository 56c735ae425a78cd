#pragma once
#include "actors/interfaces.hpp"

#include <chrono>
#include <unordered_map>

namespace parley {

/// Sends bytes on the calls lane. False: the peer is not reachable now, or its window is full.
class peer_port {
public:
  virtual ~peer_port() = default;
  virtual bool send(node_id to, std::string payload) = 0;
};

struct router_config {
  node_id node{};
  std::uint64_t process = 0; ///< random; other nodes tell this process from the one before by it
  std::uint16_t shards = 64;
  std::size_t forwarded_max = 65'536;              ///< calls under way to other nodes
  std::size_t parked_max = 16'384;                 ///< calls that wait for a leader to be known
  std::chrono::milliseconds park_for{2000};        ///< then `unavailable`
  std::chrono::milliseconds answer_within{10'000}; ///< of a forwarded call; then `timed_out`
  std::size_t hosted_max = 65'536;                 ///< calls of other nodes under way here; above: overloaded
  std::chrono::milliseconds hosted_within{10'000}; ///< then other nodes are told `timed_out`
  std::chrono::milliseconds sweep_every{100};
  std::size_t deliveries_bytes_max = 64 << 10; ///< per payload to another node
};
caf::error validate(const router_config& config);

/// Spawns the ROUTER. `shards` and the port come later, since they need its handle: call `wire` once, before
/// the first call. The port outlives every actor.
struct router_wiring {
  std::unordered_map<std::uint16_t, shard_actor> shards; ///< replicas on this node
  peer_port* peers = nullptr;
  /// The nodes with a replica of each shard. The router announces to them which shards it leads.
  std::vector<std::vector<node_id>> replica_nodes;
};

} // namespace parley
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::router_wiring)

namespace parley {

/// The ROUTER as its node assembles it: one message more than everybody else sees.
using wired_router_actor = router_actor::extend<caf::reacts_to<router_wiring>>;
wired_router_actor spawn_router(caf::actor_system& sys, router_config config);

} // namespace parley

#pragma once
// The DIRECTORY actor: keeps this node in the meta shard's list, reads the records of the others, and
// reconfigures the shards that are led here when a member's disk is gone or a node could join, by this list. While nothing
// happens it evens out leaderships (leader_balance.hpp).
#include "actors/interfaces.hpp"
#include "actors/router.hpp"
#include "protocol/values/settings.hpp"

#include <chrono>
#include <functional>

namespace parley::cluster {

struct directory_config {
  core::node_record self;
  std::uint16_t replicas = settings::replicas.standard;
  std::chrono::milliseconds look_every{2000};
  std::size_t seals_max = 8;                     ///< shards reconfigured per `look_every`
  std::chrono::milliseconds answer_within{5000}; ///< after it the question is sent again
  /// Called with all nodes whenever they have been read, on any thread.
  std::function<void(const std::vector<core::node_record>&)> learn;
  /// Whether a node can be reached from here; called on any thread.
  std::function<bool(node_id)> reachable;
  /// The cluster as the router knows it; called on any thread.
  std::function<cluster_view()> cluster;
};

/// The actor also receives the `core::node_record` of a node that has just joined, and proposes to list it.
caf::actor spawn_directory(caf::actor_system& sys, directory_config config, router_actor router,
                           store_actor store);

} // namespace parley::cluster
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::core::node_record)

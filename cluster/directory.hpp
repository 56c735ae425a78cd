#pragma once
// The DIRECTORY actor: keeps this node in the meta shard's list, learns of others, and reconfigures the
// shards that are led here when the list says that a member's disk is gone or a node could join.
#include "actors/interfaces.hpp"

#include <chrono>
#include <functional>

namespace parley::cluster {

struct directory_config {
  core::node_record self;
  std::uint16_t replicas = 3;
  std::chrono::milliseconds look_every{2000};
  std::chrono::milliseconds answer_within{5000};       ///< then the question is asked anew
  std::function<void(const core::node_record&)> learn; ///< called for every other node; any thread
};

caf::actor spawn_directory(caf::actor_system& sys, directory_config config, router_actor router,
                           store_actor store);

} // namespace parley::cluster

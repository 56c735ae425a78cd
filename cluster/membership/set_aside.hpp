#pragma once
// When a fenced node may begin anew: only where a majority without it has everything (docs/decisions/0032).
#include "cluster/links/links.hpp"
#include "cluster/membership/formation.hpp"

#include <atomic>
#include <chrono>
#include <string>
#include <vector>

namespace parley::cluster {

struct set_aside_config {
  core::node_record self;
  std::vector<endpoint> ask; ///< seeds, and where the other nodes were last
  std::chrono::milliseconds ask_every{2000};
};

/// Whether these answers to `whole_without` show it: together they name every shard of one cluster, and nobody has a
/// session with another process of the node that asks.
bool are_whole(const std::vector<formation_answer>& answers);

/// Asks until the answers of one round show it, and returns true; or false when `stop` is set.
bool wait_until_whole(const set_aside_config& config, links& transport, const std::atomic<bool>& stop);

} // namespace parley::cluster

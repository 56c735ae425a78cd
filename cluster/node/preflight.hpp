#pragma once
// What can be known to be wrong before a node touches its data or speaks to anybody: each as a sentence that
// says what to do. Later checks find the same, but later: after a cluster was formed that its clients cannot
// reach.
#include "cluster/ops/node_config.hpp"

#include <optional>
#include <string>
#include <vector>

namespace parley::cluster {

/// The first thing that is in the way: certificates, ports, data directory. Looks, and changes nothing.
std::optional<std::string> objection(const node_config& config);

/// What may be right later: seeds whose names cannot be looked up.
std::vector<std::string> doubts(const node_config& config);

} // namespace parley::cluster

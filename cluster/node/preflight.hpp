#pragma once
// Checks before a node touches its data or opens a connection; each failure is a sentence that says what
// to do. Without them, later checks would find the same faults, but only after a cluster was formed that
// its clients cannot reach.
#include "cluster/ops/node_config.hpp"

#include <optional>
#include <string>
#include <vector>

namespace parley::cluster {

/// The first fault of certificates, ports or data directory, or `none`. Changes nothing.
std::optional<std::string> objection(const node_config& config);

/// Faults that may go away by themselves: seeds whose names cannot be resolved.
std::vector<std::string> doubts(const node_config& config);

} // namespace parley::cluster

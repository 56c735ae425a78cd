#pragma once
// Checks before a node touches its data or opens a connection; each failure is a sentence that says what
// to do. Without them, later checks would find the same faults, but only after a cluster was formed that
// its clients cannot reach.
#include "cluster/ops/node_config.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace parley::cluster {

/// The first fault of certificates, ports or data directory, or `none`. Changes nothing.
std::optional<std::string> objection(const node_config& config);

/// Whether a file system of this kind (`statfs`, f_type) takes new space for what is overwritten in place.
bool copies_on_write(std::int64_t file_system);

/// What a node can live with: seeds whose names cannot be resolved now, a file system that copies on write.
std::vector<std::string> doubts(const node_config& config);

} // namespace parley::cluster

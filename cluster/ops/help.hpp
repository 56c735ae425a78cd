#pragma once
// What `parleyd --help` and `parleyd --print-config` print: texts made from the declarations of all settings.
#include "cluster/ops/node_config.hpp"

#include <cstddef>
#include <string>

namespace parley::cluster {

/// Broken into lines of at most `columns`, which is taken to be at least 60 and at most 120.
std::string help_text(std::size_t columns);

/// Every setting of `config` as a file for --config, each with its sentence as a comment.
std::string config_text(const node_config& config);

} // namespace parley::cluster

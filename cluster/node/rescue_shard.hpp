#pragma once
// `parleyd --rescue-shard S --data-dir DIR`, on the directory of a stopped node.
#include "protocol/values/types.hpp"

#include <cstdio>
#include <optional>
#include <string>

namespace parley::cluster {

/// Prints what this survivor has and what may be lost, reads a line from `in`, and only if that is the sentence that it
/// asked for, lets the shard go on with this node alone. Returns a sentence about what is wrong.
/// Holds the directory's lock meanwhile.
std::optional<std::string> rescue_shard(const std::string& data_dir, shard_id shard, std::FILE* in,
                                        std::FILE* out);

} // namespace parley::cluster

#pragma once
// A shard's format: what its commands, debts and rows may contain.
//
// Every shard has its own number, in its row `V`. Replicas of a shard must write the same bytes, whatever
// version of the program each of them runs: so they write what the number says, and not what their program
// could. It rises by one in the shard's own log, after every node of the cluster has said that it knows the
// next format. A command may therefore carry what its maker's shard allows, also to another shard: each
// replica there can read it, and writes rows of its own shard's format.
#include <cstdint>

namespace parley::core {

enum class format_number : std::uint32_t {
  oldest = 1,
  newest = 1,      ///< that this program knows; nothing raises a shard's number yet
  all = UINT32_MAX ///< what no shard keeps has every field
};

} // namespace parley::core

#pragma once
// The founding record of a cluster: formation decides it once, and every founder stores it.
#include "actors/core/commands.hpp"
#include "cluster/replication/replication.hpp"
#include "protocol/values/settings.hpp"
#include "storage/data_directory.hpp"

#include <algorithm>
#include <string_view>

namespace parley::cluster {

struct founding {
  static constexpr auto inside = core::nested::grows;
  cluster_id cluster;
  std::uint16_t shards = settings::shards.standard;
  std::uint16_t replicas = settings::replicas.standard;
  std::vector<core::node_record> nodes; ///< the founders, ascending by id
  template <class F>
  auto fields(F&& f) {
    return f(cluster.hi, cluster.lo, shards, replicas, nodes);
  }
};

/// Of its row in `table::node`.
inline constexpr std::string_view founding_key = "f/founding";

/// The members of generation 1 of `shard`: founders in turn, so that all nodes lead and
/// follow equally many shards.
inline std::vector<member> first_members(const founding& f, shard_id shard) {
  std::vector<member> out;
  const auto n = f.nodes.size();
  const auto r = std::min<std::size_t>(f.replicas, n);
  for (std::size_t i = 0; i < r; ++i) {
    const auto& node = f.nodes[(number(shard) + i) % n];
    out.push_back({node.id, node.disk});
  }
  std::sort(out.begin(), out.end());
  return out;
}

} // namespace parley::cluster

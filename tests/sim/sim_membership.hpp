#pragma once
// What a node knows of the other nodes, as cluster/node/node.cpp and parleyd.cpp wire it: their starts, the cluster's list,
// and the shards of which a majority without a node has everything.
//
// It belongs to one process of a node, and ends with it.
#include "actors/core/commands.hpp"
#include "cluster/links/node_start.hpp"
#include "cluster/node/store.hpp"
#include "tests/cluster/fuzz/simulation.hpp"

#include <functional>
#include <map>
#include <optional>
#include <vector>

namespace parley::sim {

class sim_membership {
public:
  struct parts {
    cluster::node_start start; ///< durable
    std::vector<cluster::start_book::row> seen;
    std::function<fuzz::micros()> now;
    std::function<void(cluster::node_row)> keep;
    std::function<void(cluster::whole_request)> ask_whole;
  };
  explicit sim_membership(parts p);

  const cluster::node_start& start() const { return parts_.start; }
  /// Whether a session with that process may begin: `fits` at the earliest when its start is durable here, and
  /// nothing before that. To be asked again then.
  std::optional<cluster::start_verdict> judge(node_id peer, const cluster::node_start& its);
  void learn(std::vector<core::node_record> nodes) { nodes_ = std::move(nodes); }
  bool lists(const core::node_record& who) const;
  /// The answer to `formation_question::whole_without`, which is at most 10 s old, as in a node.
  std::vector<std::uint16_t> whole_without(node_id node);

private:
  struct answer {
    fuzz::micros at = 0;
    std::vector<std::uint16_t> shards;
  };

  parts parts_;
  cluster::start_book book_;
  std::vector<core::node_record> nodes_;
  std::map<node_id, answer> wholes_;
};

} // namespace parley::sim

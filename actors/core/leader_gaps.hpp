#pragma once
// Since when each shard has no leader that this node can reach.
#include "protocol/values/types.hpp"

#include <chrono>
#include <optional>
#include <set>
#include <vector>

namespace parley::core {

/// Every planned change of a shard's members or of its leader leaves it without a leader for a moment. Who decides whether
/// that matters needs to know for how long it has lasted, and a page that is asked for now and then cannot see that itself.
///
/// Owns:   by shard, when the gap began that lasts.
/// Thread: its owner's. Times are of one monotonic clock.
/// Holds:  a gap lasts while the leader is unknown or its node is not linked, whichever of the two it is at a moment.
class leader_gaps {
public:
  using time_point = std::chrono::steady_clock::time_point;
  /// By shard: since when it lacks a leader; `none`: it has one.
  using since = std::vector<std::optional<time_point>>;

  leader_gaps() = default;
  /// Nothing is known at first. That is no moment's gap, so it counts as a very old one.
  leader_gaps(node_id self, std::size_t shards) : self_{self}, since_(shards, time_point{}) {}

  /// To be called whenever a leader or a session with a peer changed: `leaders` by shard, `none` if it is not known;
  /// `linked` are the peers with a session.
  void look(const std::vector<node_id>& leaders, const std::set<node_id>& linked, time_point now) {
    for (std::size_t s = 0; s < since_.size() && s < leaders.size(); ++s) {
      const auto leader = leaders[s];
      if (leader != node_id::none && (leader == self_ || linked.contains(leader)))
        since_[s].reset();
      else if (!since_[s])
        since_[s] = now;
    }
  }
  const since& all() const { return since_; }

private:
  node_id self_{};
  since since_;
};

} // namespace parley::core

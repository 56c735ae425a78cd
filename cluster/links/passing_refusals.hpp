#pragma once
// Refusals that pass by themselves as a rule: a node that was started a moment ago does not know the nodes of its
// cluster yet, and they call it at once. The operator is told of those that last.
#include "protocol/values/types.hpp"

#include <chrono>
#include <map>

namespace parley::cluster {

/// Owns:   for each peer since when, and when last, it was refused.
/// Thread: its owner's. Pure: time is an argument.
/// Holds:  only proved peers are counted, so there are no more than nodes with a certificate of this cluster's authority.
class passing_refusals {
public:
  using time_point = std::chrono::steady_clock::time_point;
  static constexpr std::chrono::seconds said_after{10};
  /// Whoever is refused calls again within seconds.
  static constexpr std::chrono::seconds forgotten_after{60};

  /// One more refusal. True: they have lasted, so it is said.
  bool lasts(node_id peer, time_point now) {
    std::erase_if(of_, [&](const auto& r) { return now - r.second.last > forgotten_after; });
    auto& it = of_.try_emplace(peer, refused{now, now}).first->second;
    it.last = now;
    return now - it.since >= said_after;
  }
  /// It was not refused.
  void end(node_id peer) { of_.erase(peer); }

private:
  struct refused {
    time_point since, last;
  };
  std::map<node_id, refused> of_;
};

} // namespace parley::cluster

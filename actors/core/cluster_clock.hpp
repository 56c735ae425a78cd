#pragma once
// The time of day that the nodes of a cluster agree on.
#include "actors/core/trusted_time.hpp"
#include "protocol/values/wall_clock.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <mutex>
#include <vector>

namespace parley::core {

/// By how much most nodes are ahead of this one, in ms: the median of what its peers' clocks differ by and of its own
/// zero. With as many on one side as on the other the one that is closer to its own clock, so that of two nodes each
/// believes itself: nobody can tell which of them is wrong.
inline std::int64_t median_difference(std::vector<std::int64_t> of_peers) {
  of_peers.push_back(0);
  std::ranges::sort(of_peers);
  const auto low = of_peers[(of_peers.size() - 1) / 2], high = of_peers[of_peers.size() / 2];
  return std::abs(low) <= std::abs(high) ? low : high;
}

/// This node's clock, corrected by what its peers say.
///
/// Leaders date messages and end codes by their clock. The times of a conversation never go back, so a leader that is
/// an hour ahead, be it for a minute, would date it for good. A node that differs from most of its peers by more than
/// `clock_difference_max_ms` uses their time until its own is mended.
///
/// Owns:   what each peer said last. `own` outlives it.
/// Thread: any.
/// Holds:  what nobody has said for `heard_for` counts no more. While nobody is heard of at all the correction stays: a
///         wrong clock is not right because it is alone.
class cluster_clock final : public wall_clock {
public:
  using time_point = std::chrono::steady_clock::time_point;
  static constexpr std::chrono::seconds heard_for{30};
  /// Is called on the thread of `heard` when the node begins to differ, and when it agrees again (0), with the
  /// difference in ms.
  using reporter = std::function<void(std::int64_t)>;

  explicit cluster_clock(reporter report = {}, const wall_clock& own = system_time_of_day)
      : report_{std::move(report)}, own_{own} {}

  unix_ms now() const override { return unix_ms{static_cast<std::int64_t>(own_.now()) + correction_}; }
  unix_ms uncorrected() const { return own_.now(); }         ///< what peers are told
  std::int64_t difference_ms() const { return correction_; } ///< zero while it is below what is believed

  /// A moment ago, the clock of `peer` said `at`.
  void heard(node_id peer, unix_ms at, time_point when) {
    std::lock_guard guard{mutex_};
    said_[peer] = {static_cast<std::int64_t>(at) - static_cast<std::int64_t>(own_.now()), when};
    std::erase_if(said_, [&](const auto& s) { return s.second.when + heard_for < when; });
    std::vector<std::int64_t> differences;
    for (const auto& [node, s] : said_)
      differences.push_back(s.difference);
    const auto median = median_difference(std::move(differences));
    const auto correction = std::abs(median) > clock_difference_max_ms ? median : 0;
    if (report_ && (correction != 0) != (correction_ != 0))
      report_(correction);
    correction_ = correction;
  }

private:
  struct saying {
    std::int64_t difference = 0;
    time_point when{};
  };
  reporter report_;
  const wall_clock& own_;
  std::mutex mutex_;
  std::map<node_id, saying> said_;
  std::atomic<std::int64_t> correction_{0};
};

} // namespace parley::core

#pragma once
// Time as a Raft node may count it: silence is silence only while one listens.
//
// A node whose process was stopped, whose machine stood still or whose disk held its store for half a second
// wakes up with everybody's heartbeats unread, and with election time-outs that are over by the wall's clock.
// By this one they are not: a gap between two looks at the clock that is longer than a node that listens ever
// leaves, is not counted. (A leader's own silence is judged by the others' clocks: nothing here delays a
// failover.)
//
// Pure; one owner, one thread. Never runs backwards.
#include "cluster/replication/replication.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <utility>

namespace parley::cluster {

class attentive_clock {
public:
  /// `gap_max`: more than the longest time between two looks of a node that runs (it ticks for its
  /// heartbeats).
  explicit attentive_clock(std::chrono::milliseconds gap_max) : gap_max_{gap_max.count()} {}

  mono_ms at(mono_ms steady) {
    const auto real = static_cast<std::int64_t>(steady);
    if (!std::exchange(looked_, true))
      last_ = real;
    missed_ += std::max<std::int64_t>(0, real - last_ - gap_max_);
    last_ = std::max(real, last_);
    return mono_ms{last_ - missed_};
  }

private:
  std::int64_t gap_max_;
  std::int64_t missed_ = 0;
  bool looked_ = false; ///< before, `last_` says nothing
  std::int64_t last_ = 0;
};

} // namespace parley::cluster

#pragma once
// A clock for Raft: time counts only while the node can receive messages.
//
// A process that was stopped, a machine that was suspended, or a disk that blocked the store for half a
// second leaves a node with unread heartbeats and with election time-outs that have passed by the wall clock.
// By this clock they have not: a gap between two readings that is longer than any in normal operation is not
// counted. (Other nodes judge a silent leader by their own clocks, so this never delays a failover.)
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
  /// `gap_max` is longer than the time between two readings of a node that runs, which ticks for heartbeats.
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
  bool looked_ = false; ///< until it is true, `last_` has no meaning
  std::int64_t last_ = 0;
};

} // namespace parley::cluster

#pragma once
// What the admin port exports, gathered when somebody asks: hot paths only add to atomics.
#include "cluster/node.hpp"
#include "cluster/store.hpp"

#include <prometheus/metric_family.h>

#include <array>
#include <atomic>
#include <vector>

namespace parley::cluster {

/// The store's commits. Thread: `committed` the store's, reading any.
class commit_metrics final : public store_observer {
public:
  void committed(std::size_t commands, std::chrono::nanoseconds sync) override {
    gateway::add(commands_, commands);
    sync_.observe(sync);
  }
  std::uint64_t commands() const { return commands_.load(std::memory_order_relaxed); }
  const gateway::duration_histogram& sync() const { return sync_; }

private:
  gateway::counter commands_{0}; ///< proposed here and applied
  gateway::duration_histogram sync_;
};

/// Names start with `parley_`; durations are in seconds. The list with meanings: cluster/README.md.
std::vector<prometheus::MetricFamily> collect(node& it);

} // namespace parley::cluster

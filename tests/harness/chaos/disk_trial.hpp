#pragma once
// Slow and full disks in one run: does to the nodes' disks what `disk_scheduler` decides, and counts what had an
// effect. A fault counts only if a sync was late, or if the node was told that nothing is free.
// Thread: that of the cluster.
#include "tests/harness/chaos/disk_scheduler.hpp"
#include "tests/harness/cluster/process_cluster.hpp"

#include <array>
#include <string>
#include <vector>

namespace parley::chaos {

class disk_trial {
public:
  disk_trial(test::process_cluster& cluster, const disk_config& config, std::uint64_t seed);

  /// Begins or ends what is due. True if a fault ended: the cluster has to recover.
  bool tick(milliseconds now, const std::vector<bool>& running);
  bool heal();
  bool active() const { return scheduler_.active(); }
  std::string current() const; ///< for the progress line; empty if all disks are well

  std::string summary() const; ///< how often each kind was injected
  std::string json() const;
  /// What makes the run void: disks that were to ail several times, and never did.
  std::vector<std::string> missing() const;

private:
  bool apply(const disk_step& step);
  std::uint64_t effect_so_far() const;

  test::process_cluster& cluster_;
  disk_scheduler scheduler_;
  disk_step now_;
  std::uint64_t effect_before_ = 0;
  std::uint64_t begun_ = 0;
  std::array<std::uint64_t, disk_fault_kinds> injected_{};
};

} // namespace parley::chaos

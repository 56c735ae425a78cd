#pragma once
// The network's faults in one run: injects what `network_scheduler` decides into the cluster's proxy, and
// counts what had an effect.
//
// A fault counts only if the proxy's counters show it: something was cut, swallowed, delayed, paced or held.
// Thread: that of the cluster.
#include "tests/harness/chaos/network_scheduler.hpp"
#include "tests/harness/cluster/process_cluster.hpp"

#include <array>
#include <string>
#include <vector>

namespace parley::chaos {

class network_trial {
public:
  network_trial(test::process_cluster& cluster, const network_config& config, std::uint64_t seed);

  /// Injects what is due. `view.leader` is filled in here. True if a fault ended: the cluster has to recover.
  bool tick(milliseconds now, network_view view);
  /// Ends what is in progress. True if something was.
  bool heal();
  bool active() const { return scheduler_.active(); }
  std::string current() const; ///< for the progress line; empty if the network is whole

  std::string summary() const; ///< how often each kind was injected
  std::string json() const;
  /// What the run was to inject and did not: it is void then.
  std::vector<std::string> missing() const;

private:
  struct tally {
    std::uint64_t injected = 0, without_effect = 0, effect = 0;
  };
  bool apply(const network_step& step);
  std::uint64_t effect_so_far(network_fault f) const;
  std::size_t leader() const;

  test::process_cluster& cluster_;
  network_scheduler scheduler_;
  test::path_settings settings_; ///< of the fault in progress
  network_fault now_{};
  std::uint64_t effect_before_ = 0;
  std::array<tally, network_fault_kinds> tallies_{};
};

} // namespace parley::chaos

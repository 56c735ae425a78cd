#pragma once
// Copies of nodes' data directories in one run: does what `copy_scheduler` decides, and counts what had an effect.
// A copy counts only if the node, or the process beside it, was fenced: it says so at `/readyz`, or its directory was
// set aside. One that serves although the others can recognise it breaks a rule.
// Thread: that of the cluster.
#include "tests/harness/chaos/copy_scheduler.hpp"
#include "tests/harness/chaos/fault_scheduler.hpp"
#include "tests/harness/cluster/process_cluster.hpp"

#include <array>
#include <functional>
#include <string>
#include <vector>

namespace parley::chaos {

/// Beside those of the checker: a copy of a node's directory that other nodes can recognise is fenced.
inline constexpr int rule_of_copies = 14;

class copy_trial {
public:
  /// `inflict` kills and starts nodes, and notes it in the history.
  copy_trial(test::process_cluster& cluster, const copy_config& config, std::uint64_t seed,
             std::function<void(const fault&)> inflict);

  /// `whole`: every node is whole, and no other fault is in progress. True if a fault ended: the cluster has to recover.
  bool tick(milliseconds now, bool whole);
  void heal();
  /// Another fault has killed this node, or lost its disk as well.
  void killed(std::size_t node, milliseconds now);
  void lost(std::size_t node) { scheduler_.lost(node); }
  bool alone() const { return scheduler_.alone(); }
  bool struck() const { return scheduler_.struck(); }
  std::string current() const; ///< for the progress line; empty if no copy is in use

  std::string summary() const; ///< how often each kind was recognised
  std::string json() const;
  const std::vector<std::string>& complaints() const { return complaints_; }
  /// What the run was to do and did not: it is void then.
  std::vector<std::string> missing() const;

private:
  bool apply(const copy_step& step);
  bool recognised();

  test::process_cluster& cluster_;
  copy_scheduler scheduler_;
  std::function<void(const fault&)> inflict_;
  std::size_t asides_ = 0; ///< of the node, before the copy was used
  bool seen_ = false;      ///< the copy was fenced
  std::array<std::uint64_t, copy_fault_kinds> recognised_{};
  std::vector<std::string> complaints_;
};

} // namespace parley::chaos

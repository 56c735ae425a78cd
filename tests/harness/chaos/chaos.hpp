#pragma once
// `parley chaos`: injects faults into a cluster of its own and reports whether any acknowledged message
// was lost, repeated or reordered.
#include "tests/harness/chaos/trials.hpp"

#include <cstdint>
#include <map>
#include <set>
#include <string>

namespace parley::chaos {

struct chaos_options {
  std::size_t nodes = 3;
  unsigned seconds = 60;
  double rate = 500; ///< messages per second
  std::uint64_t seed = 1;
  std::size_t users = 56;
  trials with;
  bool disk_losses = true;
  bool json_only = false;     ///< prints only the last line
  std::string keep;           ///< a directory for logs, history and dumps, which are always kept in it
  bool leave_evidence = true; ///< keeps logs, history and dumps of a run with harm in the temporary directory
  std::string parleyd;        ///< empty: the one in the folder of the running program
  std::map<std::string, std::string> environment; ///< for the nodes; switches on planted bugs
  bool drain_at_end = true;                       ///< false: the nodes are killed before the dump, which is
                                                  ///< faster and equally valid
  std::uint16_t port_first = 20'000, port_last = 31'000;
};

/// Returns 0 if the run was clean, 1 if a rule was broken or the run does not count, 2 if the harness
/// failed, and 3 if the run was clean but did not inject the network's faults that it was to inject, so that
/// it proves nothing. The numbers of the broken rules are added to `broken`.
int run_chaos(const chaos_options& options, std::set<int>* broken = nullptr);

} // namespace parley::chaos

#pragma once
// `parley chaos`: torments a cluster of its own and tells whether any acknowledged message was lost, repeated
// or reordered.
#include <cstdint>
#include <map>
#include <set>
#include <string>

namespace parley::chaos {

struct chaos_options {
  std::size_t nodes = 3;
  unsigned seconds = 60;
  double rate = 500; ///< messages a second
  std::uint64_t seed = 1;
  std::size_t users = 56;
  bool disk_losses = true;
  bool json_only = false;     ///< the last line alone
  std::string keep;           ///< logs, history and dumps are left here, whatever happens
  bool leave_evidence = true; ///< logs, history and dumps of a run with harm stay in the temporary directory
  std::string parleyd;        ///< empty: beside the running program
  std::map<std::string, std::string> environment; ///< for the nodes: planted bugs
  bool drain_at_end = true; ///< false: the nodes are killed before they are dumped; quicker, and as good
  std::uint16_t port_first = 20'000, port_last = 31'000;
};

/// 0: clean; 1: a rule was broken, or the run does not count; 2: the harness could not do its work.
/// `broken`: gets the numbers of the rules that were broken.
int run_chaos(const chaos_options& options, std::set<int>* broken = nullptr);

} // namespace parley::chaos

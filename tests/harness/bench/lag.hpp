#pragma once
// A node that was dead while the others went on: how long it takes to catch up, and what the others cost meanwhile.
#include "tests/harness/bench/bench_cluster.hpp"

#include <map>

namespace parley::bench {

struct lag_round {
  double caught_up_s = 0; ///< from the start of the process until it has applied what the others had applied
  std::uint64_t resets = 0;  ///< of links of all nodes meanwhile
  double acked_per_s = 0;    ///< meanwhile, of the load
  std::uint64_t refused = 0; ///< sends of the load meanwhile
};

struct lag_result {
  std::uint64_t messages = 0; ///< that were written in each of the two rounds, with `lag_mib` of bodies
  cpu_use dead;               ///< with one node dead, and with nothing to do
  lag_round idle, under_load;
};

/// The last node is killed, `lag_mib` of bodies are written, and it is started again: first on a cluster that has
/// nothing to do, then under `rate` messages a second.
lag_result measure_lag(bench_cluster& bench, const bench_options& options);

} // namespace parley::bench

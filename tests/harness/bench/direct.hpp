#pragma once
// Direct chats under load: pairs of users, in which one writes to the other.
#include "tests/harness/bench/bench_cluster.hpp"
#include "tests/harness/bench/histogram.hpp"

#include <map>

namespace parley::bench {

struct direct_result {
  std::uint64_t delivered = 0, acked = 0;
  /// Attempts that ended with a condition that passes, and were made again under the same id, as a client makes them: a
  /// leader stepped down, or a link ended, with what was under way.
  std::uint64_t repeated = 0;
  std::uint64_t refused = 0;            ///< messages that were given up
  std::map<ec, std::uint64_t> refusals; ///< of both
  std::uint64_t undelivered_end = 0;    ///< acknowledged, but not delivered when the cluster was quiet
                                        ///< again; must be 0
  histogram ack_us, e2e_us;
  cpu_use cpu;
};

/// With an `options.rate` of 0 each pair keeps `window` messages in flight. Otherwise this is an open
/// loop at that rate, spread evenly over the pairs.
direct_result measure_direct(bench_cluster& bench, const bench_options& options);

} // namespace parley::bench

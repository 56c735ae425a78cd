#pragma once
// Direct chats under load: pairs of users, one of each writes to the other.
#include "tests/harness/bench/bench_cluster.hpp"
#include "tests/harness/bench/histogram.hpp"

#include <map>

namespace parley::bench {

struct direct_result {
  std::uint64_t delivered = 0, acked = 0, refused = 0;
  std::map<ec, std::uint64_t> refusals;
  std::uint64_t undelivered_end = 0; ///< acknowledged, not delivered when all was quiet: none may be left
  histogram ack_us, e2e_us;
  cpu_use cpu;
};

/// `options.rate` 0: each pair keeps `window` messages under way. Else open-loop at that rate, evenly over
/// the pairs.
direct_result measure_direct(bench_cluster& bench, const bench_options& options);

} // namespace parley::bench

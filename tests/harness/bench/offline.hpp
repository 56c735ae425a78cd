#pragma once
// Idle connections, and inboxes that were filled while their users were offline.
#include "tests/harness/bench/bench_cluster.hpp"

namespace parley::bench {

struct idle_result {
  std::size_t connections = 0;
  double kib_per_connection = 0;
  double logins_per_s = 0;
  /// Of all nodes for each login, the handshake included: less what they use anyway, and all of it.
  double login_cpu_us = 0, login_cpu_all_us = 0;
  double cores_before = 0; ///< what all nodes use when nobody is connected
  cpu_use cpu;             ///< while the connections are idle
};
idle_result measure_idle(bench_cluster& bench, const bench_options& options);

struct drain_result {
  std::uint64_t messages = 0;
  double drain_per_s = 0;
  double store_per_s = 0;
  cpu_use cpu;
};
drain_result measure_drain(bench_cluster& bench, const bench_options& options);

} // namespace parley::bench

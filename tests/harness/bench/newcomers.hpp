#pragma once
// How long it takes to get in: somebody comes, logs in and leaves again, ten times a second.
#include "tests/harness/bench/bench_cluster.hpp"
#include "tests/harness/bench/histogram.hpp"

#include <atomic>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace parley::bench {

/// What became of those who came.
struct logins {
  histogram us; ///< from the first packet to the session
  std::size_t failed = 0;
};

/// One after the other; who takes longer delays the next.
/// Owns:   a thread with a loop of its own, because `connect` blocks while the node's backlog is full.
/// Thread: its owner's.
class newcomers {
public:
  /// `who`: registered, and connected nowhere. They take turns.
  newcomers(const bench_cluster& bench, std::vector<test::lean_device> who, transport::socket_address node);
  ~newcomers();
  newcomers(const newcomers&) = delete;
  newcomers& operator=(const newcomers&) = delete;

  /// Those who came since the last call.
  logins take();

private:
  void run();

  std::string ca_file_;
  std::vector<test::lean_device> who_;
  transport::socket_address node_;
  std::atomic<bool> over_{false};
  std::mutex mutex_;
  logins since_;       ///< guarded by it
  std::thread thread_; ///< last: it uses the others
};

} // namespace parley::bench

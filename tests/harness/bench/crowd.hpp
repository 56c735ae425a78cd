#pragma once
// Users who are logged in, have a receiver, and say nothing but heartbeats.
#include "tests/harness/bench/bench_cluster.hpp"

#include <kj/async.h>

namespace parley::bench {

/// Each connection is a user of its own: a user has few devices, and each needs a code.
/// Thread: that of the bench's loop. Errors: throws with a sentence; what fails later, `check` throws.
class crowd final : kj::TaskSet::ErrorHandler {
public:
  /// Registers the users, without logging them in.
  crowd(bench_cluster& bench, std::size_t count);
  void log_in();
  /// Each begins to receive, and pings once in `heartbeat_every`, spread evenly over that time.
  void settle();
  /// Throws if one was dropped, or a node closed it.
  void ping_all();
  void check() const;
  std::size_t size() const { return users_.size(); }

private:
  class deaf;
  static constexpr kj::Duration heartbeat_every = 30 * kj::SECONDS; // a silent session ends after 90 s
  kj::Promise<void> keep_pinging(std::size_t next);
  void taskFailed(kj::Exception&& e) override;

  bench_cluster& bench_;
  std::vector<std::unique_ptr<user>> users_;
  std::string trouble_;
  kj::TaskSet tasks_; ///< must be last, so that it is destroyed first
};

} // namespace parley::bench

#pragma once
// The thread on which a node reads all rows of its replicas slowly (cluster/machine/row_check.hpp): on the store's thread a
// cold page of the disk would delay every heartbeat.
#include "protocol/values/counters.hpp"
#include "protocol/values/types.hpp"
#include "storage/environment.hpp"

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace parley::cluster {

/// How far it is. Thread: any.
struct check_counters {
  counter rows{0};   ///< read and compared with their checksums
  counter passes{0}; ///< over all rows of the node
};

/// Owns: its thread, which ends with it. `env`, `counters` and what `damaged` uses outlive it.
class row_checker {
public:
  /// `damaged` is called on its thread for each shard in which a pass meets a row that does not match its checksum.
  row_checker(storage::environment& env, std::chrono::milliseconds pass, check_counters& counters,
              std::function<void(shard_id)> damaged);
  ~row_checker();
  row_checker(const row_checker&) = delete;
  row_checker& operator=(const row_checker&) = delete;

private:
  void run();

  storage::environment& env_;
  const std::chrono::milliseconds pass_;
  check_counters& counters_;
  const std::function<void(shard_id)> damaged_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stop_ = false;
  std::thread thread_; // last: it uses all of the above
};

} // namespace parley::cluster

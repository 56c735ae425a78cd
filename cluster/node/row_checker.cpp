#include "cluster/node/row_checker.hpp"

#include "cluster/machine/row_check.hpp"

#include <utility>

namespace parley::cluster {
namespace {

std::chrono::milliseconds steady_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::steady_clock::now().time_since_epoch());
}

} // namespace

row_checker::row_checker(storage::environment& env, std::chrono::milliseconds pass, check_counters& counters,
                         std::function<void(shard_id)> damaged)
    : env_{env}, pass_{pass}, counters_{counters}, damaged_{std::move(damaged)}, thread_{[this] { run(); }} {}

row_checker::~row_checker() {
  {
    std::lock_guard guard{mutex_};
    stop_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void row_checker::run() {
  check_pace pace{pass_, steady_ms()};
  row_walk walk{env_};
  auto wait = check_pace::wait_min;
  std::unique_lock lock{mutex_};
  while (!wake_.wait_for(lock, wait, [this] { return stop_; })) {
    lock.unlock();
    const auto read = walk.next();
    add(counters_.rows, read.rows);
    if (read.damaged)
      damaged_(*read.damaged);
    wait = pace.read(read.rows, steady_ms());
    if (read.last) {
      add(counters_.passes);
      wait = pace.passed(steady_ms());
    }
    lock.lock();
  }
}

} // namespace parley::cluster

#include "storage/background_sync.hpp"

#include <cassert>
#include <utility>

namespace parley::storage {

background_sync::~background_sync() {
  if (!thread_.joinable())
    return;
  {
    std::unique_lock lock{mutex_};
    moved_.wait(lock, [this] { return state_ != state::wanted; });
    state_ = state::closing;
  }
  moved_.notify_all();
  thread_.join();
}

void background_sync::begin() {
  {
    std::lock_guard guard{mutex_};
    assert(state_ == state::idle);
    state_ = state::wanted;
  }
  if (thread_.joinable())
    moved_.notify_all();
  else
    thread_ = std::thread{[this] { run(); }};
}

std::optional<int> background_sync::result() {
  std::lock_guard guard{mutex_};
  if (state_ != state::ended)
    return std::nullopt;
  state_ = state::idle;
  return result_;
}

int background_sync::wait() {
  std::unique_lock lock{mutex_};
  assert(state_ == state::wanted || state_ == state::ended);
  moved_.wait(lock, [this] { return state_ == state::ended; });
  state_ = state::idle;
  return result_;
}

void background_sync::run() {
  std::unique_lock lock{mutex_};
  for (;;) {
    moved_.wait(lock, [this] { return state_ == state::wanted || state_ == state::closing; });
    if (state_ == state::closing)
      return;
    lock.unlock();
    const int result = sync_();
    lock.lock();
    result_ = result;
    state_ = state::ended;
    moved_.notify_all();
  }
}

} // namespace parley::storage

#pragma once
// A sync of a file that nobody waits for. Internal to storage/.
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

namespace parley::storage {

/// Owns:   a thread, from the first sync on.
/// Thread: one, beside its own. Its end waits for the sync under way.
class background_sync {
public:
  /// `sync` returns 0 or an errno.
  explicit background_sync(std::function<int()> sync) : sync_{std::move(sync)} {}
  ~background_sync();
  background_sync(const background_sync&) = delete;
  background_sync& operator=(const background_sync&) = delete;

  /// One at a time: the result of the one before was taken.
  void begin();
  /// What it returned, once; `none` if it goes on.
  std::optional<int> result();
  /// The same, when it has ended.
  int wait();

private:
  enum class state { idle, wanted, ended, closing };
  void run();

  const std::function<int()> sync_;
  std::mutex mutex_;
  std::condition_variable moved_;
  state state_ = state::idle;
  int result_ = 0;
  std::thread thread_;
};

} // namespace parley::storage

#pragma once
// Hands codes over on a thread of its own, because whatever takes them may block: a console whose pipe nobody
// reads. The loop of the gateway must not wait for it.
#include "protocol/gateway/codes/code_sender.hpp"

#include <kj/async-unix.h>

#include <chrono>
#include <cstddef>
#include <memory>

namespace parley::gateway {

/// What takes the codes. Thread: the queue's; it is created and destroyed on other ones.
class code_outlet {
public:
  using clock = std::chrono::steady_clock;
  virtual ~code_outlet() = default;
  /// May block until `deadline`, and no longer. Returns `none` or `code_send_failed`.
  virtual ec hand_over(const std::string& phone, const std::string& code, clock::time_point deadline) = 0;
};

struct code_queue_config {
  std::chrono::milliseconds deadline{5'000}; ///< for one code
  /// Whether the time that a code waits behind others counts. If it does, a code that nobody took in time is
  /// refused without another attempt, so that its person is told while it is still expected.
  bool waiting_counts = false;
  std::size_t waiting_max = 64; ///< codes that wait or are being handed over; above: `overloaded`
};

/// Owns:   the outlet, and one thread that calls it for one code at a time.
/// Thread: `send` that of the event port; answers come back to it through an eventfd.
/// Holds:  destroying it waits for the code that is being handed over, `deadline` at most.
class code_queue : public code_sender, private kj::TaskSet::ErrorHandler {
public:
  code_queue(kj::UnixEventPort& port, std::unique_ptr<code_outlet> outlet, const code_queue_config& config);
  ~code_queue() noexcept(false) override;

  kj::Promise<ec> send(std::string phone, std::string code) override;

private:
  struct worker;
  kj::Promise<void> collect();
  void taskFailed(kj::Exception&&) override {}

  std::unique_ptr<worker> worker_;
  kj::UnixEventPort::FdObserver done_;
  kj::TaskSet tasks_;
};

} // namespace parley::gateway

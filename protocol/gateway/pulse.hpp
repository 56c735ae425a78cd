#pragma once
// Whether the gateways of a process turn. Each writes down when its loop turned last, and when its accepting did; what
// follows when they do not is decided by who reads it (cluster/node/health).
#include <atomic>
#include <chrono>
#include <deque>
#include <mutex>
#include <vector>

namespace parley::gateway {

using pulse_clock = std::chrono::steady_clock;

/// Of one gateway, as read at some moment.
struct heartbeat {
  pulse_clock::time_point loop; ///< its timer fired
  /// It looked for connections, or none waited to be accepted. It does so no more once it drains.
  pulse_clock::time_point accepting;
  bool drains = false;
};

/// Thread: the gateway's; any may read.
class pulse {
public:
  explicit pulse(pulse_clock::time_point now) : loop_{now}, accepting_{now} {}
  void loop_turned(pulse_clock::time_point now) { loop_.store(now, std::memory_order_relaxed); }
  void accepting_turned(pulse_clock::time_point now) { accepting_.store(now, std::memory_order_relaxed); }
  void drains() { drains_.store(true, std::memory_order_relaxed); }
  heartbeat read() const {
    return {loop_.load(std::memory_order_relaxed), accepting_.load(std::memory_order_relaxed),
            drains_.load(std::memory_order_relaxed)};
  }

private:
  std::atomic<pulse_clock::time_point> loop_, accepting_;
  std::atomic<bool> drains_{false};
};

/// Owns:   the pulses of all gateways of a process, in the order in which they began. They stay when a gateway ends: a
///         thread that died must not look as if it had never been.
/// Thread: any.
class pulses {
public:
  pulse& begin(pulse_clock::time_point now) {
    std::lock_guard guard{mutex_};
    return all_.emplace_back(now);
  }
  std::vector<heartbeat> read() const {
    std::lock_guard guard{mutex_};
    std::vector<heartbeat> out;
    for (const auto& p : all_)
      out.push_back(p.read());
    return out;
  }

private:
  mutable std::mutex mutex_;
  std::deque<pulse> all_;
};

} // namespace parley::gateway

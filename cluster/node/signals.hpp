#pragma once
// The signals that an operator sends to a node.
//
//   SIGTERM, SIGINT, SIGQUIT   drain and end; a second one ends at once
//   SIGHUP                     read certificates and the log level again
//   SIGUSR1, SIGUSR2, SIGALRM  nothing: they have no meaning here, and must not kill a node
//   SIGPIPE, SIGXFSZ           nothing: the call that caused them fails, and is handled there
#include <atomic>
#include <chrono>
#include <csignal>
#include <functional>

namespace parley::cluster {

/// Owns:   a thread that waits for signals, from `watch` to the end of the process.
/// Thread: main's; it is created before any other thread, because it blocks the signals for all of them.
class signals {
public:
  /// `leave_within` is the longest time that an orderly end may take. After it the process ends all the same, so
  /// that a thread that is stuck, whatever the cause, cannot keep a node that was told to stop.
  explicit signals(std::chrono::seconds leave_within);
  /// `reload` is called at each SIGHUP, `remind` each minute; neither may block. To be called once.
  void watch(std::function<void()> reload, std::function<void()> remind);
  /// Returns when the node was told to stop, by a signal or by `end`.
  void wait() { stop.wait(false); }
  /// Returns when a signal told the node to stop.
  void wait_for_signal() { asked.wait(false); }
  void end();

  std::atomic<bool> stop{false};
  std::atomic<bool> asked{false}; ///< to stop, by a signal

private:
  sigset_t set_{};
  const std::chrono::seconds leave_within_;
};

} // namespace parley::cluster

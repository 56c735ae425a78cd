#pragma once
// When work goes on that takes a third of a millisecond or more of the thread that also serves everybody else, and of which
// much can come at once: strangers begin a thousand handshakes, a crowd asks for pages of a megabyte.
#include <kj/async.h>
#include <kj/timer.h>

#include <deque>

namespace parley::transport {

/// Thread: that of the timer's loop.
/// Holds:  between two steps the loop looks at its sockets, so what others have sent meanwhile comes before the next one.
///         Steps are taken in the order in which they were asked for; one that nobody waits for any more is left out.
/// Bound:  that of those who ask. Whoever accepts connections stops while too many handshakes wait, or the line grows until
///         those in it have to give way to newcomers before their turn comes, and nobody ends a handshake.
class step_line final : private kj::TaskSet::ErrorHandler {
public:
  explicit step_line(kj::Timer& timer) : timer_{timer}, tasks_{*this} {}

  /// When the next step may be taken.
  kj::Promise<void> next() {
    auto waiter = kj::newPromiseAndFulfiller<void>();
    waiting_.push_back(kj::mv(waiter.fulfiller));
    if (!running_) {
      running_ = true;
      tasks_.add(run());
    }
    return kj::mv(waiter.promise);
  }

  /// How many stand in line, some of whom may have gone meanwhile.
  std::size_t waiting() const { return waiting_.size(); }

private:
  kj::Promise<void> run() {
    // Timers, even those that are due, are looked at together with the sockets.
    return timer_.afterDelay(0 * kj::NANOSECONDS).then([this]() -> kj::Promise<void> {
      while (!waiting_.empty()) {
        auto it = kj::mv(waiting_.front());
        waiting_.pop_front();
        if (!it->isWaiting())
          continue;
        it->fulfill();
        return run();
      }
      running_ = false;
      return kj::READY_NOW;
    });
  }
  void taskFailed(kj::Exception&&) override { running_ = false; } // the next one begins it anew

  kj::Timer& timer_;
  std::deque<kj::Own<kj::PromiseFulfiller<void>>> waiting_;
  bool running_ = false;
  kj::TaskSet tasks_; ///< must be last, so that it is destroyed first
};

} // namespace parley::transport

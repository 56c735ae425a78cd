#pragma once
// When work goes on that takes a third of a millisecond or more of the thread that also serves everybody else, and of which
// much can come at once: strangers begin a thousand handshakes, a crowd asks for pages of a megabyte.
#include "protocol/transport/turn_end.hpp"

#include <kj/async.h>
#include <kj/timer.h>

#include <deque>

namespace parley::transport {

/// Thread: that of the timer's loop.
/// Holds:  between two steps the loop looks at its sockets, and what others have sent meanwhile is done before the next one,
///         with all that follows from it at once. While so much comes that the loop never gets that far, a step is taken each
///         `patience`, or those in line would wait as long as somebody keeps the loop busy.
///         Steps are taken in the order in which they were asked for; one that nobody waits for any more is left out.
/// Bound:  that of those who ask. Whoever accepts connections stops while too many handshakes wait, or the line grows until
///         those in it have to give way to newcomers before their turn comes, and nobody ends a handshake.
class step_line final : private kj::TaskSet::ErrorHandler {
public:
  step_line(kj::Timer& timer, kj::Duration patience) : timer_{timer}, patience_{patience}, tasks_{*this} {}

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
    return timer_.afterDelay(0 * kj::NANOSECONDS)
        .then([this] { return turn_end(timer_, patience_); })
        .then([this]() -> kj::Promise<void> {
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
  kj::Duration patience_;
  std::deque<kj::Own<kj::PromiseFulfiller<void>>> waiting_;
  bool running_ = false;
  kj::TaskSet tasks_; ///< must be last, so that it is destroyed first
};

} // namespace parley::transport

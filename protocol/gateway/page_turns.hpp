#pragma once
// Whose page is read next. A page is up to a megabyte, and in memory two or three times until it is written, so of all
// connections together only some may have one under way.
#include <kj/async.h>
#include <kj/refcount.h>

#include <cstddef>
#include <cstdint>
#include <deque>

namespace parley::gateway {

/// Owns:   those who wait. Each connection has a few at most (`pages_max`), which is their bound.
/// Thread: that of its server's loop.
/// Holds:  connections that have no other page under way or waiting come first, so whoever asks for many delays mostly
///         itself. A turn that was given out ends with its owner, taken up or not.
class page_turns final : public kj::Refcounted {
public:
  explicit page_turns(std::uint32_t at_a_time) : left_{at_a_time} {}

  class turn {
  public:
    explicit turn(kj::Own<page_turns> from) : from_{kj::mv(from)} {}
    ~turn() noexcept(false) { from_->ended(); }
    KJ_DISALLOW_COPY(turn);

  private:
    kj::Own<page_turns> from_;
  };

  /// `only`: the connection has no other page.
  kj::Promise<kj::Own<turn>> begin(bool only) {
    if (left_ > 0) {
      --left_;
      return kj::heap<turn>(kj::addRef(*this));
    }
    auto waiter = kj::newPromiseAndFulfiller<kj::Own<turn>>();
    (only ? first_ : then_).push_back(kj::mv(waiter.fulfiller));
    return kj::mv(waiter.promise);
  }
  std::size_t waiting() const { return first_.size() + then_.size(); }

private:
  using queue = std::deque<kj::Own<kj::PromiseFulfiller<kj::Own<turn>>>>;

  void ended() {
    for (auto* from : {&first_, &then_})
      while (!from->empty()) {
        auto next = kj::mv(from->front());
        from->pop_front();
        if (next->isWaiting()) { // else its connection has gone
          next->fulfill(kj::heap<turn>(kj::addRef(*this)));
          return;
        }
      }
    ++left_;
  }

  std::uint32_t left_;
  queue first_, then_;
};

} // namespace parley::gateway

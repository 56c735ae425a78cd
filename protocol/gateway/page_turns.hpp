#pragma once
// Whose page is read next. A page is up to a megabyte, and in memory two or three times until it is written, so of all
// connections together only some may have one under way.
#include "protocol/transport/message_stream.hpp"

#include <kj/async.h>
#include <kj/refcount.h>
#include <kj/timer.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>

namespace parley::gateway {

/// Owns:   those who wait. Each connection has a few at most (`pages_max`), which is their bound.
/// Thread: that of its server's loop, whose timer outlives it.
/// Holds:  connections that have no other page under way or waiting come first, so whoever asks for many delays mostly
///         itself. Every fourth turn is one of the others', or a crowd that asks again and again would keep them waiting.
///         Pages whose turn has ended by itself may wait for a leader for seconds: three quarters of those that may be under
///         way are only for connections that have none, or a hundred who ask for several at once would take them all.
///         While the buffers of all connections are more than half full no turn is given: a page that cannot be sent
///         only takes memory.
class page_turns final : public kj::Refcounted {
public:
  struct bounds {
    std::uint32_t at_a_time = 0; ///< turns
    std::uint32_t under_way = 0; ///< pages, with those whose turn has ended by itself
    std::chrono::milliseconds
        turn{}; ///< then it ends by itself: its shard may have no leader, and others have one
    std::chrono::milliseconds wait{}; ///< for a turn; then there is none
  };
  page_turns(kj::Timer& timer, const bounds& most) : timer_{timer}, most_{most}, held_since_{timer.now()} {}

  /// Whose page it is: a connection, which outlives its turns and its waiting.
  struct asker {
    std::uint32_t under_way = 0; ///< pages
  };

  /// It lasts until the page is written, which is when its owner destroys it.
  class turn {
  public:
    turn(kj::Own<page_turns> from, asker& by)
        : from_{kj::mv(from)}, by_{by}, late_{from_->timer_.afterDelay(span(from_->most_.turn))
                                                  .then([this] {
                                                    ended_ = true;
                                                    --from_->turns_;
                                                    from_->give();
                                                  })
                                                  .eagerlyEvaluate(nullptr)} {
      ++from_->turns_;
      ++from_->under_way_;
      ++by_.under_way;
      from_->held_since_ = from_->timer_.now();
    }
    ~turn() noexcept(false) {
      --from_->under_way_;
      --by_.under_way;
      if (!ended_)
        --from_->turns_;
      from_->give();
    }
    KJ_DISALLOW_COPY(turn);

    /// The page is there: from now on it takes memory and this thread's time, so its turn lasts until it is written.
    void answered() { late_ = nullptr; }

  private:
    kj::Own<page_turns> from_;
    asker& by_;
    bool ended_ = false; ///< by itself
    kj::Maybe<kj::Promise<void>> late_;
  };

  /// `only`: the connection has no other page, also none that waits. Nothing if it has waited too long.
  kj::Promise<kj::Maybe<kj::Own<turn>>> begin(asker& by, bool only) {
    give();
    if (has_turn() && may_have_one(by)) // and nobody waits who may
      return kj::Maybe<kj::Own<turn>>{kj::heap<turn>(kj::addRef(*this), by)};
    if (!wanted())
      held_since_ = timer_.now();
    auto waiter = kj::newPromiseAndFulfiller<kj::Maybe<kj::Own<turn>>>();
    (only ? first_ : then_).push_back({kj::mv(waiter.fulfiller), &by});
    return waiter.promise.exclusiveJoin(
        timer_.afterDelay(span(most_.wait)).then([] { return kj::Maybe<kj::Own<turn>>{}; }));
  }

  /// The buffers that turns wait for; they outlive the watching. Null: none.
  void watch(const transport::stream_buffers* buffers) { buffers_ = buffers; }
  /// To be called when the buffers have become emptier.
  void give() {
    while (has_turn() && wanted()) {
      const auto first = next_of(first_), then = next_of(then_);
      if (first == first_.end() && then == then_.end())
        return;
      const bool to_others =
          first == first_.end() || (then != then_.end() && first_in_a_row_ == first_in_a_row_max);
      first_in_a_row_ = to_others || then == then_.end() ? 0 : first_in_a_row_ + 1;
      auto next = kj::mv(to_others ? *then : *first);
      to_others ? then_.erase(then) : first_.erase(first);
      next.begun->fulfill(kj::heap<turn>(kj::addRef(*this), *next.by));
    }
  }
  /// Whether somebody waits.
  bool wanted() {
    for (auto* from : {&first_, &then_})
      while (!from->empty() &&
             !from->front().begun->isWaiting()) // its connection has gone, or it has waited too long
        from->pop_front();
    return !first_.empty() || !then_.empty();
  }
  std::size_t waiting() const { return first_.size() + then_.size(); } ///< with those who have gone
  /// Somebody waits, and since then no turn was given.
  kj::TimePoint held_since() const { return held_since_; }

private:
  struct waiter {
    kj::Own<kj::PromiseFulfiller<kj::Maybe<kj::Own<turn>>>> begun;
    asker* by; ///< gone if nobody waits for `begun`
  };
  using queue = std::deque<waiter>;
  static constexpr unsigned first_in_a_row_max = 3;

  static kj::Duration span(std::chrono::milliseconds d) { return d.count() * kj::MILLISECONDS; }
  bool has_turn() const {
    return turns_ < most_.at_a_time && under_way_ < most_.under_way &&
           (buffers_ == nullptr || !buffers_->crowded());
  }
  bool may_have_one(const asker& by) const {
    return by.under_way == 0 || under_way_ < std::max(1U, most_.under_way / 4);
  }
  /// The one that waits for longest, of those who may have a turn. All of them may unless many are under way.
  queue::iterator next_of(queue& from) const {
    return std::ranges::find_if(from,
                                [this](waiter& w) { return w.begun->isWaiting() && may_have_one(*w.by); });
  }

  kj::Timer& timer_;
  const bounds most_;
  const transport::stream_buffers* buffers_ = nullptr;
  std::uint32_t turns_ = 0;
  std::uint32_t under_way_ = 0;
  unsigned first_in_a_row_ = 0; ///< turns of `first_`, while others waited
  kj::TimePoint held_since_;
  queue first_, then_;
};

} // namespace parley::gateway

#pragma once
// Whose message goes next into the cluster. What is under way there is served in the order in which it came, so a few who
// send as fast as they can would decide how long everybody waits. Here they wait for each other instead: a short message
// of somebody who seldom sends goes at once, the others take turns by what they cost. That is deficit round robin
// (Shreedhar and Varghese, 1995), with a first place for those who did not wait before, as in RFC 8290, section 4.
#include "protocol/gateway/backend.hpp"

#include <kj/async.h>
#include <kj/refcount.h>
#include <kj/timer.h>

#include <algorithm>
#include <cstdint>
#include <deque>
#include <list>

namespace parley::gateway {

/// Owns:   the messages that wait. Those and what is under way are bounded together by a `shared_room`.
/// Thread: that of its server's loop, whose timer outlives it.
/// Holds:  messages of one connection go in the order in which they came. No more than `most` is under way of those that
///         take turns, but for those that are not answered after `turn_max`: their shard may have no leader, and others have
///         one. Also with those it is no more than `bytes_max`, of which the last quarter is for messages that go at once.
///         That is the bound of these; they wait only while `most` is under way of the others, and as much besides.
class send_turns final : public kj::Refcounted {
public:
  /// `most`: in units, each of which costs as much as a short message (`core::sends_of`).
  /// `seldom_max`: in units in a second, or at once; who sends more does not seldom send.
  send_turns(kj::Timer& timer, std::uint32_t most, std::uint32_t seldom_max, std::size_t bytes_max,
             std::chrono::milliseconds turn_max)
      : timer_{timer}, most_{most}, seldom_max_{seldom_max},
        bytes_max_{bytes_max}, turn_max_{turn_max.count() * kj::MILLISECONDS} {}

  /// What a message costs the cluster, and takes of its memory.
  struct cost {
    std::uint32_t units = 0;
    std::size_t bytes = 0;
  };

  /// The messages of one connection, which owns it while it has a session. Later, it takes and gives nothing.
  class lane final : public kj::Refcounted {
  public:
    explicit lane(gateway::session& s) : session_{&s} {}
    /// The session ends. What waits is refused for that reason. This attempt was stored nowhere; of an earlier one with the
    /// same id nobody knows here, so a client has to ask again all the same (`was_stored`).
    void close(ec why) {
      session_ = nullptr;
      for (auto& w : std::exchange(waiting_, {}))
        w.begun->fulfill(core::refusal(w.what, why));
    }

  private:
    friend send_turns;
    struct waiter {
      core::call what;
      cost takes;
      bool seldom = false;
      kj::TimePoint asked_at;
      kj::Own<kj::PromiseFulfiller<kj::Promise<core::answer>>> begun;
    };
    gateway::session* session_; ///< null: closed
    std::list<waiter> waiting_; // empty, it has no memory; most connections are idle
    std::int64_t credit_ = 0;   ///< in units; above 0 it is its turn
    bool listed_ = false;       ///< among those who wait
    double lately_ = 0;         ///< units; `seldom_max` of them leave in a second
    kj::TimePoint lately_at_ = kj::origin<kj::TimePoint>();
  };

  kj::Promise<core::answer> ask(lane& of, core::call what, cost takes) {
    const bool seldom = sends_seldom(of, takes.units) && of.waiting_.empty() && takes.units <= 1;
    if (seldom ? has_room_at_once(takes.bytes) : of.waiting_.empty() && !waits() && has_room())
      return begin(of, {std::move(what), takes, seldom, timer_.now(), {}});
    auto turn = kj::newPromiseAndFulfiller<kj::Promise<core::answer>>();
    of.waiting_.push_back({std::move(what), takes, seldom, timer_.now(), kj::mv(turn.fulfiller)});
    if (!std::exchange(of.listed_, true)) {
      of.credit_ = 1;
      newcomers_.push_back(kj::addRef(of));
    }
    give();
    return kj::mv(turn.promise);
  }
  /// Refuses what has waited for longer, for which the same is true. Returns how many messages those are.
  std::uint64_t give_up(lane& of, std::chrono::milliseconds longer) {
    std::uint64_t n = 0;
    for (; !of.waiting_.empty() &&
           timer_.now() - of.waiting_.front().asked_at > longer.count() * kj::MILLISECONDS;
         ++n) {
      auto late = kj::mv(of.waiting_.front());
      of.waiting_.pop_front();
      late.begun->fulfill(core::refusal(late.what, ec::overloaded,
                                        static_cast<std::uint32_t>(rest_for(late.takes.units).count())));
    }
    return n;
  }
  std::uint32_t under_way() const { return under_way_; } ///< in units

private:
  using line = std::deque<kj::Own<lane>>;
  /// A message under way, until it is answered or its turn is over.
  struct turn {
    kj::TimePoint ends;
    std::uint32_t units = 0; ///< 0: it is over
    bool seldom = false;
  };

  kj::Promise<core::answer> begin(lane& of, lane::waiter its) {
    const auto number = first_ + turns_.size();
    turns_.push_back({timer_.now() + turn_max_, its.takes.units, its.seldom});
    under_way_ += its.takes.units;
    if (!its.seldom)
      busy_ += its.takes.units;
    bytes_under_way_ += its.takes.bytes;
    return kj::evalNow([&] { return of.session_->ask(std::move(its.what)); })
        .attach(kj::defer([this, self = kj::addRef(*this), number, bytes = its.takes.bytes]() mutable {
          bytes_under_way_ -= bytes;
          if (number >= first_)
            end(turns_[number - first_]);
          give();
        }));
  }
  /// Counts the message. Who sends in bursts, each when the last was answered, has nothing under way now and then, too; so
  /// it is not that which counts, but how much they have sent.
  bool sends_seldom(lane& of, std::uint32_t units) {
    const auto us = (timer_.now() - std::exchange(of.lately_at_, timer_.now())) / kj::MICROSECONDS;
    const auto left = std::max(0.0, of.lately_ - static_cast<double>(us) / 1e6 * seldom_max_);
    of.lately_ = std::min(left + units, 10.0 * seldom_max_);
    return of.lately_ <= seldom_max_;
  }
  bool has_room() const {
    return busy_ < most_ && (bytes_under_way_ == 0 || bytes_under_way_ < bytes_max_ / 4 * 3);
  }
  bool has_room_at_once(std::size_t bytes) const {
    return under_way_ < 2 * most_ && bytes_under_way_ + bytes <= bytes_max_;
  }
  void end(turn& t) {
    if (!t.seldom)
      busy_ -= t.units;
    under_way_ -= std::exchange(t.units, 0);
  }

  void give() {
    if (giving_)
      return;
    giving_ = true;
    KJ_DEFER(giving_ = false);
    drop_those_that_are_over();
    while (has_room() && waits())
      next_of(newcomers_.empty() ? ring_ : newcomers_);
    if (must_wake() && !waking_) {
      waking_ = true;
      wake_ = wake().eagerlyEvaluate([this](kj::Exception&&) { waking_ = false; });
    }
  }
  bool must_wake() const { return waits() && !turns_.empty(); } // else an answer is what gives room
  /// One promise for as long as somebody waits: it may not be replaced from inside itself.
  kj::Promise<void> wake() {
    return timer_.atTime(turns_.front().ends).then([this]() -> kj::Promise<void> {
      give();
      if (must_wake())
        return wake();
      waking_ = false;
      return kj::READY_NOW;
    });
  }
  bool waits() const { return !newcomers_.empty() || !ring_.empty(); }

  /// Begins a message of the first one in `line`, or moves it on. A newcomer whose messages have all begun stays one round
  /// more, and as many as a large message has cost, or somebody with one message at a time would always be new.
  void next_of(line& from) {
    auto first = kj::mv(from.front());
    from.pop_front();
    while (!first->waiting_.empty() && !first->waiting_.front().begun->isWaiting())
      first->waiting_.pop_front(); // its call was cancelled
    if (first->waiting_.empty()) {
      if (&from == &ring_ && first->credit_ >= 0) {
        first->listed_ = false;
        return;
      }
      first->credit_ += &from == &ring_ ? 1 : 0;
      ring_.push_back(kj::mv(first));
    } else if (first->credit_ <= 0) {
      ++first->credit_;
      ring_.push_back(kj::mv(first));
    } else {
      auto next = kj::mv(first->waiting_.front());
      first->waiting_.pop_front();
      first->credit_ -= next.takes.units;
      auto& its = *first;
      from.push_front(kj::mv(first));
      auto begun = kj::mv(next.begun);
      begun->fulfill(begin(its, kj::mv(next)));
    }
  }
  void drop_those_that_are_over() {
    for (const auto now = timer_.now();
         !turns_.empty() && (turns_.front().units == 0 || turns_.front().ends <= now); ++first_) {
      end(turns_.front());
      turns_.pop_front();
    }
  }

  kj::Timer& timer_;
  const std::uint32_t most_;
  const std::uint32_t seldom_max_;
  const std::size_t bytes_max_;
  const kj::Duration turn_max_;
  std::deque<turn> turns_;  ///< in the order of their ends
  std::uint64_t first_ = 0; ///< the number of the first of them
  std::uint32_t under_way_ = 0;
  std::uint32_t busy_ = 0;          ///< of those that did not go at once
  std::size_t bytes_under_way_ = 0; ///< also of those whose turn is over
  line newcomers_, ring_;           ///< those who wait, in the order of their turns
  bool giving_ = false;
  bool waking_ = false;
  kj::Promise<void> wake_ = nullptr;
};

} // namespace parley::gateway

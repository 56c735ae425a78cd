#pragma once
#include "protocol/client/values.hpp"

#include <chrono>
#include <deque>
#include <map>
#include <optional>
#include <unordered_map>

namespace parley::client {

/// Which waiting message may leave now: one lane per conversation, so that a slow conversation holds up
/// no other, and messages of one keep their order.
///
/// Owns:   the messages whose outcome is unknown, with their attempts.
/// Thread: its owner's. Pure: time is an argument, as nanoseconds from any fixed origin.
/// Holds:  a message leaves only when at most `window - 1` before it in its conversation are unsettled.
///         With a window of 1 the order of sending is the order in the conversation; above it, an attempt
///         that fails while a later one succeeds can change places with it.
class send_lanes {
public:
  using instant = std::chrono::nanoseconds;
  struct item {
    outgoing it;
    unsigned attempts = 0;
    bool in_flight = false;
  };

  explicit send_lanes(std::size_t window) : window_{std::max<std::size_t>(window, 1)} {}

  void add(outgoing o);
  /// The next message to send, marked as in flight; null if none may leave now. The pointer holds until the
  /// next call of any other member.
  const item* take(instant now);
  /// Its outcome is known. Gives it back; empty body if it was not here.
  outgoing settle(conversation_id c, std::uint64_t counter);
  /// Its outcome is unknown or refused for now: it leaves again, not before `at`.
  void again(conversation_id c, std::uint64_t counter, instant at);
  /// The connection is gone: everything in flight leaves again as soon as it can. Calls `seen` for each.
  template <class F>
  void all_again(F&& seen) {
    for (auto& [c, l] : lanes_) {
      for (auto& i : l.items)
        if (i.in_flight) {
          seen(static_cast<const item&>(i));
          i.in_flight = false;
        }
      l.in_flight = 0;
      l.not_before = {};
      mark_ready(c, l);
    }
    delayed_.clear();
    in_flight_ = 0;
  }
  /// When `take` should be asked again, if only time is in the way.
  std::optional<instant> next_due() const {
    return delayed_.empty() ? std::nullopt : std::optional{delayed_.begin()->first};
  }
  /// Null if its outcome is known.
  const item* peek(conversation_id c, std::uint64_t counter);

  std::size_t size() const { return size_; }
  std::size_t in_flight() const { return in_flight_; }
  bool empty() const { return size_ == 0; }

private:
  struct lane {
    std::deque<item> items; ///< by counter
    std::size_t in_flight = 0;
    instant not_before{};
    bool listed = false; ///< in `ready_`
  };
  void mark_ready(conversation_id c, lane& l);
  static std::deque<item>::iterator find(lane& l, std::uint64_t counter); ///< or the end

  std::size_t window_;
  std::unordered_map<conversation_id, lane> lanes_;
  std::deque<conversation_id> ready_; ///< lanes that may have something to send; each at most once
  std::multimap<instant, conversation_id> delayed_;
  std::size_t size_ = 0;
  std::size_t in_flight_ = 0;
};

} // namespace parley::client

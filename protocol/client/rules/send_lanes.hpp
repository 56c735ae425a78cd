#pragma once
#include "protocol/client/rules/backoff.hpp"
#include "protocol/client/values.hpp"

#include <chrono>
#include <deque>
#include <map>
#include <optional>
#include <unordered_map>

namespace parley::client {

/// Decides which waiting message may be sent now. Each conversation has a lane of its own, so a slow
/// conversation delays no other, and the messages of one conversation keep their order.
///
/// Owns:   the messages whose outcome is unknown, with their attempts.
/// Thread: its owner's. Pure: time is an argument.
/// Holds:  a message is sent only when at most `window - 1` messages before it in its conversation are
///         unsettled. With a window of 1 the order of sending is the order in the conversation. With a
///         larger window an attempt that fails can be overtaken by a later one that succeeds.
class send_lanes {
public:
  struct item {
    outgoing it;
    unsigned attempts = 0; ///< under the id that it has now
    bool in_flight = false;
    unsigned renumberings = 0;
    instant taken_at{}; ///< when the newest attempt began
    /// Whether no attempt but the one under way can have stored the message under its id.
    bool first_attempt() const { return attempts == 1 && !it.tried; }
  };

  explicit send_lanes(std::size_t window) : window_{std::max<std::size_t>(window, 1)} {}

  void add(outgoing o);
  /// The next message to send, which is then in flight; null if none may be sent now. The pointer is valid
  /// until another member is called.
  const item* take(instant now);
  /// The outcome of the message is known: removes and returns it. Without a body if it was not here.
  outgoing settle(conversation_id c, std::uint64_t counter);
  /// The outcome is unknown, or the message was refused for now: it is sent again, not before `at`.
  void again(conversation_id c, std::uint64_t counter, instant at);
  /// The message is to be sent as soon as possible under a new id, as if it had never been sent.
  void renumbered(conversation_id c, std::uint64_t counter, std::uint64_t sent_as);
  /// The connection is lost: everything in flight is sent again as soon as possible. Calls `seen` for each.
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
    in_flight_bytes_ = 0;
  }
  /// When `take` can return something that only has to wait for its time.
  std::optional<instant> next_due() const {
    return delayed_.empty() ? std::nullopt : std::optional{delayed_.begin()->first};
  }
  /// The message, or null if its outcome is known.
  const item* peek(conversation_id c, std::uint64_t counter);

  std::size_t size() const { return size_; }
  std::size_t in_flight() const { return in_flight_; }
  /// As the cluster counts them (docs/api.md).
  std::size_t in_flight_bytes() const { return in_flight_bytes_; }
  bool empty() const { return size_ == 0; }
  /// The highest counter of a message that is here.
  std::uint64_t newest() const;

private:
  struct lane {
    std::deque<item> items; ///< by counter
    std::size_t in_flight = 0;
    instant not_before{};
    bool listed = false; ///< in `ready_`
  };
  static std::size_t bytes_of(const item& i) { return send_overhead_bytes + i.it.body->size(); }
  void landed(lane& l, const item& i);
  void mark_ready(conversation_id c, lane& l);
  static std::deque<item>::iterator find(lane& l, std::uint64_t counter); ///< or the end

  std::size_t window_;
  std::unordered_map<conversation_id, lane> lanes_;
  std::deque<conversation_id> ready_; ///< lanes that may have something to send; each at most once
  std::multimap<instant, conversation_id> delayed_;
  std::size_t size_ = 0;
  std::size_t in_flight_ = 0;
  std::size_t in_flight_bytes_ = 0;
};

} // namespace parley::client

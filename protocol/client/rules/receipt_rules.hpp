#pragma once
// What a device tells the cluster about what it has received, and when: two sets of rules, both pure.
#include "protocol/client/rules/backoff.hpp"
#include "protocol/client/values.hpp"

#include <map>
#include <optional>
#include <vector>

namespace parley::client {

/// Decides when the place in the inbox is acknowledged: the first message at once, so that its sender sees it
/// delivered, and what follows in few calls.
///
/// Owns:   the place that the store has reached, the place that the cluster has confirmed, and the state of
///         the one acknowledgement that may be under way.
/// Thread: its owner's. Pure: time is an argument.
/// Holds:  one acknowledgement is under way at a time; only a place that the store has is acknowledged.
class delivery_acks {
public:
  /// `every`: between two acknowledgements. `items_max`: so many messages are acknowledged without waiting.
  delivery_acks(std::chrono::nanoseconds every, std::size_t items_max)
      : every_{every}, items_max_{items_max} {}

  /// What the store remembers of earlier lives of this device.
  void restore(cursor applied, cursor acknowledged) {
    applied_ = std::move(applied);
    acknowledged_ = std::move(acknowledged);
  }
  const cursor& applied() const { return applied_; }
  /// Whether the cluster knows all that the store has.
  bool idle() const { return applied_ == acknowledged_; }

  /// The store has everything up to `upto`, and with it so many more messages.
  void advance(cursor upto, std::size_t messages) {
    applied_ = std::move(upto);
    unacknowledged_ += messages;
  }

  enum class step : std::uint8_t {
    nothing, ///< an acknowledgement is under way, or a timer for it is set
    now,     ///< call `begin`
    at_due   ///< set a timer for `due`, then call `timer_fired` and `begin`
  };
  struct decision {
    step what = step::nothing;
    instant due{};
  };
  /// To be asked while connected, after `advance` and after an answer. `messages`: how many just arrived;
  /// rows that are no messages are in no hurry.
  decision next(std::size_t messages, instant now);
  void timer_fired() { timer_set_ = false; }

  /// The place to acknowledge now, which is then under way; nothing if there is no need.
  std::optional<cursor> begin(instant now);
  /// Whether the cluster knows the place after this answer, or does not want it: then it is not offered
  /// again, because the next delivery brings a better one.
  static bool is_settled_by(ec answer) { return answer == ec::none || answer == ec::bad_cursor; }
  /// `known`: see `is_settled_by`.
  void answered(const cursor& upto, bool known) {
    under_way_ = false;
    if (known)
      acknowledged_ = upto;
  }
  /// At the beginning of a session the cluster knows only `known`, although it had confirmed all that is
  /// applied: it confirms a place before a majority has it, and forgets it if the leader dies then.
  void forgotten(cursor known) { acknowledged_ = std::move(known); }
  /// The connection is gone, and with it the call and the timer.
  void lost() { under_way_ = timer_set_ = false; }

private:
  std::chrono::nanoseconds every_;
  std::size_t items_max_;
  cursor applied_;
  cursor acknowledged_;
  std::size_t unacknowledged_ = 0;
  bool under_way_ = false;
  bool timer_set_ = false;
  std::optional<instant> last_; ///< when the last acknowledgement left
};

/// Decides what the cluster is told about what a person has read.
///
/// Owns:   per conversation, how far it was read, how far the cluster knows, and whether a call is under way.
/// Thread: its owner's. Pure.
/// Holds:  positions only rise, except in `fall`; one call per conversation is under way at a time, with the
///         newest position.
class read_marks {
public:
  struct mark {
    conversation_id conversation;
    seq_no upto{};
  };
  /// Whether a person has now read further than before.
  bool news(conversation_id c, seq_no upto) const;
  /// The cluster is to learn that the conversation was read up to `upto`.
  void want(conversation_id c, seq_no upto);
  /// All positions to tell now, which are then under way.
  std::vector<mark> take();
  enum class fate : std::uint8_t {
    settled,      ///< the cluster knows it, or has refused it for good: telling it again would change nothing
    next_session, ///< it stays under way until `lost`, and the next session tells it
    again         ///< the cluster could not take it: `again`, after `pause`
  };
  struct verdict {
    fate what = fate::settled;
    std::chrono::milliseconds pause{0};
  };
  /// What an answer means for its mark. `every`: the shortest pause before the next attempt.
  static verdict judge(const failure& answer, std::chrono::milliseconds every);
  void settled(const mark& told);
  void again(conversation_id c) { conversations_[c].under_way = false; }
  void lost();
  /// The cluster has lost what it had of the conversation after `upto`, and what was told about it.
  void fall(conversation_id c, seq_no upto);
  bool idle() const;

private:
  struct reading {
    seq_no wanted{};
    seq_no known{};
    bool under_way = false;
  };
  std::map<conversation_id, reading> conversations_;
};

} // namespace parley::client

#pragma once
#include "protocol/client/rules/backoff.hpp"
#include "protocol/client/rules/session_rules.hpp"

#include <algorithm>

namespace parley::client {

/// Decides what a refused attempt means for its message and for the node that refused it.
///
/// Owns:   how many attempts were refused in a row for a reason that another node may not have.
/// Thread: its owner's. Pure: chance is an argument.
/// Holds:  a message is given up only after a final refusal of the message itself. A refusal of the session
///         says nothing about the message, which is sent again on the next session. A node that has too much
///         to do refuses at once what exceeds its bounds, while the rest is on its way. So the refusals of
///         one burst count as one: whoever left then would lose the answers to the rest, and send all of it
///         again elsewhere, to nodes that have too much to do already.
class resend_rules {
public:
  /// `other_nodes`: whether there is another node to go to.
  resend_rules(backoff_config pace, unsigned move_after_refusals, bool other_nodes)
      : pace_{pace}, move_after_refusals_{move_after_refusals}, other_nodes_{other_nodes} {}

  struct verdict {
    bool again = false;                 ///< false: the message will never be stored
    std::chrono::milliseconds pause{0}; ///< `again`: how long the next attempt waits
    bool leave = false;                 ///< this node refuses too often: try another
  };
  /// `attempt` counts the attempts of this message, from 1. This one began at `began`.
  verdict refused(const failure& why, unsigned attempt, instant began, instant now, dice& chance) {
    verdict v;
    v.again = may_help_to_repeat(why);
    if (!v.again)
      return v;
    backoff pace{pace_};
    for (unsigned i = 1; i < std::min(attempt, 20U); ++i)
      pace.next(chance);
    v.pause = std::max(pace.next(chance), why.retry_after);
    const bool same_burst = why.code == ec::overloaded && refusals_ > 0 && began <= counted_at_;
    if (speaks_of_the_node(why.code) && !same_burst) {
      counted_at_ = now;
      v.leave = ++refusals_ >= move_after_refusals_ && other_nodes_;
    }
    return v;
  }
  void accepted() { refusals_ = 0; }
  void connected() { refusals_ = 0; }

private:
  /// A node that reaches no majority refuses like this, attempt after attempt; another node may not.
  static bool speaks_of_the_node(ec code) {
    return code == ec::unavailable || code == ec::timed_out || code == ec::not_leader ||
           code == ec::overloaded || code == ec::storage_failed || code == ec::disk_full;
  }

  backoff_config pace_;
  unsigned move_after_refusals_;
  bool other_nodes_;
  unsigned refusals_ = 0;
  instant counted_at_{}; ///< when the last of them came
};

} // namespace parley::client

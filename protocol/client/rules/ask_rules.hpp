#pragma once
#include "protocol/client/rules/backoff.hpp"
#include "protocol/client/rules/session_rules.hpp"

#include <algorithm>
#include <optional>

namespace parley::client {

/// Decides whether a call that asks the cluster something is made again, and after which pause.
///
/// Owns:   the deadline of all attempts together, and the backoff between them. One object for each question.
/// Thread: its owner's. Pure: time and chance are arguments.
/// Holds:  no attempt begins after the deadline; a final refusal is not asked again; a pause is never shorter
///         than the cluster's advice.
class ask_rules {
public:
  ask_rules(backoff_config pace, instant deadline) : pace_{pace}, deadline_{deadline} {}

  instant deadline() const { return deadline_; }
  bool over(instant now) const { return now >= deadline_; }
  /// An attempt failed. Answers how long the next one waits; nothing: `why` is the answer to the question.
  std::optional<std::chrono::milliseconds> again(const failure& why, instant now, dice& chance) {
    if (!may_help_to_repeat(why) || over(now))
      return std::nullopt;
    const auto wait = std::max(pace_.next(chance), why.retry_after);
    if (over(now + wait)) // another attempt would come too late
      return std::nullopt;
    return wait;
  }

private:
  backoff pace_;
  instant deadline_;
};

} // namespace parley::client

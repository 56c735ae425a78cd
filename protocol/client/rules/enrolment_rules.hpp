#pragma once
#include "protocol/client/rules/backoff.hpp"
#include "protocol/values/failure.hpp"

#include <algorithm>
#include <cstddef>
#include <optional>

namespace parley::client {

/// Decides which seed is asked next by a device that is not registered yet, and after which pause.
///
/// Owns:   how many attempts were made, the deadline of all of them, and the backoff between rounds. One object for
///         each request.
/// Thread: its owner's. Pure: time and chance are arguments.
/// Holds:  a round asks every seed once, without a pause between them; a pause follows each round. No attempt
///         begins after the deadline, but for the pause before it. Only a refusal that another node may not
///         have leads to another attempt, with one exception: who has asked too soon, after another device of
///         the number or after an attempt of its own that had no answer, waits for as long as the node says, if
///         that is before the deadline, and asks it again.
class enrolment_rules {
public:
  /// `first`: the seed to begin with.
  enrolment_rules(std::size_t seeds, std::size_t first, backoff_config pace, instant deadline)
      : seeds_{seeds}, first_{first}, pace_{pace}, deadline_{deadline} {}

  /// The index of the seed to ask now.
  std::size_t seed() const { return (first_ + tried_) % seeds_; }

  struct retry {
    bool at_once = false; ///< within a round
    std::chrono::milliseconds pause{0};
  };
  /// The attempt failed. Answers when the next one is made, at `seed()`; nothing: `why` is the answer.
  std::optional<retry> again(const failure& why, instant now, dice& chance) {
    if (why.code == ec::rate_limited && why.retry_after.count() > 0) {
      const auto pause =
          std::max(why.retry_after, pace_.next(chance)); // one that says 1 ms is not asked all the time
      return now + pause < deadline_ ? std::optional{retry{false, pause}} : std::nullopt;
    }
    // The two speak of the phone number, whichever node is asked.
    const bool elsewhere = why.retryable && why.code != ec::rate_limited && why.code != ec::code_send_failed;
    if (!elsewhere || now >= deadline_)
      return std::nullopt;
    if (++tried_ % seeds_ != 0)
      return retry{true, {}};
    return retry{false, pace_.next(chance)};
  }

private:
  std::size_t seeds_;
  std::size_t first_;
  std::size_t tried_ = 0;
  backoff pace_;
  instant deadline_;
};

} // namespace parley::client

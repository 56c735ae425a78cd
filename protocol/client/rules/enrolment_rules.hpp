#pragma once
#include "protocol/client/rules/backoff.hpp"
#include "protocol/values/failure.hpp"

#include <cstddef>
#include <optional>

namespace parley::client {

/// Decides which seed is asked next by a device that is not registered yet, and after which pause.
///
/// Owns:   how many attempts were made, the deadline of all of them, the backoff between rounds, and whether
///         an attempt may have begun something without an answer. One object for each request.
/// Thread: its owner's. Pure: time and chance are arguments.
/// Holds:  a round asks every seed once, without a pause between them; a pause follows each round. No attempt
///         begins after the deadline, but for the pause before it. Only a refusal that another node may not
///         have leads to another attempt, with one exception: who asks again because nobody answered is
///         limited by what the attempt without an answer has begun. So he waits once for as long as the node
///         says, and asks it again.
class enrolment_rules {
public:
  /// `first`: the seed to begin with. `unanswered`: an earlier request for the same had no answer.
  enrolment_rules(std::size_t seeds, std::size_t first, backoff_config pace, instant deadline,
                  bool unanswered)
      : seeds_{seeds}, first_{first}, pace_{pace}, deadline_{deadline}, unanswered_{unanswered} {}

  /// The index of the seed to ask now.
  std::size_t seed() const { return (first_ + tried_) % seeds_; }

  struct retry {
    bool at_once = false; ///< within a round
    std::chrono::milliseconds pause{0};
  };
  /// The attempt failed. Answers when the next one is made, at `seed()`; nothing: `why` is the answer.
  std::optional<retry> again(const failure& why, instant now, dice& chance) {
    if (why.code == ec::rate_limited && unanswered_ && now + why.retry_after < deadline_) {
      unanswered_ = false;
      return retry{false, why.retry_after};
    }
    unanswered_ |= why.code == ec::unavailable || why.code == ec::timed_out;
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
  bool unanswered_;
};

} // namespace parley::client

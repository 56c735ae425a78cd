#pragma once
// When a device's acknowledged position is written into its cursor.
//
// A device acknowledges as fast as it reads, and nobody waits for the write. So the first position is
// proposed at once, and those that follow within a pause are proposed together after it. A refused proposal
// has changed nothing: the position is proposed again, after a pause that doubles each time. One proposal
// moves the cursor by a bounded number of rows: the rest is proposed as soon as the outcome says how far it
// came.
#include "protocol/values/errors.hpp"
#include "protocol/values/planted_bugs.hpp"
#include "protocol/values/types.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>

namespace parley::core {

/// Thread: its owner's. Time is an argument.
/// Holds:  one proposal is under way at a time, so that a refusal says which position is not written.
class cursor_writer {
public:
  using time_point = std::chrono::steady_clock::time_point;
  /// After a refusal the pause is at most `every` times two to this power.
  static constexpr std::uint8_t doublings_max = 4;

  /// The device has everything up to `upto`.
  void acknowledge(inbox_pos upto) { acknowledged_ = std::max(acknowledged_, upto); }
  inbox_pos acknowledged() const { return acknowledged_; }
  /// The stored cursor is at `upto`.
  void stored(inbox_pos upto) { stored_ = std::max(stored_, upto); }
  /// What was acknowledged is not stored yet.
  bool behind() const { return acknowledged_ > stored_; }

  /// What is to be proposed now, if anything. `every`: the pause between two proposals.
  std::optional<inbox_pos> propose(time_point now, std::chrono::milliseconds every) {
    if (!behind() || under_way_ || now < due_)
      return std::nullopt;
    under_way_ = true;
    due_ = now + every;
    proposed_ = acknowledged_;
    if (planted("ack-written-once"))
      stored_ = proposed_;
    return proposed_;
  }
  /// The proposal was applied: the stored cursor is at `upto` now.
  void written(inbox_pos upto, time_point now, std::chrono::milliseconds every) {
    under_way_ = false;
    const bool further = upto > stored_;
    stored(upto);
    if (!further) {
      pause(now, every); // the next attempt would find the same
      return;
    }
    refusals_ = 0;
    if (upto < proposed_)
      due_ = now;
  }
  /// The proposal was not applied. What would be refused again is not repeated, until the device acknowledges
  /// it again.
  void refused(ec why, time_point now, std::chrono::milliseconds every) {
    under_way_ = false;
    if (describe(why).retryable)
      pause(now, every);
    else
      acknowledged_ = stored_;
  }

private:
  void pause(time_point now, std::chrono::milliseconds every) {
    due_ = now + every * (1 << refusals_);
    refusals_ = std::min<std::uint8_t>(refusals_ + 1, doublings_max);
  }

  inbox_pos acknowledged_{}; ///< as the device reported
  inbox_pos stored_{};
  inbox_pos proposed_{};
  time_point due_{}; ///< nothing is proposed before
  bool under_way_ = false;
  std::uint8_t refusals_ = 0; ///< in a row
};

} // namespace parley::core

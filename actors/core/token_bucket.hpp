#pragma once
#include <algorithm>
#include <chrono>
#include <cstdint>

namespace parley::core {

/// Admits `burst_max` at once, then one more each `refill_every`. Time is an argument, so a test's is
/// virtual.
class token_bucket {
public:
  using time_point = std::chrono::steady_clock::time_point;

  token_bucket(std::int64_t burst_max, std::chrono::nanoseconds refill_every)
      : burst_max_{burst_max}, left_{burst_max}, refill_every_{refill_every} {}

  /// What costs more than is left is admitted as long as something is left; the rest is owed, and earned before the
  /// next. So nothing is too dear for a small bucket.
  bool take(time_point now, std::int64_t cost = 1) {
    refill(now);
    if (left_ <= 0)
      return false;
    left_ -= cost;
    return true;
  }

  /// What was taken was not used.
  void give_back() { left_ = std::min(left_ + 1, burst_max_); }

  /// How long until `take` succeeds; zero if it would now.
  std::chrono::nanoseconds wait(time_point now) {
    refill(now);
    return left_ > 0 ? std::chrono::nanoseconds{0} : refilled_at_ + (1 - left_) * refill_every_ - now;
  }

private:
  /// A full bucket earns nothing: its next refill counts from the take that opens it, not from the clock's
  /// zero.
  void refill(time_point now) {
    if (left_ < burst_max_) {
      const auto earned = (now - refilled_at_) / refill_every_;
      if (earned <= 0)
        return;
      left_ = earned > burst_max_ - left_ ? burst_max_ : left_ + earned;
      refilled_at_ += earned * refill_every_;
    }
    if (left_ == burst_max_)
      refilled_at_ = now;
  }

  std::int64_t burst_max_;
  std::int64_t left_;
  std::chrono::nanoseconds refill_every_;
  time_point refilled_at_{};
};

} // namespace parley::core

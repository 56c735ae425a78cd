#pragma once
// How much one user may ask of a node, over all their devices and connections.
#include "actors/core/recently_seen.hpp"
#include "actors/core/token_bucket.hpp"
#include "protocol/values/types.hpp"

#include <array>
#include <chrono>
#include <mutex>

namespace parley {

/// A rate that belonged to a connection would begin afresh with each, and count as often as a user has
/// devices.
///
/// Owns:   a bucket for sends and one for all calls, for each user who asked lately.
/// Thread: any; short critical sections, of which unrelated users seldom share one.
class user_rates {
public:
  struct rate {
    std::int64_t burst_max;
    std::chrono::nanoseconds refill_every;
  };
  user_rates(rate sends, rate calls)
      : fresh_{{sends.burst_max, sends.refill_every}, {calls.burst_max, calls.refill_every}} {}

  /// For a call that counts as so many sends (`core::sends_of`); 0: as a call only. Zero: it may be made, and is counted.
  /// Else how long the user has to wait; a refused send does not count as a call.
  std::chrono::nanoseconds take(user_id user, std::uint32_t sends, core::token_bucket::time_point now) {
    auto& part = parts_[mix64(number(user)) % parts_.size()];
    const std::lock_guard guard{part.mutex};
    auto& its = part.users.find(user, fresh_);
    if (sends != 0 && !its.sends.take(now, sends))
      return its.sends.wait(now);
    return its.calls.take(now) ? std::chrono::nanoseconds{0} : its.calls.wait(now);
  }

private:
  static constexpr std::size_t users_max = 200'000; ///< about 100 bytes each
  struct buckets {
    core::token_bucket sends, calls;
  };
  struct part {
    std::mutex mutex;
    core::recently_seen<user_id, buckets> users{users_max / 64};
  };
  const buckets fresh_;
  std::array<part, 64> parts_;
};

} // namespace parley

#pragma once
// How often a user may look for other users by number or id.
#include "actors/core/recently_seen.hpp"
#include "actors/core/token_bucket.hpp"
#include "protocol/values/types.hpp"

#include <mutex>

namespace parley::gateway {

/// Who goes through all numbers mostly asks for those that nobody has, so such a question costs more. Until
/// its answer has come each question costs as much, or many at once would be cheap. Shared by the servers of a
/// process, because a user may have a connection at each.
///
/// Thread: any.
class lookup_limits {
public:
  using time_point = core::token_bucket::time_point;
  struct rate {
    std::int64_t burst_max;
    std::chrono::nanoseconds refill_every;
    std::uint32_t miss_costs; ///< somebody who is found costs one
  };

  /// Zero if `who` may ask, else how long to wait.
  std::chrono::nanoseconds admit(user_id who, const rate& r, time_point now) {
    const std::lock_guard guard{mutex_};
    auto& its = buckets_.find(who, {{r.burst_max, r.refill_every}, 0});
    while (its.spare < r.miss_costs && its.bucket.take(now))
      ++its.spare;
    if (its.spare < r.miss_costs)
      return its.bucket.wait(now) + (r.miss_costs - its.spare - 1) * r.refill_every;
    its.spare -= r.miss_costs;
    return std::chrono::nanoseconds{0};
  }
  /// A question of `who` found somebody: it costs less than was taken.
  void found(user_id who, const rate& r) {
    const std::lock_guard guard{mutex_};
    buckets_.find(who, {{r.burst_max, r.refill_every}, 0}).spare += r.miss_costs - 1;
  }
  /// The one who was found has a conversation with `who` already, so nobody was looked for: it costs nothing.
  void known(user_id who, const rate& r) {
    const std::lock_guard guard{mutex_};
    ++buckets_.find(who, {{r.burst_max, r.refill_every}, 0}).spare;
  }

private:
  static constexpr std::size_t users_max = 100'000; ///< to remember, about 70 bytes each
  struct budget {
    core::token_bucket bucket;
    std::uint64_t spare = 0; ///< taken from the bucket and not used
  };
  std::mutex mutex_;
  core::recently_seen<user_id, budget> buckets_{users_max};
};

} // namespace parley::gateway

#pragma once
// How often a user may look for other users by number or id.
#include "actors/core/recently_seen.hpp"
#include "actors/core/token_bucket.hpp"
#include "protocol/values/types.hpp"

#include <mutex>

namespace parley::gateway {

/// Who goes through all numbers mostly asks for those that nobody has, so such a question costs more. Shared
/// by the servers of a process, because a user may have a connection at each.
///
/// Thread: any.
class lookup_limits {
public:
  using time_point = core::token_bucket::time_point;

  /// Zero if `who` may ask, else how long to wait.
  std::chrono::nanoseconds admit(user_id who, const core::token_bucket& fresh, time_point now) {
    const std::lock_guard guard{mutex_};
    auto& its = buckets_.find(who, fresh);
    return its.take(now) ? std::chrono::nanoseconds{0} : its.wait(now);
  }
  /// The last question found nobody, which costs `more`.
  void missed(user_id who, const core::token_bucket& fresh, std::uint32_t more, time_point now) {
    const std::lock_guard guard{mutex_};
    auto& its = buckets_.find(who, fresh);
    for (; more > 0 && its.take(now); --more) {
    }
  }

private:
  static constexpr std::size_t users_max = 100'000; ///< to remember, about 70 bytes each
  std::mutex mutex_;
  core::recently_seen<user_id, core::token_bucket> buckets_{users_max};
};

} // namespace parley::gateway

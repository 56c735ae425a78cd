#pragma once
// Why the server closed a device's last connection. The device gets the reason at its next login, because a
// client that does not read does not receive it when the connection is closed.
#include "protocol/values/errors.hpp"
#include "protocol/values/types.hpp"

#include <mutex>
#include <unordered_map>
#include <utility>

namespace parley::gateway {

/// Owns:   at most `sessions_max` reasons. When half that many are new, the older ones are forgotten.
/// Thread: any.
class closed_sessions {
public:
  explicit closed_sessions(std::size_t sessions_max) : half_{sessions_max / 2 + 1} {}

  void note(user_id user, device_id device, ec why) {
    std::lock_guard guard{mutex_};
    if (recent_.size() >= half_) {
      older_ = std::move(recent_);
      recent_.clear();
    }
    recent_[key(user, device)] = why;
  }
  /// Answers the reason once. `none` if this server did not close the session, or closed it too long ago.
  ec take(user_id user, device_id device) {
    std::lock_guard guard{mutex_};
    const auto k = key(user, device);
    for (auto* reasons : {&recent_, &older_}) {
      if (auto i = reasons->find(k); i != reasons->end()) {
        const auto why = i->second;
        reasons->erase(i);
        return why;
      }
    }
    return ec::none;
  }

private:
  static std::uint64_t key(user_id user, device_id device) {
    return mix64(number(user) ^ mix64(number(device))); // meeting by chance costs a wrong hint
  }
  std::mutex mutex_;
  std::size_t half_;
  std::unordered_map<std::uint64_t, ec> recent_;
  std::unordered_map<std::uint64_t, ec> older_;
};

} // namespace parley::gateway

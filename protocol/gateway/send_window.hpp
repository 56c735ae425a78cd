#pragma once
// How much those who send a lot may have under way in the cluster, so that those who seldom send need not wait behind it.
// It grows while it is full and these do not wait long, and halves while they do. What is long depends on the disks, so it
// is measured, as TCP Vegas does (Brakmo and Peterson, 1995).
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <utility>

namespace parley::gateway {

/// Holds:  `least` <= size <= `most`, which is its size while nobody sends seldom.
class send_window {
public:
  using duration = std::chrono::microseconds;
  using moment = std::chrono::microseconds; ///< since any fixed time

  static constexpr duration always_quick = std::chrono::milliseconds{20};
  static constexpr duration remembers = std::chrono::seconds{10};

  send_window(std::uint32_t least, std::uint32_t most) : least_{least}, most_{most}, size_{least} {}

  /// In the units of `most`, which it is while nobody is there whom less would help.
  std::uint32_t size(moment now) const { return nobody_seldom(now) ? most_ : size_; }
  /// Something waits because so much is under way.
  void full() { full_ = true; }
  /// A message of somebody who had nothing else under way was answered.
  void answered(duration took, moment now) {
    if (now - period_began_ > remembers) {
      quickest_before_ = quickest_;
      quickest_ = took;
      period_began_ = now;
    }
    quickest_ = std::min(quickest_, took);
    const auto since = nobody_seldom(now) ? duration{0} : duration{now - last_};
    last_ = now;
    const bool was_full = std::exchange(full_, false);
    if (took > std::max(always_quick, 3 * std::min(quickest_, quickest_before_))) {
      if (now - halved_ < took)
        return; // it was sent before the last change, and says nothing of it
      size_ = std::max(size_ / 2, least_);
      halved_ = now;
    } else if (was_full) {
      change_ += static_cast<std::int64_t>(size_) * since.count();
    } else {
      change_ -= static_cast<std::int64_t>(size_ - least_) * since.count();
    }
    constexpr std::int64_t second = 1'000'000; // in which it doubles, or is forgotten
    size_ = static_cast<std::uint32_t>(std::clamp<std::int64_t>(size_ + change_ / second, least_, most_));
    change_ %= second;
  }

private:
  bool nobody_seldom(moment now) const { return now - last_ > std::chrono::seconds{1}; }

  const std::uint32_t least_, most_;
  std::uint32_t size_;
  std::int64_t change_ = 0; ///< less than one unit, in millionths
  bool full_ = false;       ///< since the last answer
  moment last_{-std::chrono::hours{1}}, halved_{last_}, period_began_{last_};
  duration quickest_ = duration::max() / 4;
  duration quickest_before_ = duration::max() / 4;
};

} // namespace parley::gateway

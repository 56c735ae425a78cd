#pragma once
// How much those who send a lot may have under way in the cluster, so that those who seldom send need not wait behind it.
// It halves while these wait long, and grows while they do not: additive in time where TCP is additive in round trips.
// What is long depends on the disks, so it is measured, as TCP Vegas does (Brakmo and Peterson, 1995).
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

  send_window(std::uint32_t least, std::uint32_t most) : least_{least}, most_{most}, size_{most} {}

  /// In the units of `most`.
  std::uint32_t size(moment now) {
    if (now - last_ > std::chrono::seconds{1})
      size_ = most_; // nobody is there whom it would help
    return size_;
  }
  /// A message of somebody who had nothing else under way was answered.
  void answered(duration took, moment now) {
    size(now);
    if (now - period_began_ > remembers) {
      quickest_before_ = quickest_;
      quickest_ = took;
      period_began_ = now;
    }
    quickest_ = std::min(quickest_, took);
    const auto since = std::min<duration>(now - std::exchange(last_, now), std::chrono::seconds{1});
    if (took <= std::max(always_quick, 3 * std::min(quickest_, quickest_before_))) {
      grown_ += static_cast<std::uint64_t>(size_) * static_cast<std::uint64_t>(since.count());
      constexpr std::uint64_t second = 1'000'000; // in which it doubles
      size_ = static_cast<std::uint32_t>(std::min<std::uint64_t>(size_ + grown_ / second, most_));
      grown_ %= second;
    } else if (now - halved_ >= took) { // else it was sent before the last change, and says nothing of it
      size_ = std::max(size_ / 2, least_);
      halved_ = now;
    }
  }

private:
  const std::uint32_t least_, most_;
  std::uint32_t size_;
  std::uint64_t grown_ = 0; ///< less than one unit, in millionths
  moment last_{}, halved_{}, period_began_{};
  duration quickest_ = duration::max() / 4;
  duration quickest_before_ = duration::max() / 4;
};

} // namespace parley::gateway

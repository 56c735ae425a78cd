#pragma once
// What a program counts about itself: relaxed atomics, added to on hot paths and read when metrics are
// collected.
// Thread: any.
#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace parley {

using counter = std::atomic<std::uint64_t>;

inline void add(counter& c, std::uint64_t n = 1) {
  c.fetch_add(n, std::memory_order_relaxed);
}

/// Bucket i counts durations below 2^i microseconds (and not below half of that).
struct duration_histogram {
  static constexpr std::size_t buckets_max = 28;
  std::array<counter, buckets_max> buckets{};
  counter sum_us{0};
  counter count{0};

  void observe(std::chrono::nanoseconds d) {
    const auto us = static_cast<std::uint64_t>(d.count() < 0 ? 0 : d.count() / 1000);
    const auto i = static_cast<std::size_t>(std::bit_width(us));
    add(buckets[i < buckets_max ? i : buckets_max - 1]);
    add(sum_us, us);
    add(count);
  }
};

/// Bucket i counts numbers below 2^i (and not below half of that).
struct size_histogram {
  static constexpr std::size_t buckets_max = 17;
  std::array<counter, buckets_max> buckets{};
  counter sum{0};

  void observe(std::uint64_t n) {
    const auto i = static_cast<std::size_t>(std::bit_width(n));
    add(buckets[i < buckets_max ? i : buckets_max - 1]);
    add(sum, n);
  }
};

} // namespace parley

#pragma once
// What gateways count. One object per process, shared by its servers; the admin port reads it.
#include "protocol/transport/message_stream.hpp"
#include "protocol/values/errors.hpp"

#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstdint>

namespace parley::gateway {

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

struct gateway_metrics {
  counter accepted{0};          ///< connections
  counter refused{0};           ///< above a cap
  counter connections{0};       ///< now
  counter sessions{0};          ///< logged in, now
  counter handshakes_failed{0}; ///< refused, given up, or not in time
  counter accepts_paused{0};    ///< handshakes came too fast, or descriptors ran out
  counter logins{0};
  counter logins_failed{0};
  counter codes_sent{0};
  counter registrations{0};
  counter limited{0}; ///< refused by a limit per address
  counter calls{0};
  counter sends{0};
  std::array<counter, 256> send_errors{}; ///< by `ec`
  counter internal_errors{0};
  counter rows_delivered{0};
  counter bytes_in{0}; ///< on the wire; brought up to date by the sweep
  counter bytes_out{0};
  std::array<counter, transport::close_reasons> closes{};
  duration_histogram taken_to_written;   ///< from `session::take` until the kernel has it
  duration_histogram applied_to_written; ///< of each pushed row, from when its inbox's leader applied it
};

} // namespace parley::gateway

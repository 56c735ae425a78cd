#pragma once
#include "protocol/values/types.hpp"

#include <algorithm>
#include <chrono>

namespace parley::client {

/// A moment as the rules of the client see it: nanoseconds from any fixed origin. Time is always an argument,
/// so that tests and simulations choose it.
using instant = std::chrono::nanoseconds;

/// A small random generator: it takes eight bytes for each client. A Mersenne twister would take 2.5 KB, and
/// a loop has thousands of clients.
class dice {
public:
  explicit dice(std::uint64_t seed) : state_{seed} {}
  std::uint64_t roll() { return mix64(state_ += 0x9e3779b97f4a7c15ULL); }
  /// A number from 0 to `max`, both included.
  std::uint64_t upto(std::uint64_t max) { return max == ~0ULL ? roll() : roll() % (max + 1); }

private:
  std::uint64_t state_;
};

struct backoff_config {
  std::chrono::milliseconds first{500}; ///< the first ceiling
  std::chrono::milliseconds max{60'000};
};

/// Full jitter: the n-th wait is random, from 0 to min(max, first · 2^n). Clients that lost the same node at
/// the same moment therefore do not come back at the same moment.
class backoff {
public:
  explicit backoff(backoff_config config) : config_{config} {}

  std::chrono::milliseconds ceiling() const {
    auto c = config_.first;
    for (unsigned i = 0; i < failures_ && c < config_.max; ++i)
      c *= 2;
    return std::min(c, config_.max);
  }
  /// How long to wait before the next try, `at_most` so long; raises the ceiling for the one after it.
  std::chrono::milliseconds next(dice& chance,
                                 std::chrono::milliseconds at_most = std::chrono::milliseconds::max()) {
    const auto wait = chance.upto(static_cast<std::uint64_t>(std::min(ceiling(), at_most).count()));
    if (failures_ < 63)
      ++failures_;
    return std::chrono::milliseconds{wait};
  }
  void reset() { failures_ = 0; }
  unsigned failures() const { return failures_; }

private:
  backoff_config config_;
  unsigned failures_ = 0;
};

} // namespace parley::client

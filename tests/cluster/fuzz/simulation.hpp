#pragma once
// Time, chance and a record of what happened, for one run of the fuzzer. One seed makes one run.
#include "protocol/values/types.hpp"

#include <cstdint>
#include <functional>
#include <queue>
#include <string>
#include <vector>

namespace parley::fuzz {

/// Virtual microseconds since the run began.
using micros = std::int64_t;
inline constexpr micros one_ms = 1000;
inline constexpr micros one_second = 1'000'000;

/// SplitMix64: the same numbers with every compiler, which std's distributions do not promise.
class chance {
public:
  explicit chance(std::uint64_t seed) : state_{seed} {}
  std::uint64_t next() {
    state_ += 0x9e3779b97f4a7c15ULL;
    return mix64(state_);
  }
  /// In [0, n); 0 for n = 0.
  std::uint64_t below(std::uint64_t n) { return n == 0 ? 0 : next() % n; }
  /// In [low, high].
  std::int64_t between(std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(below(static_cast<std::uint64_t>(high - low + 1)));
  }
  bool percent(std::uint64_t p) { return below(100) < p; }
  bool one_in(std::uint64_t n) { return below(n) == 0; }
  template <class T>
  const T& pick(const std::vector<T>& from) {
    return from[below(from.size())];
  }

private:
  std::uint64_t state_;
};

/// What is going to happen, in order of time, then of being asked for.
class agenda {
public:
  micros now() const { return now_; }
  void at(micros when, std::function<void()> what) {
    queue_.push({when < now_ ? now_ : when, ++order_, std::move(what)});
  }
  void in(micros delay, std::function<void()> what) { at(now_ + delay, std::move(what)); }
  /// Lets the next thing happen, if it is due by `until`; else lets time pass until then and answers false.
  bool step(micros until) {
    if (queue_.empty() || queue_.top().when > until) {
      now_ = until;
      return false;
    }
    auto what = std::move(const_cast<item&>(queue_.top()).what); // moved from, then popped at once
    now_ = queue_.top().when;
    queue_.pop();
    what();
    return true;
  }

private:
  struct item {
    micros when;
    std::uint64_t order;
    std::function<void()> what;
    bool operator<(const item& other) const {
      return when != other.when ? when > other.when : order > other.order;
    }
  };
  std::priority_queue<item> queue_;
  micros now_ = 0;
  std::uint64_t order_ = 0;
};

/// How often what happened, so that a run that covers nothing cannot pass for a good one.
struct counts {
  std::uint64_t commits = 0, acks = 0, refusals = 0, unknown = 0, reads = 0, elections = 0, transfers = 0;
  std::uint64_t installs = 0, seals = 0, crashes = 0, lost_batches = 0, disk_losses = 0, partitions = 0,
                resets = 0;
  std::uint64_t pauses = 0, jumps = 0, full_disks = 0, probes = 0, turns = 0, frames = 0;
  void add(const counts& other);
};

/// Everything that parts share in a run.
class simulation {
public:
  simulation(std::uint64_t seed, bool print) : luck{seed}, print_{print} {}

  agenda time;
  chance luck;
  counts count;

  /// Adds to the trace's hash; prints the line if asked to.
  void note(const char* what, std::uint64_t a = 0, std::uint64_t b = 0, std::uint64_t c = 0,
            std::uint64_t d = 0);
  std::uint64_t trace_hash() const { return hash_; }
  bool prints() const { return print_; }

  /// The first one counts; the run ends with it.
  void violate(std::string what);
  const std::string& violation() const { return violation_; }
  bool failed() const { return !violation_.empty(); }

private:
  std::uint64_t hash_ = 0;
  std::string violation_;
  bool print_;
};

std::uint64_t hash_bytes(std::string_view bytes);

} // namespace parley::fuzz

#pragma once
// Time, randomness and a record of events for one run of the fuzzer. A seed determines the run.
#include "protocol/values/types.hpp"

#include <cstdint>
#include <deque>
#include <functional>
#include <queue>
#include <string>
#include <vector>

namespace parley::fuzz {

/// Virtual microseconds since the run began.
using micros = std::int64_t;
inline constexpr micros one_ms = 1000;
inline constexpr micros one_second = 1'000'000;

/// SplitMix64. It yields the same numbers with every compiler, which the distributions of the standard
/// library do not guarantee.
class chance {
public:
  explicit chance(std::uint64_t seed) : state_{seed} {}
  std::uint64_t next() {
    state_ += 0x9e3779b97f4a7c15ULL;
    return mix64(state_);
  }
  /// In [0, n), or 0 for n = 0.
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

  /// Where two runs have drawn equally often from one seed, they have the same mark: for traces.
  unsigned mark() const { return static_cast<unsigned>(mix64(state_) & 0xffff); }

private:
  std::uint64_t state_;
};

/// The scheduled events, ordered by time and then by the order in which they were scheduled.
class agenda {
public:
  micros now() const { return now_; }
  void at(micros when, std::function<void()> what) {
    queue_.push({when < now_ ? now_ : when, ++order_, std::move(what)});
  }
  void in(micros delay, std::function<void()> what) { at(now_ + delay, std::move(what)); }
  /// Runs the next event if it is due by `until`. Otherwise advances the time to `until` and returns false.
  bool step(micros until) {
    if (queue_.empty() || queue_.top().when > until) {
      now_ = until;
      return false;
    }
    auto what = std::move(const_cast<item&>(queue_.top()).what); // moved from, and popped at once
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

/// Counts of what happened, so that a run without any events of one kind cannot pass as a success.
struct counts {
  std::uint64_t commits = 0, acks = 0, refusals = 0, unknown = 0, reads = 0, elections = 0, transfers = 0;
  std::uint64_t installs = 0, seals = 0, crashes = 0, lost_batches = 0, disk_losses = 0, partitions = 0,
                resets = 0;
  std::uint64_t pauses = 0, jumps = 0, full_disks = 0, probes = 0, turns = 0, frames = 0;
  std::uint64_t outages = 0, rollbacks = 0, recognised = 0;
  void add(const counts& other);
};

/// Something that happened, as it was noted.
struct event {
  micros at = 0;
  const char* what = ""; ///< a literal
  std::uint64_t a = 0, b = 0, c = 0, d = 0;
};

/// What all parts of a run share.
class simulation {
public:
  static constexpr std::size_t events_kept_max = 1 << 18; ///< then the oldest are forgotten

  simulation(std::uint64_t seed, bool print) : luck{seed}, print_{print} {}

  agenda time;
  chance luck;
  counts count;

  /// Adds to the hash of the trace, and prints the line if tracing is on.
  void note(const char* what, std::uint64_t a = 0, std::uint64_t b = 0, std::uint64_t c = 0,
            std::uint64_t d = 0);
  std::uint64_t trace_hash() const { return hash_; }
  bool prints() const { return print_; }
  /// From now on, events are kept for the story of a violation: all but frames, of which there are too many.
  void keep_events() { keeps_ = true; }
  const std::deque<event>& events() const { return events_; }

  /// Only the first violation is kept; the run ends with it.
  void violate(std::string what);
  const std::string& violation() const { return violation_; }
  bool failed() const { return !violation_.empty(); }

private:
  std::uint64_t hash_ = 0;
  std::string violation_;
  std::deque<event> events_;
  bool keeps_ = false;
  bool print_;
};

std::uint64_t hash_bytes(std::string_view bytes);

} // namespace parley::fuzz

#pragma once
// One direction of one forwarded connection: what has been read and may not be written yet.
//
// It is pure: time is an argument, and the jitter comes from a seed. It never reorders bytes.
// Holds: at most `bytes_max` bytes in at most `chunks_max` chunks. When it is full, `room` is 0 and the proxy
// stops reading, so the sender is slowed down as by a real network.
#include "tests/harness/proxy/path.hpp"

#include <deque>
#include <optional>
#include <random>
#include <string>
#include <string_view>

namespace parley::test {

class flow {
public:
  using time_point = std::chrono::steady_clock::time_point;
  static constexpr std::size_t bytes_max = 256 * 1024, chunks_max = 1024;
  /// With a rate, up to this much of a second's bytes leave at once.
  static constexpr double burst_seconds = 0.02;
  static constexpr std::size_t burst_bytes_min = 1460;
  enum class ending : std::uint8_t { none, orderly, reset };

  flow(path as, std::uint64_t seed, path_counters& counts, time_point now);

  /// The path changes. What `blackhole` finds waiting is swallowed.
  void set(const path& as, time_point now);

  // From the sender.
  std::size_t room() const; ///< bytes that `put` takes now
  void put(std::string_view bytes, time_point now);
  void end(ending how, time_point now);
  /// What was never sent on was lost, too: a connection that could not be opened.
  void lose();

  // To the receiver.
  std::string_view due(time_point now); ///< bytes to write now, not necessarily all
  void took(std::size_t bytes);         ///< of `due`: they were written
  ending ended(time_point now) const;   ///< not before everything else was delivered
  bool spent() const;                   ///< `cut_after` is reached: the connection is to be cut
  bool torn() const;                    ///< bytes are missing, and the path would now deliver later ones
  /// The moment at which `due` or `ended` changes although nothing is put; empty if it does not.
  std::optional<time_point> next(time_point now);

private:
  struct chunk {
    time_point at;
    std::string bytes;
    std::size_t taken = 0;
  };
  time_point arrival(time_point now);
  void refill(time_point now);
  std::size_t wanted() const;
  void swallow(std::uint64_t what);

  path path_;
  path_counters* counts_;
  std::minstd_rand random_;
  std::deque<chunk> waiting_;
  std::size_t bytes_ = 0;
  time_point last_arrival_{}, refilled_{};
  double allowance_ = 0;
  std::uint64_t left_ = 0; ///< of `cut_after`
  ending ending_ = ending::none;
  time_point ends_at_{};
  bool lost_ = false;
};

} // namespace parley::test

#pragma once
// Decides whose disk is slow or full, and when. It is pure: time and the cluster's state are arguments, and
// randomness comes from the seed. One ailing disk at a time; kills and pauses of nodes go on beside it.
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <string_view>
#include <vector>

namespace parley::chaos {

using milliseconds = std::chrono::milliseconds;

enum class disk_fault : std::uint8_t {
  slow,    ///< each sync takes tens to hundreds of milliseconds longer
  stalled, ///< each sync takes seconds
  full,    ///< the file system says that nothing is free
};
inline constexpr std::size_t disk_fault_kinds = 3;
std::string_view name_of(disk_fault f);

struct disk_config {
  milliseconds length{120'000}; ///< of the run; the last fault ends before
  milliseconds fault_min{3'000}, fault_max{15'000};
  milliseconds calm_min{1'000}, calm_max{6'000}; ///< between faults
  milliseconds slow_min{20}, slow_max{400};      ///< longer, for each sync
  milliseconds stall_min{1'000}, stall_max{3'000};
};

struct disk_step {
  enum class what : std::uint8_t { begin, end } is{};
  disk_fault fault{};
  std::size_t node = 0;  ///< counts from 1
  milliseconds delay{0}; ///< before each sync, of `slow` and `stalled`
};

class disk_scheduler {
public:
  disk_scheduler(disk_config config, std::uint64_t seed, std::size_t nodes);

  /// `running`: node n is at index n - 1. The disk of a node that is not running ails no longer, because a node
  /// does not start on a full one.
  std::optional<disk_step> tick(milliseconds now, const std::vector<bool>& running);
  /// Ends what is in progress.
  std::optional<disk_step> heal();
  bool active() const { return active_; }

private:
  milliseconds between(milliseconds low, milliseconds high);
  void refill();

  disk_config config_;
  std::mt19937_64 random_;
  std::size_t nodes_;
  std::vector<disk_fault> bag_; ///< each kind comes once before any comes again; the next one is at the end
  bool active_ = false;
  disk_step now_;
  milliseconds ends_at_{}, next_at_{};
};

} // namespace parley::chaos

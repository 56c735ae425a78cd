#pragma once
#include "actors/core/commands.hpp"
#include "actors/core/number_ranges.hpp"

#include <chrono>
#include <map>
#include <optional>
#include <vector>

namespace parley::core {

/// When delivered debts are forgotten. To forget costs a log entry, and no call waits for it.
struct forget_config {
  std::size_t after = 256;                ///< when this many are delivered, …
  std::chrono::milliseconds within{5000}; ///< … or this long after the first of them
  /// At most this many at a time, because each replica erases them in one step. One shard that did not confirm can
  /// have kept many, and lets go of them all at once.
  std::size_t debts_max = 4096;
  std::size_t ranges_max = 256; ///< of one command
};

/// The debts that are delivered and not forgotten yet, and which command forgets them next.
///
/// One shard that does not confirm keeps the oldest debts owed. What others confirmed behind these is forgotten
/// nevertheless, as ranges: otherwise all of it would be sent again after a failover, however long ago it was
/// confirmed. So a failover sends again what is owed, and less than twice `after` of what is not.
///
/// Owns:   the numbers, until a command that was applied has forgotten them.
/// Thread: its owner's. Time is an argument.
class delivered_debts {
public:
  using time_point = std::chrono::steady_clock::time_point;

  explicit delivered_debts(forget_config config = {}) : config_{config} {}

  void add(const number_ranges& delivered) { waiting_.add(delivered); }

  struct proposal {
    std::uint64_t ticket = 0;
    confirm_debts what;
  };
  /// What to propose now, if it is due. All debts up to `confirmed` are delivered.
  std::optional<proposal> due(time_point now, std::uint64_t confirmed);
  /// What became of a proposal. If it was not applied, its debts are proposed again later.
  void answered(std::uint64_t ticket, bool applied);

  /// Nothing waits to be proposed.
  bool empty() const { return waiting_.empty(); }

private:
  forget_config config_;
  number_ranges waiting_;
  std::optional<time_point> since_; ///< something waits
  std::uint64_t last_ticket_ = 0;
  std::map<std::uint64_t, std::vector<number_range>> proposed_; ///< by ticket
};

} // namespace parley::core

#pragma once
// Reading all rows of a node's replicas, slowly, so that a damaged one is found while other copies are whole: rows that
// nobody reads may be damaged for years, and two damaged copies of a row are found in one day.
//
// `check_pace` decides when the next rows are read; it is pure. `row_walk` reads them.
#include "protocol/values/types.hpp"
#include "storage/environment.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace parley::cluster {

/// Spreads a pass over all rows evenly over the time that it may take. How many rows there are it knows from the pass before;
/// in the first one it assumes `rows_guessed`, and twice as many whenever there are more.
///
/// Thread: its owner's. Times are those of one monotonic clock, virtual in tests.
class check_pace {
public:
  using milliseconds = std::chrono::milliseconds;
  static constexpr std::size_t rows_at_once_max = 256;
  static constexpr std::size_t bytes_at_once_max = 1 << 20;
  /// Between two readings, however little time is left: at most 5,000 rows, or 20 MiB, in a second.
  static constexpr milliseconds wait_min{50};
  static constexpr std::uint64_t rows_guessed = 1'000'000;

  check_pace(milliseconds pass, milliseconds now) : pass_{pass}, began_{now} {}

  /// `rows` were read; how long to wait before the next ones.
  milliseconds read(std::size_t rows, milliseconds now);
  /// They were the last ones of a pass; how long to wait before the next pass.
  milliseconds passed(milliseconds now);

private:
  milliseconds pass_;
  milliseconds began_;
  std::uint64_t rows_ = 0;
  std::uint64_t expected_ = rows_guessed;
};

/// One pass after the other over the state rows of all replicas of an environment.
/// Thread: its owner's. `env` outlives it.
class row_walk {
public:
  explicit row_walk(storage::environment& env) : env_{env} {}

  struct slice {
    std::size_t rows = 0;
    std::optional<shard_id>
        damaged;       ///< one of them does not match its checksum; the shard's other rows are left out
    bool last = false; ///< of the pass
  };
  /// Reads at most `rows_at_once_max` rows and `bytes_at_once_max` bytes more than one row, in one short transaction.
  slice next();

private:
  bool begin_pass(storage::read_txn& txn);

  storage::environment& env_;
  std::vector<shard_id> shards_; ///< left in this pass, the next one last
  std::string from_;             ///< the key to go on with
};

} // namespace parley::cluster

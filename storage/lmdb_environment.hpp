#pragma once
// `environment` over LMDB 0.9.24: what a node keeps its replicas in.
//
// Records: the value in LMDB is the caller's value followed by four bytes, CRC-32C over table, key and value
// (little-endian). LMDB has no checksums: a flipped bit in a key or value is found by these, when it is read.
// A flipped bit in LMDB's own page headers is not always found; it stops the process, or hides records.
//
// Durability: plain synchronous commits (fdatasync of the pages, then a synchronous write of the meta page);
// NOSYNC, NOMETASYNC and WRITEMAP are never used. When a commit fails, nobody knows which of the two meta
// pages the next start will find: the process aborts, and Raft makes good what was lost.
//
// Growth of the map. LMDB can change the size of its map only while no transaction uses it, and readers of
// other threads come and go. So readers pass a gate: `begin_read` takes a share of it, the end of the
// transaction gives the share back, and `begin_write` grows the map when it can have the gate for itself
// within `grow_wait`; new readers wait meanwhile. A reader that stays open longer only puts growth off (the
// writer itself may hold one): growth starts half a step before the room is needed, and is tried again every
// `grow_retry_every`. If it never succeeds, `room()` stops proposals before the map is full.
#include "protocol/values/settings.hpp"
#include "storage/environment.hpp"
#include "storage/failure.hpp"

#include <tl/expected.hpp>

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace parley::storage {

struct lmdb_config {
  std::uint64_t map_bytes_initial = 16ULL << 30; ///< addresses, not memory or disk: generous costs nothing
  std::uint64_t map_bytes_step = 16ULL << 30;
  std::uint64_t map_bytes_max = settings::map_bytes_max.standard; ///< no file above this
  /// Less room than this: no proposals. Votes, applies and trimming live off it.
  std::uint64_t reserve_bytes = settings::disk_reserve.standard;
  std::uint64_t resume_bytes = 64ULL << 20;    ///< above the reserve, until proposals are accepted again
  std::uint64_t prepare_bytes = 4ULL << 20;    ///< of the file, filled with zeros ahead of their use; 0: none
  std::uint32_t readers_max = 128;             ///< read transactions open at a time
  std::chrono::milliseconds reader_wait{1000}; ///< for one of them to end; then `begin_read` is `overloaded`
  std::chrono::milliseconds grow_wait{20};     ///< for the readers to leave, with the next ones held back
  std::chrono::milliseconds grow_retry_every{1000};
  /// The kernel's. It stops by itself where reads are random, and the log is scanned at start.
  bool read_ahead = true;
  bool read_only = false;       ///< for tools, on a stopped node; leaves no trace
  bool abort_on_failure = true; ///< false: tests only
};
/// `none`, or which field cannot be run with.
std::optional<std::string> validate(const lmdb_config& config);

/// For metrics. Counts since the start.
struct lmdb_stats {
  std::uint64_t commits = 0;
  std::uint64_t rows = 0; ///< put or erased
  std::chrono::microseconds commit_last{};
  std::chrono::microseconds commit_total{};
  /// batches[i]: commits of at most 2^i rows (and more than 2^(i-1)); the last one: all above
  std::array<std::uint64_t, 16> batches{};
  std::uint64_t map_bytes = 0;
  std::uint64_t used_bytes = 0; ///< of the file; it never shrinks
  std::uint64_t free_bytes = 0; ///< of these, in pages that are free to be used again
  std::uint64_t growths = 0;
  std::uint64_t growths_put_off = 0; ///< readers were in the way
  std::uint32_t readers = 0;         ///< open now
  std::uint32_t readers_peak = 0;
  std::array<std::uint64_t, table_count> entries{}; ///< records per table
};

/// Owns:   the file `<directory>/store.mdb` and LMDB's `<directory>/store.mdb-lock`.
/// Thread: `begin_write` and its transactions: one thread for as long as there is an environment; all else:
///         any.
/// Holds:  after a failed commit (with `abort_on_failure` off) every transaction has status `storage_failed`.
///         All transactions end before the environment does. One environment per file and process.
class lmdb_environment : public environment {
public:
  /// Opens, or makes, the tables in `directory`, which exists. Whoever calls this holds the directory's lock.
  static tl::expected<std::unique_ptr<lmdb_environment>, failure> open(const std::string& directory,
                                                                       lmdb_config config);
  ~lmdb_environment() override;

  /// Waits for nobody. Everything that goes wrong inside makes `status()` stick and `commit()` fail, which
  /// includes a record that failed its checksum: nothing that was derived from its absence gets stored.
  /// Values and keys given to `put` may be views into this transaction; those given to `append` may not.
  /// A visitor may write: the scan goes on after the key it was called with.
  std::unique_ptr<write_txn> begin_write() override;
  /// If `readers_max` are open for `reader_wait`, gives a transaction that reads nothing, of status
  /// `overloaded`.
  std::unique_ptr<read_txn> begin_read() override;
  space room() override;

  lmdb_stats stats();

private:
  class impl;
  explicit lmdb_environment(std::unique_ptr<impl> impl);
  std::unique_ptr<impl> impl_;
};

} // namespace parley::storage

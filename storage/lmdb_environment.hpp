#pragma once
// `environment` over LMDB 0.9.24: the tables of a node's replicas.
//
// Records: the value in LMDB is the caller's value followed by four bytes, CRC-32C over table, key and
// value (little-endian). LMDB has no checksums of its own; this one finds a flipped bit in a key or
// value when it is read. A flipped bit in the headers of LMDB's pages is not always found; it stops the
// process or hides records.
//
// Durability: plain synchronous commits (fdatasync of the pages, then a synchronous write of the meta page), until the caller
// says that it sees to it: from then on commits are not synced (MDB_NOSYNC), and the caller keeps one after another, syncs the
// file, and writes down the name of the one it kept (lmdb_checkpoint.hpp). NOMETASYNC and WRITEMAP are never used. When a
// commit fails, it is unknown which of the two meta pages the next start will find: the process aborts, and Raft restores what
// was lost.
//
// Growth of the map. LMDB can change the size of its map only while no transaction uses it, and readers of
// other threads come and go. So readers hold a lock in shared mode: `begin_read` acquires it, the
// end of the transaction releases it, and `begin_write` grows the map if it gets the lock exclusively within
// `grow_wait`; new readers wait meanwhile. A reader that stays open longer only delays growth (the writer
// itself may hold one): growth starts half a step before the space is needed, and is tried again every
// `grow_retry_every`. If it never succeeds, `room()` stops proposals before the map is full.
#include "protocol/values/config_fault.hpp"
#include "protocol/values/settings.hpp"
#include "storage/disk_fault.hpp"
#include "storage/environment.hpp"

#include <tl/expected.hpp>

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

struct MDB_txn;

namespace parley::storage {

struct lmdb_config {
  std::uint64_t map_bytes_initial = 16ULL << 30; ///< addresses, not memory or disk: generous costs nothing
  std::uint64_t map_bytes_step = 16ULL << 30;
  std::uint64_t map_bytes_max = settings::map_bytes_max.standard; ///< largest size of the file
  /// While less space than this is free, proposals are refused. Votes, applies and trimming use the reserve.
  std::uint64_t reserve_bytes = settings::disk_reserve.standard;
  std::uint64_t resume_bytes = 64ULL << 20; ///< above the reserve, until proposals are accepted again
  std::uint64_t prepare_bytes =
      4ULL << 20;                  ///< of the file that are filled with zeros ahead of their use; 0: none
  std::uint32_t readers_max = 128; ///< read transactions open at a time
  std::chrono::milliseconds reader_wait{
      1000}; ///< for one of them to end; after it `begin_read` fails with `overloaded`
  std::chrono::milliseconds grow_wait{20}; ///< for the readers to end, while new ones are held back
  std::chrono::milliseconds grow_retry_every{1000};
  /// After a large transaction, LMDB keeps its pages (up to 80 MiB) for another one this long.
  std::chrono::milliseconds pages_kept_for{5000};
  /// By the kernel. It stops by itself where reads are random, and it helps to scan the log at the start.
  bool read_ahead = true;
  bool read_only = false;       ///< for tools, on a stopped node; writes nothing
  bool abort_on_failure = true; ///< false: tests only
};
config_check validate(const lmdb_config& config);

/// For metrics. Counts since the start.
struct lmdb_stats {
  std::uint64_t commits = 0;
  std::uint64_t rows = 0; ///< put or erased
  std::chrono::microseconds commit_last{};
  std::chrono::microseconds commit_total{};
  /// batches[i]: commits of at most 2^i rows (and more than 2^(i-1)); the last element counts all above
  std::array<std::uint64_t, 16> batches{};
  std::uint64_t map_bytes = 0;
  std::uint64_t used_bytes = 0; ///< of the file; it never shrinks
  std::uint64_t free_bytes = 0; ///< of the used ones, in pages that are free to be used again
  std::uint64_t growths = 0;
  std::uint64_t growths_put_off = 0; ///< delayed by open readers
  std::uint32_t readers = 0;         ///< open now
  std::uint32_t readers_peak = 0;
  std::array<std::uint64_t, table_count> entries{}; ///< records per table
};

/// Owns:   the file `<directory>/store.mdb` and LMDB's `<directory>/store.mdb-lock`.
/// Thread: `begin_write` and its transactions: one thread for the life of the environment; all else: any.
/// Holds:  after a failed commit (with `abort_on_failure` off) every transaction has status `storage_failed`.
///         All transactions end before the environment does. One environment per file and process.
class lmdb_environment : public environment {
public:
  /// Opens the tables in `directory`, or creates them. The directory exists, and the caller holds its lock.
  static tl::expected<std::unique_ptr<lmdb_environment>, disk_fault> open(const std::string& directory,
                                                                          lmdb_config config);
  ~lmdb_environment() override;
  static std::string path_in(const std::string& directory);

  /// Never waits. After any failure inside, `status()` keeps naming it and `commit()` fails. A record that
  /// fails its checksum counts as one, so that nothing is stored that was derived from its absence.
  /// Values and keys given to `put` may be views into this transaction; those given to `append` may not.
  /// A visitor may write: the scan continues after the key with which it was called.
  std::unique_ptr<write_txn> begin_write() override;
  /// If `readers_max` are open for `reader_wait`, returns a transaction that reads nothing and
  /// has the status `overloaded`.
  std::unique_ptr<read_txn> begin_read() override;
  space room() override;

  /// A commit that stays whole in the file while this object lives, whatever is committed after it. Its pages are not used
  /// again meanwhile, so the file grows with what is changed. The map may grow.
  class kept_commit;
  /// The newest one. Thread: the writer's. `nullptr`: it could not be read. At most three live at a time.
  std::unique_ptr<kept_commit> keep();
  /// Writes into the file that the journal with one of these salts may name its commits. 0, or an errno. Durable with the next
  /// commit that is synced.
  int belong_to(std::uint64_t salt, std::uint64_t or_to);
  /// From now on commits return before they are on the disk.
  void leave_syncing_to_caller();
  /// When it returns 0, everything that was committed before the call is on the disk; otherwise an errno. Thread: any.
  int sync();

  /// Gives back a part of the memory that earlier transactions needed and later ones do not, if it is time (2 ms). Thread:
  /// the writer's, while it has no transaction. To be called about once a second.
  void give_back();

  lmdb_stats stats();

private:
  class impl;
  explicit lmdb_environment(std::unique_ptr<impl> impl);
  std::unique_ptr<impl> impl_;
};

/// Thread: the writer's. Ends before the environment.
class lmdb_environment::kept_commit {
public:
  ~kept_commit();
  kept_commit(const kept_commit&) = delete;
  kept_commit& operator=(const kept_commit&) = delete;
  const std::string& name() const { return name_; }

private:
  friend class lmdb_environment::impl;
  kept_commit(impl& env, MDB_txn* txn, std::size_t moment, std::string name)
      : env_{env}, txn_{txn}, moment_{moment}, name_{std::move(name)} {}
  impl& env_;
  MDB_txn* txn_;
  std::size_t moment_;
  std::string name_;
};

} // namespace parley::storage

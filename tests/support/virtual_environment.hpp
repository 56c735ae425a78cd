#pragma once
// A disk in memory that crashes on command.
//
// By default a commit is durable at once: all that most unit tests want. With `durability::on_synced` a
// commit is visible but not yet safe: until the test calls `synced()`, a `crash()` may lose it. As on LMDB a
// commit is atomic, whole or nothing; `tear_batches()` plants the bug that it is not, to prove that somebody
// would notice.
//
// Owns:   the tables; for each commit since the last `synced()`, what it takes to undo it.
// Thread: one writer; `begin_read` and readers from any thread (as on LMDB); the rest belongs to the test's.
// Holds:  a reader sees the commits that returned before it began, and nothing later.
// As strict as LMDB where a fake would be lenient: one writer at a time, keys of 1 to 511 bytes, `append`
// only above all others. A breach throws `std::logic_error`: the test is wrong, or the code under it.
#include "storage/environment.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace parley::test {

enum class durability {
  at_commit, ///< `commit` returns when the batch is safe
  on_synced, ///< … when it is visible; safe after `synced()`
};
/// What a crash does to commits that were not synced.
enum class unsynced { lost, kept, seeded };

class virtual_environment : public storage::environment {
public:
  explicit virtual_environment(durability when = durability::at_commit, std::uint64_t seed = 1);
  ~virtual_environment() override;

  std::unique_ptr<storage::write_txn> begin_write() override;
  std::unique_ptr<storage::read_txn> begin_read() override;
  storage::space room() override;

  // --- the disk's fate, as the test decides it -------------------------------------------------------------
  /// The virtual sync finished: all commits so far survive a crash.
  void synced();
  /// The process died. Its open transactions are dead: their commit answers `storage_failed`, its readers
  /// keep their old view. `seeded` keeps a prefix of the unsynced commits. Answers how many of them survived.
  std::size_t crash(unsynced what = unsynced::seeded);
  /// The disk was lost: empty tables.
  void wipe();
  /// What `room()` answers from now on.
  void set_room(storage::space space);
  /// The record reads as failing its checksum until it is written again. False: there is none under that key.
  bool corrupt(storage::table t, std::string_view key);
  /// The next commit answers `storage_failed`; its batch is kept or not, as the seed decides.
  void fail_next_commit();
  /// Planted bug: a crash keeps part of the oldest lost batch.
  void tear_batches(bool on);

  // --- what a test wants to know ---------------------------------------------------------------------------
  std::uint64_t commits() const { return commits_; }
  std::size_t unsynced_commits() const { return undo_.size(); }
  std::size_t rows(storage::table t) const;
  /// All rows of a table as last committed.
  std::map<std::string, std::string> dump(storage::table t) const;

  struct record {
    std::string value;
    bool readable = true;
  };
  using rows_type = std::map<std::string, record, std::less<>>;
  /// One version of all tables. A table is copied only when it changes while somebody still reads it.
  using image = std::array<std::shared_ptr<rows_type>, storage::table_count>;
  /// What a transaction changes: a value, or none for "erased".
  using changes_type =
      std::array<std::map<std::string, std::optional<std::string>, std::less<>>, storage::table_count>;

private:
  class reader;
  class writer;
  struct old_row {
    storage::table table;
    std::string key;
    std::optional<record> was;
  };
  using undo_type = std::vector<old_row>;

  image pin() const;
  rows_type& own(storage::table t);
  ec commit(changes_type& changes, std::uint64_t life);
  void undo(const undo_type& batch, std::size_t rows_kept);
  std::uint64_t chance();

  mutable std::mutex mutex_; // guards image_: readers come and go on other threads
  image image_;
  durability when_;
  std::uint64_t seed_;
  std::vector<undo_type> undo_; // one per unsynced commit, oldest first
  storage::space room_{std::uint64_t{1} << 40, true};
  std::uint64_t commits_ = 0;
  std::uint64_t life_ = 0; // rises with each crash: transactions of an earlier one are dead
  bool writing_ = false;
  bool fail_next_ = false;
  bool tear_ = false;
};

} // namespace parley::test

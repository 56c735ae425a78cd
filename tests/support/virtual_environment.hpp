#pragma once
// An in-memory storage environment that can crash on command.
//
// By default a commit is durable at once, which is what most unit tests need. With
// `durability::on_synced` a commit is visible but not yet durable: until the test calls `synced()`, a
// `crash()` may lose it. As in LMDB a commit is atomic. `tear_batches()` plants the bug that it is not,
// to prove that the checks detect it.
//
// Owns:   the tables; for each commit since the last `synced()`, the data to undo it.
// Thread: one writer; `begin_read` and readers from any thread (as in LMDB); everything else is called by
//         the test's thread.
// Holds:  a reader sees the commits that returned before it began, and nothing later.
// It is as strict as LMDB: one writer at a time, keys of 1 to 511 bytes, `append` only above all other
// keys. A violation throws `std::logic_error`, because either the test or the code under test is wrong.
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
  at_commit, ///< `commit` returns when the batch is durable
  on_synced, ///< `commit` returns when the batch is visible; it is durable after `synced()`
};
/// What a crash does to commits that are not synced.
enum class unsynced { lost, kept, seeded };

class virtual_environment : public storage::environment {
public:
  struct record {
    std::string value;
    bool readable = true;
  };
  using rows_type = std::map<std::string, record, std::less<>>;

  explicit virtual_environment(durability when = durability::at_commit, std::uint64_t seed = 1);
  ~virtual_environment() override;

  std::unique_ptr<storage::write_txn> begin_write() override;
  std::unique_ptr<storage::read_txn> begin_read() override;
  storage::space room() override;

  // --- faults of the disk, which the test controls ---------------------------------------------------------
  /// The virtual sync has finished: all commits so far survive a crash.
  void synced();
  /// The process dies. Its open transactions become invalid: their commit returns `storage_failed`, and
  /// their readers keep their old view. `seeded` keeps a prefix of the unsynced commits. Returns how
  /// many of them survived.
  std::size_t crash(unsynced what = unsynced::seeded);
  /// The disk is lost: all tables are empty.
  void wipe();
  /// A copy of all tables, and such a copy in the place of the disk. Only while no process uses it.
  using copy_type = std::array<rows_type, storage::table_count>;
  copy_type copy() const;
  void put_back(const copy_type& older);
  /// Sets the value that `room()` returns from now on.
  void set_room(storage::space space);
  /// Makes the record fail its checksum when it is read, until it is written again. Returns false if
  /// there is no record with that key.
  bool corrupt(storage::table t, std::string_view key);
  /// The next commit returns `storage_failed`; the seed decides whether its batch is kept.
  void fail_next_commit();
  /// Planted bug: a crash keeps part of the oldest lost batch.
  void tear_batches(bool on);

  // --- queries of the test ---------------------------------------------------------------------------------
  std::uint64_t commits() const { return commits_; }
  std::size_t unsynced_commits() const { return undo_.size(); }
  std::size_t rows(storage::table t) const;
  /// All rows of a table as of the last commit.
  std::map<std::string, std::string> dump(storage::table t) const;

  /// One version of all tables. A table is copied only if it changes while a reader still uses it.
  using image = std::array<std::shared_ptr<rows_type>, storage::table_count>;
  /// The changes of a transaction: the new value of a key, or an empty optional if the key is erased.
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

  mutable std::mutex mutex_; // guards image_, because readers begin and end on other threads
  image image_;
  durability when_;
  std::uint64_t seed_;
  std::vector<undo_type> undo_; // one per unsynced commit, oldest first
  storage::space room_{std::uint64_t{1} << 40, true};
  std::uint64_t commits_ = 0;
  std::uint64_t life_ = 0; // rises with each crash; transactions of an earlier life are invalid
  bool writing_ = false;
  bool fail_next_ = false;
  bool tear_ = false;
};

} // namespace parley::test

#pragma once
// Records and scans inside one LMDB transaction, for readers and the writer. Internal to storage/.
#include "storage/environment.hpp"

#include <lmdb.h>

#include <array>
#include <string>
#include <vector>

namespace parley::storage {

/// Owns:   its cursors, but not the transaction.
/// Thread: the transaction's.
/// Holds:  the first failure sets `status()`; from then on writes do nothing.
class lmdb_tables {
public:
  using handles = std::array<MDB_dbi, table_count>;
  static constexpr std::size_t key_bytes_max = storage::key_bytes_max;
  static constexpr std::size_t trailer_bytes = 4;
  /// No row comes near it: a longer one has a damaged length, and its end may be no address at all.
  static constexpr std::size_t record_bytes_max = 64 << 20;

  /// Reads in a transaction. With `scratch` it writes too: `put` builds its records there. The environment
  /// keeps it from batch to batch, so that a row costs no allocation.
  lmdb_tables(MDB_txn* txn, const handles& tables, std::string* scratch)
      : txn_{txn}, tables_{tables}, scratch_{scratch} {}
  lmdb_tables(const lmdb_tables&) = delete;
  lmdb_tables& operator=(const lmdb_tables&) = delete;

  std::optional<std::string_view> get(table t, std::string_view key);
  void ascend(table t, std::string_view from, std::string_view to, const visitor& visit);
  void descend(table t, std::string_view from, std::string_view to, const visitor& visit);

  void put(table t, std::string_view key, std::string_view value);
  void append(table t, std::string_view key, std::string_view value);
  void erase(table t, std::string_view key);
  std::size_t erase_range(table t, std::string_view from, std::string_view to, std::size_t rows_max);

  ec status() const { return status_; }
  /// For the log: which call failed, and how. Empty while `status()` is `none`.
  const std::string& objection() const { return objection_; }
  std::uint64_t rows_written() const { return rows_written_; }
  /// Those of them that may each be on a page of its own; what `erase_range` erases is side by side.
  std::uint64_t rows_scattered() const { return rows_scattered_; }
  MDB_txn* txn() const { return txn_; }

  /// To be called after the (read) transaction was reset and renewed: clears the status, and uses
  /// the old cursors again.
  void renewed();
  /// To be called before the transaction ends.
  void close_cursors();
  void fail(ec why, std::string objection);

private:
  struct idle_cursor {
    MDB_cursor* cursor;
    std::uint64_t life; ///< `life_` when it was last bound to the transaction
  };
  class lease;

  bool may_write();
  bool fault(int rc, const char* call, table t); ///< true if `rc` is a fault; "not found" is not
  std::optional<std::string_view> checked(table t, std::string_view key, const MDB_val& record);

  MDB_txn* txn_;
  const handles& tables_;
  std::string* scratch_;
  std::array<std::vector<idle_cursor>, table_count> idle_;
  std::uint64_t life_ = 0;
  ec status_ = ec::none;
  std::string objection_;
  std::uint64_t rows_written_ = 0;
  std::uint64_t rows_scattered_ = 0;
};

} // namespace parley::storage

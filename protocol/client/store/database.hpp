#pragma once
// What a store on disk says to SQLCipher.
//
// What is promised of erased secrets. The file and its write-ahead log (WAL) are encrypted and authenticated
// page by page: without the key they tell their size and nothing else. With the key, the file holds nothing
// that was erased (secure_delete overwrites it, free pages too). The WAL still does: it keeps older states of
// pages until a checkpoint has moved them and it is written over, after a few hundred writes, or until the
// database is closed and it is deleted. What a disk keeps of blocks that were written over or deleted is its
// own affair. So whoever takes both the disk and the key may find keys of messages that were erased lately.
#include "protocol/client/store/store.hpp"
#include "protocol/mls/bytes.hpp"

#include <filesystem>
#include <string_view>

struct sqlite3;
struct sqlite3_stmt;

namespace parley::client {

/// Owns:   one connection to one file.
/// Thread: one.
/// Holds:  what was committed is on disk (WAL, synchronous=FULL), encrypted. Throws `store_error`.
class database {
public:
  class statement;
  class transaction;

  /// Opens or creates, for its owner only. The key: 32 random bytes, used as they are.
  database(const std::filesystem::path& file, const mls::secret& key);
  ~database();
  database(const database&) = delete;
  database& operator=(const database&) = delete;

  statement prepare(const char* sql);
  void run(const char* sql);
  /// Something that belongs to the transaction that is open failed: it can only be undone.
  void doom() { is_doomed_ = open_transactions_ > 0; }

private:
  void unlock(const std::filesystem::path& file, const mls::secret& key);
  sqlite3* it_ = nullptr;
  int open_transactions_ = 0;
  bool is_doomed_ = false; ///< something inside of the outermost transaction failed
};

/// A prepared statement for one use. Columns and parameters are taken in order.
class database::statement {
public:
  statement(sqlite3* db, const char* sql);
  ~statement();
  statement(const statement&) = delete;
  statement& operator=(const statement&) = delete;

  statement& bind(std::int64_t v);
  statement& bind(std::uint64_t v);
  statement& bind(seq_no v) { return bind(number(v)); }
  statement& bind(conversation_id c) { return bind(c.hi).bind(c.lo); }
  /// The bytes must live until the statement has run.
  statement& bind(std::string_view v);
  /// False after the last row.
  bool step();
  std::uint64_t integer();
  std::string bytes() { return std::string{view()}; }
  std::string_view view(); ///< until the next step
  conversation_id conversation() {
    const auto hi = integer();
    return {hi, integer()};
  }

private:
  [[noreturn]] void fail();
  sqlite3* db_;
  sqlite3_stmt* it_ = nullptr;
  int bound_ = 0;
  int taken_ = 0;
};

/// Rolls back unless committed. One that begins inside of another belongs to it: the outermost is on disk
/// when it was committed, with all that was committed inside, and can only be undone if something inside was
/// not.
class database::transaction {
public:
  explicit transaction(database& in);
  ~transaction();
  transaction(const transaction&) = delete;
  transaction& operator=(const transaction&) = delete;
  void commit();

private:
  database& in_;
  bool is_committed_ = false;
};

} // namespace parley::client

#pragma once
// The store's use of SQLCipher.
//
// What is promised of erased secrets: the file and its write-ahead log (WAL) are encrypted and authenticated
// page by page. Without the key they reveal their size and nothing else. With the key, the file reveals
// nothing that was erased, because secure_delete overwrites it, in free pages too. The WAL can: it holds
// older versions of pages until a checkpoint has moved them and the WAL is overwritten, which takes a few
// hundred writes, or until the database is closed and the WAL is deleted. A disk may also keep blocks that
// were overwritten or deleted. So somebody who takes both the disk and the key may find keys of messages that
// were erased recently.
#include "protocol/client/store/store.hpp"
#include "protocol/mls/bytes.hpp"

#include <filesystem>
#include <string_view>

struct sqlite3;
struct sqlite3_stmt;

namespace parley::client {

/// With less room than this on its disk a database cannot grow the files beside it.
inline constexpr std::uintmax_t room_min = 64 * 1024;
/// What failed, for a person: that the disk is full, if that is the cause, which SQLite may call an error of the
/// disk; else `otherwise`, its own words. `code` is its extended code, `system_error` an errno.
std::string_view failure_words(int code, int system_error, bool no_room, const char* otherwise);

/// Owns:   one connection to one file.
/// Thread: one.
/// Holds:  what was committed is on disk (WAL, synchronous=FULL), encrypted.
/// Errors: throws `store_error`.
class database {
public:
  class statement;
  class transaction;

  /// Opens or creates the file, readable by its owner only. The key is 32 random bytes and used as it is.
  database(const std::filesystem::path& file, const mls::secret& key);
  ~database();
  database(const database&) = delete;
  database& operator=(const database&) = delete;

  statement prepare(const char* sql);
  void run(const char* sql);
  /// The version of what is stored, in the file's header; 0 in a new file.
  std::uint32_t version();
  void set_version(std::uint32_t version);
  /// A part of the open transaction failed: it can only be rolled back.
  void doom() { is_doomed_ = open_transactions_ > 0; }

private:
  void unlock(const std::filesystem::path& file, const mls::secret& key);
  sqlite3* it_ = nullptr;
  int open_transactions_ = 0;
  bool is_doomed_ = false; ///< something inside of the outermost transaction failed
};

/// A prepared statement for one use. Parameters are bound and columns are read in their order.
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

/// Rolls back unless it is committed. A transaction that begins inside another one is a part of it:
/// everything is on disk when the outermost one is committed. If an inner one was not committed, the
/// outermost one can only be rolled back.
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

#include "protocol/client/store/database.hpp"

#include "protocol/client/store/profile_key.hpp"

#include <fmt/format.h>
#include <sqlcipher/sqlite3.h>
#include <sys/stat.h>

#include <cerrno>
#include <string>

namespace parley::client {

namespace {

/// x'…': a key that is used as it is; anything else would be stretched as a passphrase.
mls::secret key_literal(const mls::secret& key) {
  constexpr char digits[] = "0123456789abcdef";
  auto out = mls::secret::zeros(2 * key.size() + 3);
  auto* at = reinterpret_cast<char*>(out.mutable_view().data());
  *at++ = 'x';
  *at++ = '\'';
  for (const auto b : key.view()) {
    *at++ = digits[b >> 4];
    *at++ = digits[b & 15];
  }
  *at = '\'';
  return out;
}

/// What SQLite says, and what it hides behind "disk I/O error": a file beside the database that cannot grow.
std::string words_of(sqlite3* db, const std::filesystem::path& file) {
  std::error_code unknown;
  const auto room = std::filesystem::space(file.parent_path().empty() ? "." : file.parent_path(), unknown);
  const bool no_room = !unknown && room.available < room_min;
  return std::string{
      failure_words(sqlite3_extended_errcode(db), sqlite3_system_errno(db), no_room, sqlite3_errmsg(db))};
}

/// What one can do about a damaged profile, as the end of a sentence.
constexpr auto after_damage =
    "restore the whole profile from a copy, or register this device anew with another "
    "--profile. What the cluster has stored is not lost.";

[[noreturn]] void failed(sqlite3* db) {
  const char* file = sqlite3_db_filename(db, "main");
  // A page that is not as it was written, by its checksum, is no fault of the disk's room or of this change.
  if (const int kind = sqlite3_extended_errcode(db) & 0xff; kind == SQLITE_CORRUPT || kind == SQLITE_NOTADB)
    throw store_error{
        fmt::format("The profile's database {} is damaged: {}", file ? file : "", after_damage)};
  throw store_error{
      fmt::format("The profile's database {} failed: {}. This change was not kept: check that the disk "
                  "has room and is healthy, then run the program again.",
                  file ? file : "", words_of(db, file ? file : ""))};
}

} // namespace

std::string_view failure_words(int code, int system_error, bool no_room, const char* otherwise) {
  const int kind = code & 0xff;
  const bool full = kind == SQLITE_FULL || system_error == ENOSPC || system_error == EDQUOT ||
                    ((kind == SQLITE_IOERR || kind == SQLITE_CANTOPEN) && no_room);
  return full ? "its disk is full" : otherwise;
}

database::database(const std::filesystem::path& file, const mls::secret& key) {
  refuse_unencrypted(file);
  if (key.size() != database_key_bytes)
    throw store_error{fmt::format("The key of a profile's database has {} bytes; the one given has {}.",
                                  database_key_bytes, key.size())};
  const auto mask = ::umask(0077);
  const int code = sqlite3_open_v2(file.c_str(), &it_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, nullptr);
  ::umask(mask);
  try {
    if (code != SQLITE_OK)
      throw store_error{fmt::format(
          "The profile's database {} cannot be opened: {}. Check who owns it and whether the disk has room.",
          file.string(), words_of(it_, file))};
    unlock(file, key);
    run("PRAGMA journal_mode=WAL");
    run("PRAGMA synchronous=FULL");
    run("PRAGMA secure_delete=ON");
  } catch (...) {
    sqlite3_close(it_);
    throw;
  }
}

void database::unlock(const std::filesystem::path& file, const mls::secret& key) {
  run("PRAGMA cipher_memory_security=ON");
  const auto literal = key_literal(key);
  if (sqlite3_key(it_, literal.view().data(), static_cast<int>(literal.size())) != SQLITE_OK)
    throw store_error{fmt::format("The key of {} cannot be used: {}.", file.string(), sqlite3_errmsg(it_))};
  // What is wrong is said below, in a sentence. Taking the first key sets the level of SQLCipher's own lines on standard
  // error, so this comes after it.
  run("PRAGMA cipher_log_level=NONE");
  // The first to read a page.
  const int code = sqlite3_exec(it_, "SELECT count(*) FROM sqlite_schema", nullptr, nullptr, nullptr);
  if (code == SQLITE_NOTADB)
    throw store_error{
        fmt::format("The key does not fit {}, or that file is damaged: give the key that it was "
                    "made with, {}",
                    file.string(), after_damage)};
  if (code != SQLITE_OK)
    throw store_error{fmt::format("The profile's database {} cannot be used: {}. Nothing was changed in it: "
                                  "make room if the disk is full; else "
                                  "check the disk, or restore the profile from a copy.",
                                  file.string(), words_of(it_, file))};
}

database::~database() {
  sqlite3_close(it_);
}

database::statement database::prepare(const char* sql) {
  return {it_, sql};
}

void database::run(const char* sql) {
  if (sqlite3_exec(it_, sql, nullptr, nullptr, nullptr) != SQLITE_OK)
    failed(it_);
}

std::uint32_t database::version() {
  auto s = prepare("PRAGMA user_version");
  return s.step() ? static_cast<std::uint32_t>(s.integer()) : 0;
}

void database::set_version(std::uint32_t version) {
  run(fmt::format("PRAGMA user_version = {}", version).c_str());
}

// --- statement ---------------------------------------------------------------------------------------------

database::statement::statement(sqlite3* db, const char* sql) : db_{db} {
  if (sqlite3_prepare_v2(db, sql, -1, &it_, nullptr) != SQLITE_OK)
    fail();
}

database::statement::~statement() {
  sqlite3_finalize(it_);
}

database::statement& database::statement::bind(std::int64_t v) {
  if (sqlite3_bind_int64(it_, ++bound_, v) != SQLITE_OK)
    fail();
  return *this;
}

database::statement& database::statement::bind(std::uint64_t v) {
  // Ids use all 64 bits and SQLite's integers are signed: the bits are kept, the order of large ones is not
  // needed.
  return bind(static_cast<std::int64_t>(v));
}

database::statement& database::statement::bind(std::string_view v) {
  // An empty view may have no address, and SQLite takes that for NULL.
  if (sqlite3_bind_blob64(it_, ++bound_, v.empty() ? "" : v.data(), v.size(), SQLITE_STATIC) != SQLITE_OK)
    fail();
  return *this;
}

bool database::statement::step() {
  taken_ = 0;
  const int code = sqlite3_step(it_);
  if (code != SQLITE_ROW && code != SQLITE_DONE)
    fail();
  return code == SQLITE_ROW;
}

std::uint64_t database::statement::integer() {
  return static_cast<std::uint64_t>(sqlite3_column_int64(it_, taken_++));
}

std::string_view database::statement::view() {
  const auto* data = static_cast<const char*>(sqlite3_column_blob(it_, taken_));
  const auto size = static_cast<std::size_t>(sqlite3_column_bytes(it_, taken_++));
  return data ? std::string_view{data, size} : std::string_view{};
}

void database::statement::fail() {
  failed(db_);
}

// --- transaction -------------------------------------------------------------------------------------------

database::transaction::transaction(database& in) : in_{in} {
  if (in.open_transactions_ == 0) {
    in.run("BEGIN IMMEDIATE");
    in.is_doomed_ = false;
  }
  ++in.open_transactions_;
}

database::transaction::~transaction() {
  if (is_committed_)
    return;
  if (--in_.open_transactions_ > 0)
    in_.is_doomed_ = true;
  else
    sqlite3_exec(in_.it_, "ROLLBACK", nullptr, nullptr, nullptr);
}

void database::transaction::commit() {
  if (in_.is_doomed_)
    throw store_error{"A part of a change could not be kept, so none of it was: run the program again."};
  if (in_.open_transactions_ == 1)
    in_.run("COMMIT");
  // From here on it is over, though the object lives: what begins now is a transaction of its own.
  --in_.open_transactions_;
  is_committed_ = true;
}

} // namespace parley::client

#pragma once
#include "protocol/client/store.hpp"

#include <filesystem>

struct sqlite3;
struct sqlite3_stmt;

namespace parley::client {

/// For people: one profile directory with `parley.db` in it, readable by its owner only.
///
/// Owns:   the database and a lock on the directory: a device connects once, a second process would fence the
/// first. Holds:  every call is one transaction, on disk when it returns (WAL, synchronous=FULL).
class sqlite_store final : public client_store {
public:
  /// Opens or creates. Throws `store_error` with a sentence for a person, also if another process has it.
  explicit sqlite_store(const std::filesystem::path& directory);
  ~sqlite_store() override;
  sqlite_store(const sqlite_store&) = delete;
  sqlite_store& operator=(const sqlite_store&) = delete;

  std::optional<identity> who() override;
  void set_identity(const identity& who) override;
  outgoing enqueue(conversation_id c, std::string body) override;
  std::vector<outgoing> waiting() override;
  void sent(const message& placed) override;
  void failed(std::uint64_t counter, ec why) override;
  std::vector<failed_message> failures() override;
  void forget(std::uint64_t counter) override;
  void apply(const applied_batch& batch) override;
  place where() override;
  void acknowledged(const cursor& upto) override;
  void restore(inbox_applier& into) override;
  std::vector<message> history(conversation_id c, seq_no after, std::size_t limit) override;
  std::vector<conversation_info> conversations() override;
  void read(conversation_id c, seq_no upto) override;
  void read_known(conversation_id c, seq_no upto) override;
  std::vector<unread> reads_owed() override;
  session_number next_session(unix_ms clock) override;
  std::string token() override;
  void set_token(const std::string& token) override;

private:
  class statement;
  class transaction;
  statement prepare(const char* sql);
  void run(const char* sql);
  void make_tables();
  void keep(const message& m);
  std::string setting(const char* name);
  void set(const char* name, std::string_view value);

  sqlite3* db_ = nullptr;
  int lock_ = -1;
};

} // namespace parley::client

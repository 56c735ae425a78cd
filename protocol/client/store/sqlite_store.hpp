#pragma once
#include "protocol/client/store/database.hpp"

namespace parley::client {

/// Another process has the profile open; the sentence names it.
struct profile_in_use : store_error {
  using store_error::store_error;
};

/// Keeps a second process away from the profile: its connection would fence the first one.
class profile_lock {
public:
  /// Creates the directory if there is none. Throws `profile_in_use`.
  explicit profile_lock(const std::filesystem::path& directory);
  ~profile_lock();
  profile_lock(const profile_lock&) = delete;
  profile_lock& operator=(const profile_lock&) = delete;

private:
  int it_ = -1;
};

/// A profile: a directory with the encrypted database `parley.db`, readable by its owner only.
///
/// Owns:   the database and a lock on the directory.
/// Thread: one.
/// Holds:  every call is one transaction and on disk when it returns. Between `begin` and `commit` all calls
///         are one transaction. A transaction that fails changes nothing.
/// Errors: throws `store_error`, also for a profile that a newer program has written.
class sqlite_store final : public client_store {
public:
  /// Opens or creates the profile. Throws `store_error` with a sentence for a person, also if another process
  /// has it open. The database's key is in a file: `key` in the directory, unless another file is named. That
  /// protects a database that is copied or left on a disk, but not a directory that is copied together with
  /// its key.
  explicit sqlite_store(const std::filesystem::path& directory, const std::filesystem::path& key_file = {});
  /// For programs that keep the key, 32 random bytes, where their system keeps secrets.
  sqlite_store(const std::filesystem::path& directory, const mls::secret& key);

  /// All calls from here on, those of group_parts included, belong to the transaction until it is committed.
  /// It is rolled back if it ends before that.
  [[nodiscard]] database::transaction begin() { return database::transaction{db_}; }

  std::optional<identity> who() override;
  void set_identity(const identity& who) override;
  outgoing enqueue(conversation_id c, std::string body, const numbering& how = {}) override;
  std::vector<outgoing> waiting() override;
  void trying(std::uint64_t counter) override;
  std::uint64_t renumber(std::uint64_t counter, unix_ms clock) override;
  void sent(const message& placed) override;
  void failed(std::uint64_t counter, ec why) override;
  std::vector<failed_message> failures() override;
  void forget(std::uint64_t counter) override;
  void apply(const applied_batch& batch) override;
  place where() override;
  void acknowledged(const cursor& upto) override;
  std::vector<message> newest(conversation_id c, seq_no upto, std::size_t limit) override;
  void start_over() override;
  void compared() override;
  void roll_back(conversation_id c, seq_no upto) override;
  std::vector<message> lost() override;
  void told_lost() override;
  applied_state applied() override;
  std::vector<message> history(conversation_id c, seq_no after, std::size_t limit) override;
  std::vector<message> newest(conversation_id c, std::size_t limit) override;
  std::vector<conversation_info> conversations() override;
  std::size_t unread_messages(conversation_id c, seq_no read, user_id me) override;
  std::vector<contact> contacts() override;
  void set_contacts(const std::vector<contact>& all) override;
  std::vector<message> unshown(std::size_t limit) override;
  void shown(const std::map<conversation_id, seq_no>& upto) override;
  void read(conversation_id c, seq_no upto) override;
  void read_known(conversation_id c, seq_no upto) override;
  std::vector<unread> reads_owed() override;
  session_number next_session(unix_ms clock) override;
  std::vector<std::string> nodes() override;
  void set_nodes(const std::vector<std::string>& all) override;
  std::string token() override;
  void set_token(const std::string& token) override;

private:
  friend class group_parts;
  void make_tables();
  void keep(const message& m);
  void remove(std::uint64_t counter); ///< from the outbox
  std::optional<std::string> setting(const char* name);
  void drop(const char* name);
  std::uint64_t next_counter(unix_ms clock);
  /// Up to which counter messages may have been sent; all, if nobody has kept account of it.
  std::uint64_t tried();
  /// Whether this device has given out a counter that it knows of. It reads the whole history.
  bool has_posted();
  void set(const char* name, std::string_view value);

  profile_lock lock_;
  database db_;
};

} // namespace parley::client

#pragma once
// A node's environment with a journal, and what a killed process leaves of it.
#include "storage/journaled_environment.hpp"
#include "tests/storage/scratch.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <string_view>

namespace parley::test {

using namespace storage;

inline journal_config small_journal() {
  journal_config c;
  c.bytes = 4 << 20;
  c.publish_every = std::chrono::hours{1}; // only when a test says so
  return c;
}

inline std::unique_ptr<journaled_environment> open_journaled(const std::string& path,
                                                             const journal_config& config = small_journal()) {
  auto tables = small_config();
  tables.prepare_bytes = 64 << 10;
  tables.pages_kept_for = std::chrono::milliseconds{0}; // each publish gives some back
  auto env = journaled_environment::open(path, tables, config);
  REQUIRE_MESSAGE(env.has_value(), (env ? std::string{} : env.error().what));
  return std::move(*env);
}

/// Where the first record is written.
inline constexpr auto first_record = journal::words_bytes;

inline void put_row(environment& env, std::string_view key, std::string_view value,
                    durable when = durable::now) {
  auto txn = env.begin_write();
  txn->put(table::state, key, value);
  REQUIRE(txn->commit(when) == ec::none);
}

inline std::string contents(const std::string& path) {
  std::ifstream in{path, std::ios::binary};
  return {std::istreambuf_iterator<char>{in}, {}};
}

/// A life that ends in a clean stop, after which the tables are opened as they are.
inline void put_and_stop(const std::string& path, std::string_view key, std::string_view value) {
  const auto env = open_journaled(path);
  put_row(*env, key, value);
  REQUIRE(env->publish(environment::publishing::now) == ec::none);
}

/// Of the newest commit of the tables that nobody has open.
inline std::string name_of(const scratch_directory& dir) {
  return open(dir)->keep()->name();
}

/// Publishes, and waits until the journal names what was published and nothing older.
inline void checkpoint(journaled_environment& env) {
  const auto before = env.journal().checkpoints;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds{30};
  REQUIRE(env.publish(environment::publishing::now) == ec::none);
  while (env.journal().checkpoints == before && std::chrono::steady_clock::now() < end)
    REQUIRE(env.publish(environment::publishing::if_due) == ec::none);
  REQUIRE(env.journal().checkpoints > before);
}

inline std::map<std::string, std::string> rows(environment& env) {
  std::map<std::string, std::string> all;
  auto txn = env.begin_read();
  txn->ascend(table::state, {}, {}, [&](std::string_view k, std::string_view v) {
    all.emplace(k, v);
    return scan::more;
  });
  REQUIRE(txn->status() == ec::none);
  return all;
}

/// What the disk holds at this moment: the files of a process that was killed now.
inline void copy_disk(const scratch_directory& from, const scratch_directory& to) {
  for (const char* name : {"store.mdb", "store.journal"})
    std::filesystem::copy_file(from.file(name), to.file(name),
                               std::filesystem::copy_options::overwrite_existing);
}

inline void scribble(const std::string& path, std::uint64_t at, std::string_view bytes) {
  std::fstream file{path, std::ios::in | std::ios::out | std::ios::binary};
  file.seekp(static_cast<std::streamoff>(at));
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  REQUIRE(file.good());
}

} // namespace parley::test

#pragma once
#include "storage/lmdb_environment.hpp"
#include "tests/support/scratch_directory.hpp"

#include <doctest/doctest.h>

namespace parley::test {

/// A map of one size, and failures that are answers.
inline storage::lmdb_config small_config(std::uint64_t map_bytes = 64 << 20) {
  storage::lmdb_config c;
  c.map_bytes_initial = map_bytes;
  c.map_bytes_step = map_bytes;
  c.map_bytes_max = map_bytes;
  c.reserve_bytes = map_bytes / 4;
  c.resume_bytes = map_bytes / 16;
  c.abort_on_failure = false;
  return c;
}

inline std::unique_ptr<storage::lmdb_environment> open(const scratch_directory& dir,
                                                       const storage::lmdb_config& config = small_config()) {
  auto env = storage::lmdb_environment::open(dir.path(), config);
  REQUIRE_MESSAGE(env.has_value(), (env ? std::string{} : env.error().what));
  return std::move(*env);
}

inline void put(storage::environment& env, storage::table t, std::string_view key, std::string_view value) {
  auto txn = env.begin_write();
  txn->put(t, key, value);
  REQUIRE(txn->commit() == ec::none);
}

inline std::optional<std::string> get(storage::environment& env, storage::table t, std::string_view key) {
  auto txn = env.begin_read();
  const auto v = txn->get(t, key);
  return v ? std::optional{std::string{*v}} : std::nullopt;
}

/// Big-endian, as log keys are.
inline std::string numbered(std::uint64_t n) {
  std::string key(8, '\0');
  for (int i = 7; i >= 0; --i, n >>= 8)
    key[static_cast<std::size_t>(i)] = static_cast<char>(n & 0xff);
  return key;
}

} // namespace parley::test

#include "tests/support/virtual_environment.hpp"

#include <doctest/doctest.h>

#include <stdexcept>

using namespace parley;
using namespace parley::test;
using storage::scan;
using storage::table;

namespace {

void put(virtual_environment& env, std::string_view key, std::string_view value) {
  auto txn = env.begin_write();
  txn->put(table::state, key, value);
  REQUIRE(txn->commit() == ec::none);
}

std::string all(storage::read_txn& txn, std::string_view from = {}, std::string_view to = {}) {
  std::string up;
  std::string down;
  txn.ascend(table::state, from, to, [&](auto k, auto v) {
    up += std::string{k} + "=" + std::string{v} + " ";
    return scan::more;
  });
  txn.descend(table::state, from, to, [&](auto k, auto v) {
    down = std::string{k} + "=" + std::string{v} + " " + down;
    return scan::more;
  });
  CHECK(up == down);
  return up;
}

std::string all(virtual_environment& env) {
  return all(*env.begin_read());
}

} // namespace

TEST_CASE("a crash loses what was not synced, whole") {
  virtual_environment env{durability::on_synced};
  put(env, "a", "1");
  env.synced();
  put(env, "a", "2");
  put(env, "b", "2");
  CHECK(all(env) == "a=2 b=2 ");
  CHECK(env.crash(unsynced::lost) == 0);
  CHECK(all(env) == "a=1 ");
}

TEST_CASE("a crash may keep it, and over seeds does both") {
  int kept = 0;
  for (std::uint64_t seed = 0; seed < 64; ++seed) {
    virtual_environment env{durability::on_synced, seed};
    put(env, "a", "1");
    kept += env.crash() == 1;
    CHECK(env.rows(table::state) <= 1);
  }
  CHECK(kept > 10);
  CHECK(kept < 54);
}

TEST_CASE("a torn batch keeps a part, which only the planted bug does") {
  bool torn = false;
  for (std::uint64_t seed = 0; seed < 64 && !torn; ++seed) {
    virtual_environment env{durability::on_synced, seed};
    env.tear_batches(true);
    auto txn = env.begin_write();
    for (auto key : {"a", "b", "c", "d"})
      txn->put(table::state, key, "1");
    REQUIRE(txn->commit() == ec::none);
    env.crash(unsynced::lost);
    torn = env.rows(table::state) > 0 && env.rows(table::state) < 4;
  }
  CHECK(torn);
}

TEST_CASE("a transaction from before the crash cannot commit after it") {
  virtual_environment env;
  auto before = env.begin_write();
  before->put(table::state, "a", "1");
  env.crash();
  auto after = env.begin_write();
  CHECK(before->commit() == ec::storage_failed);
  CHECK(after->commit() == ec::none);
  CHECK(all(env) == "");
}

TEST_CASE("a corrupt record reads as absent and says so until it is written again") {
  virtual_environment env;
  put(env, "a", "1");
  put(env, "b", "1");
  REQUIRE(env.corrupt(table::state, "a"));
  auto txn = env.begin_read();
  CHECK(txn->status() == ec::none);
  CHECK(all(*txn) == "b=1 ");
  CHECK(txn->status() == ec::corrupt);
  put(env, "a", "2");
  CHECK(all(env) == "a=2 b=1 ");
}

TEST_CASE("misuse that LMDB would refuse is refused") {
  virtual_environment env;
  put(env, "b", "1");
  auto txn = env.begin_write();
  CHECK_THROWS_AS(env.begin_write(), std::logic_error);
  CHECK_THROWS_AS(txn->append(table::state, "a", "1"), std::logic_error);
  CHECK_THROWS_AS(txn->append(table::state, "b", "1"), std::logic_error);
  CHECK_THROWS_AS(txn->put(table::state, "", "1"), std::logic_error);
  CHECK_THROWS_AS(txn->put(table::state, std::string(512, 'x'), "1"), std::logic_error);
  txn->append(table::state, "c", "1");
  CHECK(txn->commit() == ec::none);
}

TEST_CASE("a failed commit leaves all or nothing") {
  int kept = 0;
  for (std::uint64_t seed = 0; seed < 64; ++seed) {
    virtual_environment env{durability::at_commit, seed};
    env.fail_next_commit();
    auto txn = env.begin_write();
    txn->put(table::state, "a", "1");
    CHECK(txn->commit() == ec::storage_failed);
    kept += env.rows(table::state) == 1;
  }
  CHECK(kept > 10);
  CHECK(kept < 54);
}

TEST_CASE("a reader sees what was committed before it began") {
  virtual_environment env;
  put(env, "a", "1");
  auto before = env.begin_read();
  auto txn = env.begin_write();
  txn->put(table::state, "a", "2");
  txn->put(table::state, "b", "2");
  CHECK(all(env) == "a=1 ");
  CHECK(txn->commit() == ec::none);
  CHECK(all(*before) == "a=1 ");
  CHECK(all(env) == "a=2 b=2 ");
}

TEST_CASE("a writer sees its own changes over the image, both ways and within bounds") {
  virtual_environment env;
  for (auto key : {"a", "c", "e", "g"})
    put(env, key, "1");
  auto txn = env.begin_write();
  txn->put(table::state, "b", "2");
  txn->put(table::state, "c", "2");
  txn->erase(table::state, "e");
  txn->put(table::state, "h", "2");
  CHECK(all(*txn) == "a=1 b=2 c=2 g=1 h=2 ");
  CHECK(all(*txn, "b", "g") == "b=2 c=2 ");
  CHECK(all(*txn, "c") == "c=2 g=1 h=2 ");
  CHECK(all(*txn, "d", "d") == "");
  CHECK(txn->get(table::state, "c") == "2");
  CHECK_FALSE(txn->get(table::state, "e"));
  CHECK(txn->erase_range(table::state, "b", "h", 2) == 2);
  CHECK(txn->erase_range(table::state, "b", "h", 2) == 1);
  CHECK(all(*txn) == "a=1 h=2 ");
  CHECK(txn->commit() == ec::none);
  CHECK(all(env) == "a=1 h=2 ");
}

TEST_CASE("an abandoned transaction leaves nothing") {
  virtual_environment env;
  env.begin_write()->put(table::state, "a", "1");
  CHECK(all(env) == "");
  env.set_room({7, false});
  CHECK(env.room().bytes_free == 7);
  CHECK_FALSE(env.room().accepts_proposals);
  put(env, "a", "1");
  env.wipe();
  CHECK(all(env) == "");
}

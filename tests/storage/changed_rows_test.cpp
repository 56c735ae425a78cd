// What readers do not see yet, by whose it is.
#include "tests/storage/journal_fixture.hpp"
#include "tests/storage/scratch.hpp"

#include <functional>

using namespace parley;
using namespace parley::storage;
using namespace parley::test;

namespace {

constexpr shard_id shard{3};
/// A key's beginning that can be asked for, with a user's or with a conversation's id.
std::string user(std::uint64_t n) {
  std::string key{"i"};
  for (int bits = 56; bits >= 0; bits -= 8)
    key += static_cast<char>(n >> bits & 0xff);
  return key;
}
std::string conversation(std::uint64_t high, std::uint64_t low) {
  return "m" + user(high).substr(1) + user(low).substr(1);
}
void change(environment& env, const std::function<void(shard_txn&)>& how, std::uint8_t slot = 0) {
  const auto txn = env.begin_write();
  shard_txn rows{*txn, shard, slot};
  how(rows);
  REQUIRE(txn->commit() == ec::none);
}

} // namespace

TEST_CASE("whose rows readers do not see yet is known by how their keys begin") {
  scratch_directory dir;
  const auto env = open_journaled(dir.path());
  change(*env, [](shard_txn& rows) {
    for (const auto n : {1, 2, 3})
      rows.put(user(n) + "row", "1");
    rows.put(conversation(1, 1) + "row", "1");
  });
  CHECK_FALSE(env->visible(shard, user(1)));
  CHECK_FALSE(env->visible(shard, conversation(1, 1)));
  CHECK(env->visible(shard, user(4)));
  CHECK(env->visible(shard, conversation(1, 2)));
  CHECK(env->visible(shard_id{4}, user(1)));
  CHECK_FALSE(env->visible(shard, "i")); // not of a length that is known

  REQUIRE(env->publish(environment::publishing::now) == ec::none);
  CHECK(env->visible(shard, user(1)));
  CHECK(env->visible(shard, "i"));

  SUBCASE("a key that is exactly so long") {
    change(*env, [](shard_txn& rows) { rows.put(user(1), "2"); });
    CHECK_FALSE(env->visible(shard, user(1)));
    CHECK(env->visible(shard, user(2)));
  }
  SUBCASE("erased") {
    change(*env, [](shard_txn& rows) { rows.erase(user(2) + "row"); });
    CHECK_FALSE(env->visible(shard, user(2)));
    CHECK(env->visible(shard, user(1)));
  }
  SUBCASE("in the slot of a state that is still on its way") {
    change(
        *env, [](shard_txn& rows) { rows.put(user(2) + "row", "2"); }, 1);
    CHECK_FALSE(env->visible(shard, user(2)));
  }
  SUBCASE("a part of one's rows is erased") {
    change(*env, [](shard_txn& rows) { rows.erase_range(user(2) + "a", user(2) + "z", 10); });
    CHECK_FALSE(env->visible(shard, user(2)));
    CHECK(env->visible(shard, user(1)));
  }
  SUBCASE("all rows of several users are erased") {
    change(*env, [](shard_txn& rows) { rows.erase_range(user(1), user(3), 10); });
    CHECK_FALSE(env->visible(shard, user(1)));
    CHECK_FALSE(env->visible(shard, user(2)));
    CHECK(env->visible(shard, conversation(1, 1)));
  }
  SUBCASE("all rows of conversations whose ids begin alike are erased") {
    change(*env, [](shard_txn& rows) { rows.erase_range(conversation(1, 1), conversation(1, 9), 10); });
    CHECK_FALSE(env->visible(shard, conversation(1, 1)));
    CHECK_FALSE(env->visible(shard, conversation(1, 4)));
    CHECK(env->visible(shard, conversation(2, 1)));
    CHECK(env->visible(shard, user(1)));
  }
  SUBCASE("all of the shard is erased") {
    change(*env, [](shard_txn& rows) { rows.erase_range({}, {}, 10); });
    CHECK_FALSE(env->visible(shard, user(1)));
    CHECK_FALSE(env->visible(shard, conversation(7, 7)));
  }
  SUBCASE("a transaction that is given up takes nothing back of those before it") {
    change(*env, [](shard_txn& rows) { rows.put(user(2) + "row", "2"); });
    {
      const auto txn = env->begin_write();
      txn->put(table::state, "x", "1");
    }
    CHECK_FALSE(env->visible(shard, user(2)));
  }
  SUBCASE("what many users changed is all known, and few others are taken for changed") {
    change(*env, [](shard_txn& rows) {
      for (std::uint64_t n = 1'000; n < 11'000; ++n)
        rows.put(user(n) + "row", "2");
    });
    std::size_t mistaken = 0;
    for (std::uint64_t n = 1'000; n < 11'000; ++n) {
      CHECK_FALSE(env->visible(shard, user(n)));
      mistaken += env->visible(shard, user(n + 100'000)) ? 0 : 1;
    }
    CHECK(mistaken < 200); // 10,000 of a million bits
  }
}

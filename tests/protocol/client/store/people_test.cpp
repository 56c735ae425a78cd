// What people look at besides messages: who is known, and how much is unread.
#include "protocol/client/store/memory_store.hpp"
#include "protocol/client/store/sqlite_store.hpp"
#include "tests/protocol/client/store/placed_message.hpp"
#include "tests/support/scratch_directory.hpp"

#include <doctest/doctest.h>

using namespace parley;
using namespace parley::client;
using test::placed;
using test::scratch_directory;
using test::talk;

TEST_CASE("contacts are kept, and what is unread is counted without what this person wrote") {
  scratch_directory s;
  const auto run = [&](client_store& store) {
    CHECK(store.contacts().empty());
    const std::vector<contact> all{{user_id{~0ULL}, "+4911111111", "Bob"}, {user_id{}, "+4922222222", ""}};
    store.set_contacts({{user_id{1}, "", "x"}});
    store.set_contacts(all);
    CHECK(store.contacts() == all);

    std::vector<message> some;
    for (std::uint64_t seq = 1; seq <= 5; ++seq)
      some.push_back(placed(seq, seq));
    some[3].sender = user_id{1}; // me
    applied_batch batch;
    for (const auto& m : some)
      batch.messages.push_back(&m);
    store.apply(batch);
    CHECK(store.unread_messages(talk, seq_no{}, user_id{1}) == 4);
    CHECK(store.unread_messages(talk, seq_no{2}, user_id{1}) == 2); // read on another device
    store.read(talk, seq_no{3});
    CHECK(store.unread_messages(talk, seq_no{2}, user_id{1}) == 1);
    CHECK(store.unread_messages({1, 1}, seq_no{}, user_id{1}) == 0);
  };
  SUBCASE("in memory") {
    memory_store store{{100}};
    run(store);
  }
  SUBCASE("on disk") {
    sqlite_store store{s.path()};
    run(store);
  }
}

#include "protocol/client/tool/names.hpp"

#include "protocol/client/tool/commands.hpp"

#include <doctest/doctest.h>

using namespace parley;
using namespace parley::tool;

TEST_CASE("a phone number is recognised however people write it, if it has its country") {
  for (const char* written : {"+491700000001", "+49 170 000 00 01", "+49-170-0000001", "0049 170 0000001",
                              "+49 (170) 000/0001", " +49.170.0000001 ", "+49\u00a0170\u00a00000001"})
    CHECK(phone_number(written) == "+491700000001");
  for (const char* other :
       {"", "+", "0170 0000001", "1700000001", "+49170", "+49170000000123456", "+49170x000001",
        "4+91700000001", "++491700000001", "Bob", "00000000000000010000000000000002"}) {
    CAPTURE(other);
    CHECK_FALSE(phone_number(other));
  }
}

TEST_CASE("a person has the name of this person's choice, else the number that was used, else the id") {
  client::memory_store store;
  client::identity me;
  me.user = user_id{1};
  store.set_identity(me);
  names known{store};
  CHECK(known.of(user_id{1}) == "you");
  CHECK(known.of(user_id{2}) == "user-2");
  CHECK(known.of(user_id{14'786'277'303'734'492'526ULL}) == "user-492526");
  known.met(user_id{2}, "+4922222222");
  CHECK(known.of(user_id{2}) == "+4922222222");
  CHECK(known.rename("+49 22222222", "Bob"));
  CHECK(known.rename("3", "Eve \x1b[2J"));
  CHECK(known.rename("+4944444444", "Dan"));
  CHECK_FALSE(known.rename("nobody", "x"));
  CHECK(known.of({user_id{1}, user_id{2}, user_id{3}}) == "Bob, Eve ·[2J");
  CHECK(known.of({user_id{1}}) == "you");
  known.met(user_id{4}, "+4944444444"); // whose number was known before
  CHECK(known.of(user_id{4}) == "Dan");
  known.met(user_id{5}, "+4922222222"); // the number has a new owner; the name stays with the person
  CHECK(known.of(user_id{5}) == "+4922222222");
  CHECK(known.of(user_id{2}) == "Bob");

  const names again{store}; // it was kept
  CHECK(again.find("Bob")->user == user_id{2});
  CHECK(again.find("+49 4444 4444")->name == "Dan");
  CHECK(again.find("5")->phone == "+4922222222");
  CHECK(again.find("") == nullptr);
}

TEST_CASE("somebody who wrote first is listed, and is found by what is shown") {
  client::memory_store store;
  client::identity me;
  me.user = user_id{1};
  store.set_identity(me);
  client::applied_batch batch;
  batch.opened = {{{7, 7}, {user_id{1}, user_id{12'345'678}}, seq_no{1}}};
  store.apply(batch);
  names known{store};
  CHECK(known.of(conversation_id{7, 7}) == "user-345678");
  REQUIRE(known.find("user-345678"));
  CHECK(known.rename("user-345678", "Eve"));
  CHECK(names{store}.of(conversation_id{7, 7}) == "Eve");
  CHECK(names{store}.all().size() == 1);
}

TEST_CASE("a number with a name and an id that wrote first become one person when they meet") {
  client::memory_store store;
  client::identity me;
  me.user = user_id{1};
  store.set_identity(me);
  client::applied_batch batch;
  batch.opened = {{{7, 7}, {user_id{1}, user_id{2}}, seq_no{1}}};
  store.apply(batch);
  names known{store};
  CHECK(known.rename("+4922222222", "Bob"));
  CHECK(known.all().size() == 2);
  known.met(user_id{2}, "+4922222222");
  REQUIRE(known.all().size() == 1);
  CHECK(known.all()[0] == client::contact{user_id{2}, "+4922222222", "Bob"});
  CHECK(names{store}.all() == known.all());
}

TEST_CASE(
    "who is in a conversation that the cluster lists is found by what is shown, on a second device too") {
  client::memory_store store;
  client::identity me;
  me.user = user_id{1};
  me.phone = "+4911111111";
  store.set_identity(me);
  CHECK_THROWS_AS(check_whom(store, "user-345678"), stop);
  for (int times = 0; times < 2; ++times)
    remember_talks(store, {{{7, 7}, {user_id{1}, user_id{12'345'678}}, seq_no{5}}});
  CHECK(store.conversations().size() == 1);
  CHECK_NOTHROW(check_whom(store, "user-345678"));
  CHECK(known_talk(store, "user-345678") == conversation_id{7, 7});
  CHECK(names{store}.of(conversation_id{7, 7}) == "user-345678");
  for (const char* own : {"+49 11111111", "1 2", "nobody"})
    CHECK_THROWS_AS(check_whom(store, own), stop);
}

#include "protocol/client/store/group_parts.hpp"
#include "protocol/client/store/memory_store.hpp"
#include "protocol/client/store/sqlite_store.hpp"
#include "protocol/client/store/stored_values.hpp"
#include "protocol/values/codec.hpp"
#include "tests/protocol/client/store/placed_message.hpp"
#include "tests/support/scratch_directory.hpp"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace parley;
using namespace parley::client;
using test::placed;
using test::scratch_directory;
using test::talk;

namespace {

mls::secret some_key() {
  return mls::secret{mls::view_of(std::string(32, 'k'))};
}

identity somebody() {
  identity who;
  who.user = user_id{~0ULL};
  who.device = device_id{12};
  who.key.secret.fill(1);
  who.key.open.fill(2);
  who.phone = "+491700000001";
  return who;
}

applied_batch opening(const std::vector<user_id>& members) {
  applied_batch batch;
  batch.opened = {{talk, members, seq_no{4}}};
  return batch;
}

/// A value of the database, past the store.
struct raw_value {
  const char* select;
  const char* update;
};
constexpr raw_value raw_identity{"SELECT value FROM settings WHERE name = 'identity'",
                                 "UPDATE settings SET value = ? WHERE name = 'identity'"};
constexpr raw_value raw_counter{"SELECT value FROM settings WHERE name = 'counter'",
                                "UPDATE settings SET value = ? WHERE name = 'counter'"};
constexpr raw_value raw_session{"SELECT value FROM settings WHERE name = 'session'",
                                "UPDATE settings SET value = ? WHERE name = 'session'"};
constexpr raw_value raw_members{"SELECT members FROM conversations", "UPDATE conversations SET members = ?"};

void write_raw(database& db, const raw_value& which, std::string_view bytes) {
  db.prepare(which.update).bind(bytes).step();
}
std::string read_raw(database& db, const raw_value& which) {
  auto s = db.prepare(which.select);
  REQUIRE(s.step());
  return s.bytes();
}

/// The sentence with which the store refuses, or nothing.
template <class F>
std::string refusal_of(F&& work) {
  try {
    work();
  } catch (const store_error& e) {
    return e.what();
  }
  return {};
}

/// Runs `work` in a process of its own that dies without a word, as by kill -9.
template <class F>
void in_a_killed_process(F&& work) {
  const auto child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    work();
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  REQUIRE(WIFSIGNALED(status));
}

} // namespace

TEST_CASE("a client killed between keeping a message and sending it finds it again, with the same id") {
  scratch_directory s;
  in_a_killed_process([&] {
    sqlite_store store{s.path()};
    store.enqueue(talk, "first");
    store.enqueue(talk, std::string("with a \0 in it", 14));
  });
  sqlite_store store{s.path()};
  const auto waiting = store.waiting();
  REQUIRE(waiting.size() == 2);
  CHECK(waiting[0].counter == 1);
  CHECK(*waiting[0].body == "first");
  CHECK(waiting[1].counter == 2);
  CHECK(waiting[1].body->size() == 14);
  CHECK(waiting[1].conversation == talk);
}

TEST_CASE("a counter is never used twice, not even when its message was deleted long ago") {
  scratch_directory s;
  in_a_killed_process([&] {
    sqlite_store store{s.path()};
    const auto o = store.enqueue(talk, "one");
    store.sent(placed(1, o.counter, "one"));
  });
  sqlite_store store{s.path()};
  CHECK(store.waiting().empty());
  CHECK(store.enqueue(talk, "two").counter == 2);
}

TEST_CASE("a session's number is never used twice, not even by a client killed before it could use it") {
  scratch_directory s;
  const unix_ms clock{1'700'000'000'000};
  in_a_killed_process([&] {
    sqlite_store store{s.path()};
    store.next_session(clock);
    store.next_session(clock);
  });
  sqlite_store store{s.path()};
  CHECK(number(store.next_session(clock)) == 1'700'000'000'002);
  CHECK(number(store.next_session(unix_ms{5})) == 1'700'000'000'003); // the clock was set back
}

TEST_CASE(
    "a counter or a session's number that is no whole number is refused, and so is a counter that is gone") {
  scratch_directory s;
  const auto key = some_key();
  sqlite_store store{s.path(), key};
  database db{s.path() / "parley.db", key};
  const unix_ms clock{1'700'000'000'000};
  for (int n = 0; n < 300; ++n)
    store.enqueue(talk, "said");
  store.next_session(clock);
  const auto counter = read_raw(db, raw_counter), session = read_raw(db, raw_session);
  for (const auto& damaged : {std::string{}, counter.substr(0, 1), counter.substr(0, 7), counter + '\0',
                              std::string(8, '\xff')}) { // behind this one it would begin at 0 again
    CAPTURE(damaged.size());
    write_raw(db, raw_counter, damaged);
    write_raw(db, raw_session, damaged);
    CHECK(refusal_of([&] { store.enqueue(talk, "said twice"); }).find("counter of messages is damaged") !=
          std::string::npos);
    CHECK(refusal_of([&] { store.next_session(clock); }).find("last session is damaged") !=
          std::string::npos);
    CHECK(read_raw(db, raw_counter) == damaged);
    CHECK(read_raw(db, raw_session) == damaged);
    CHECK(store.waiting().size() == 300);
  }
  db.run("DELETE FROM settings WHERE name = 'counter'");
  CHECK_THROWS_AS(store.enqueue(talk, "said twice"), store_error);
  db.run("DELETE FROM outbox"); // nothing waits, but the history has a message of this device
  store.set_identity(somebody());
  auto mine = placed(1, 300);
  mine.client_id.device = somebody().device;
  store.sent(mine);
  CHECK_THROWS_AS(store.enqueue(talk, "said twice"), store_error);

  db.run("INSERT INTO settings VALUES ('counter', x'')");
  write_raw(db, raw_counter, counter);
  write_raw(db, raw_session, session);
  CHECK(store.enqueue(talk, "said").counter == 301);
  CHECK(number(store.next_session(clock)) == 1'700'000'000'001);
}

TEST_CASE("an identity of no bytes is damaged: it is not taken for that of a profile that has none yet") {
  scratch_directory s;
  const auto key = some_key();
  sqlite_store store{s.path(), key};
  database db{s.path() / "parley.db", key};
  store.set_identity(somebody());
  write_raw(db, raw_identity, {});
  CHECK(refusal_of([&] { (void)store.who(); }).find("identity is damaged") != std::string::npos);
  CHECK(refusal_of([&] { store.set_identity(somebody()); }).find("identity is damaged") != std::string::npos);
  CHECK(read_raw(db, raw_identity).empty());
}

TEST_CASE("a second process cannot take a profile that is in use") {
  scratch_directory s;
  sqlite_store store{s.path()};
  CHECK_THROWS_AS(sqlite_store{s.path()}, store_error);
}

TEST_CASE("a profile of a newer version is refused with a sentence and left as it is") {
  scratch_directory s;
  const auto key = some_key();
  sqlite_store{s.path(), key}.enqueue(talk, "kept");
  const auto version = database{s.path() / "parley.db", key}.version();
  database{s.path() / "parley.db", key}.set_version(1'000);
  CHECK(refusal_of([&] { sqlite_store{s.path(), key}; }).find("newer parley") != std::string::npos);
  database db{s.path() / "parley.db", key};
  CHECK(db.version() == 1'000);
  db.set_version(version);
  CHECK(sqlite_store{s.path(), key}.waiting().size() == 1);
}

TEST_CASE("a profile that was written before profiles had versions, or with the first, keeps what it holds") {
  const auto who = somebody();
  const std::vector members{user_id{7}, user_id{~0ULL}};
  writer old_identity, old_members; // without an envelope
  old_identity.put(who.user).put(who.device).raw(std::string(32, '\1')).raw(std::string(32, '\2'));
  old_identity.put(std::string_view{who.phone});
  old_members.put(members[0]).put(members[1]);
  for (const std::uint32_t version : {0U, 1U}) {
    scratch_directory s;
    const auto key = some_key();
    {
      sqlite_store store{s.path(), key};
      store.enqueue(talk, "kept");
      store.set_identity(who);
      store.apply(opening(members));
    }
    {
      database db{s.path() / "parley.db", key};
      CHECK(db.version() == 6);
      write_raw(db, raw_identity, old_identity.bytes());
      write_raw(db, raw_members, old_members.bytes());
      db.set_version(version);
    }
    sqlite_store store{s.path(), key};
    CHECK(store.waiting().size() == 1);
    REQUIRE(store.who());
    CHECK(store.who()->user == who.user);
    CHECK(store.who()->key == who.key);
    CHECK(store.who()->phone == who.phone);
    REQUIRE(store.conversations().size() == 1);
    CHECK(store.conversations().front().members == members);
    CHECK(database{s.path() / "parley.db", key}.version() == 6);
  }
}

TEST_CASE("a profile of the first format whose phone number nobody can register with begins anew") {
  scratch_directory s;
  const auto key = some_key();
  writer typed;
  typed.put(user_id{})
      .put(device_id{})
      .raw(std::string(64, '\1'))
      .put(std::string_view{std::string(100, '7')});
  {
    sqlite_store store{s.path(), key};
    store.set_identity({});
  }
  {
    database db{s.path() / "parley.db", key};
    write_raw(db, raw_identity, typed.bytes());
    db.set_version(1);
  }
  sqlite_store store{s.path(), key};
  CHECK_FALSE(store.who());
  store.set_identity(somebody());
  CHECK(store.who()->key == somebody().key);
}

TEST_CASE("an identity or a list of members that a newer program has written is refused and left as it is") {
  scratch_directory s;
  const auto key = some_key();
  const std::vector members{user_id{7}, user_id{8}};
  const auto longer = [](std::string bytes) {
    ++bytes[1];
    return bytes + "n";
  };
  const auto higher = [](std::string bytes) {
    ++bytes[0];
    return bytes;
  };
  for (const auto& newer : {longer(pack_identity(somebody())), higher(pack_identity(somebody()))}) {
    sqlite_store store{s.path(), key};
    database db{s.path() / "parley.db", key};
    db.run("DELETE FROM settings");
    store.set_identity(somebody());
    write_raw(db, raw_identity, newer);
    CHECK(refusal_of([&] { (void)store.who(); }).find("newer parley") != std::string::npos);
    CHECK(refusal_of([&] { store.set_identity(somebody()); }).find("newer parley") != std::string::npos);
    CHECK(read_raw(db, raw_identity) == newer);
  }
  for (const auto& newer : {longer(pack_members(members)), higher(pack_members(members))}) {
    sqlite_store store{s.path(), key};
    database db{s.path() / "parley.db", key};
    db.run("DELETE FROM conversations");
    store.apply(opening(members));
    write_raw(db, raw_members, newer);
    CHECK(refusal_of([&] { (void)store.conversations(); }).find("newer parley") != std::string::npos);
    CHECK(refusal_of([&] { store.apply(opening(members)); }).find("newer parley") != std::string::npos);
    CHECK(read_raw(db, raw_members) == newer);
  }
}

TEST_CASE("a delivery is stored as a whole: messages, positions, watermarks and cursor") {
  scratch_directory s;
  {
    sqlite_store store{s.path()};
    const auto m = placed(4, 9);
    applied_batch batch;
    batch.messages = {&m};
    batch.positions = {{talk, seq_no{4}}};
    batch.marks = {{talk, user_id{7}, seq_no{4}, seq_no{2}}};
    batch.opened = {{talk, {user_id{7}, user_id{8}}, seq_no{4}}};
    batch.upto = cursor{"place"};
    store.apply(batch);
    store.acknowledged("place before");
  }
  sqlite_store store{s.path()};
  CHECK(store.where().applied == "place");
  CHECK(store.where().acknowledged == "place before");
  CHECK(store.applied().positions == std::vector{std::pair{talk, seq_no{4}}});
  CHECK(store.applied().marks == std::vector{watermark{talk, user_id{7}, seq_no{4}, seq_no{2}}});
  REQUIRE(store.conversations().size() == 1);
  CHECK(store.conversations().front().members == std::vector{user_id{7}, user_id{8}});
  REQUIRE(store.history(talk, seq_no{0}, 10).size() == 1);
  CHECK(store.history(talk, seq_no{0}, 10).front() == placed(4, 9));
}

TEST_CASE("an identity and its key are kept across a restart") {
  scratch_directory s;
  const auto who = somebody();
  {
    sqlite_store store{s.path()};
    CHECK(!store.who());
    store.set_identity(who);
  }
  sqlite_store store{s.path()};
  REQUIRE(store.who());
  CHECK(store.who()->user == who.user);
  CHECK(store.who()->key == who.key);
  CHECK(store.who()->phone == who.phone);
  CHECK((std::filesystem::status(s.path() / "parley.db").permissions() &
         std::filesystem::perms::others_all) == std::filesystem::perms::none);
}

TEST_CASE(
    "what begins after a commit is a transaction of its own, although the first one's scope has not ended") {
  scratch_directory s;
  sqlite_store store{s.path()};
  auto first = store.begin();
  store.enqueue(talk, "said");
  first.commit();
  {
    const auto second = store.begin();
    store.enqueue(talk, "never said");
  }
  CHECK(store.waiting().size() == 1);
}

TEST_CASE("parts of groups and messages that belong together are stored as a whole or not at all") {
  scratch_directory s;
  const auto group = mls::view_of("a group"), value = mls::view_of("a key");
  {
    sqlite_store store{s.path()};
    group_parts parts{store, group};
    {
      const auto undone = store.begin();
      store.enqueue(talk, "never said");
      REQUIRE(parts.put("t/1", value));
    }
    CHECK(store.waiting().empty());
    CHECK_FALSE(*parts.get("t/1"));
    auto all = store.begin();
    store.enqueue(talk, "said");
    REQUIRE(parts.put("t/1", value));
    REQUIRE(parts.put("t/22", value));
    REQUIRE(parts.put("u/1", {}));
    all.commit();
  }
  in_a_killed_process([&] {
    sqlite_store store{s.path()};
    const auto all = store.begin();
    store.enqueue(talk, "never said");
    (void)group_parts{store, group}.erase("t/1");
  });
  sqlite_store store{s.path()};
  group_parts parts{store, group};
  CHECK(store.waiting().size() == 1);
  CHECK(mls::equal((*parts.get("t/1"))->view(), value));
  CHECK((*parts.get("u/1"))->empty());
  CHECK(*parts.names("t/") == std::vector<std::string>{"t/1", "t/22"});
  CHECK(parts.names("")->size() == 3);
  CHECK(group_parts{store, mls::view_of("another")}.names("")->empty());
}

TEST_CASE("the rows of a group with any id are apart from the device's own, and do not grow with the id") {
  scratch_directory s;
  sqlite_store store{s.path()};
  auto own = group_parts::of_device(store);
  REQUIRE(own.put("k/1", mls::view_of("a key package")));
  const std::string long_id(100'000, 'x');
  for (const std::string_view id :
       {std::string_view{}, std::string_view{"device"}, std::string_view{long_id}}) {
    group_parts parts{store, mls::view_of(id)};
    CHECK(parts.names("")->empty());
    for (int n = 0; n < 100; ++n)
      REQUIRE(parts.put("n/" + std::to_string(n), mls::view_of("a node")));
  }
  CHECK(*own.names("") == std::vector<std::string>{"k/1"});
  CHECK(std::filesystem::file_size(s.path() / "parley.db-wal") < 10'000'000);
}

TEST_CASE("a transaction with a write that failed cannot be committed, even if the failure was not checked") {
  scratch_directory s;
  const auto key = some_key();
  sqlite_store store{s.path(), key};
  group_parts parts{store, mls::view_of("a group")};
  database{s.path() / "parley.db", key}.run("DROP TABLE parts");
  {
    auto all = store.begin();
    store.enqueue(talk, "never said");
    const auto kept = parts.put("t/1", mls::view_of("a key"));
    REQUIRE_FALSE(kept);
    CHECK(kept.error().broken == mls::rule::store_failed);
    CHECK_THROWS_AS(all.commit(), store_error);
  }
  CHECK(store.waiting().empty());
  auto after = store.begin(); // the next is another
  store.enqueue(talk, "said");
  after.commit();
  CHECK(store.waiting().size() == 1);
}

TEST_CASE_TEMPLATE_DEFINE("what both stores promise", Store, both) {
  scratch_directory s;
  auto make = [&]() -> std::unique_ptr<client_store> {
    if constexpr (std::is_same_v<Store, sqlite_store>)
      return std::make_unique<sqlite_store>(s.path());
    else
      return std::make_unique<memory_store>(memory_store_config{100});
  };
  const auto store = make();

  SUBCASE("a message that failed for good leaves the outbox and stays to be looked at") {
    const auto o = store->enqueue(talk, "no");
    store->failed(o.counter, ec::not_a_member);
    CHECK(store->waiting().empty());
    REQUIRE(store->failures().size() == 1);
    CHECK(store->failures().front().why == ec::not_a_member);
    store->forget(o.counter);
    CHECK(store->failures().empty());
  }
  SUBCASE("of two messages with one seq the first is kept") {
    store->sent(placed(1, 1, "first"));
    const auto again = placed(1, 2, "second");
    applied_batch batch;
    batch.messages = {&again};
    store->apply(batch);
    REQUIRE(store->history(talk, seq_no{0}, 10).size() == 1);
    CHECK(store->history(talk, seq_no{0}, 10).front().body == "first");
  }
  SUBCASE("positions, watermarks and reads never move back") {
    applied_batch high, low;
    high.positions = {{talk, seq_no{9}}};
    high.marks = {{talk, user_id{1}, seq_no{9}, seq_no{9}}};
    low.positions = {{talk, seq_no{3}}};
    low.marks = {{talk, user_id{1}, seq_no{3}, seq_no{3}}};
    store->apply(high);
    store->apply(low);
    CHECK(store->applied().positions == std::vector{std::pair{talk, seq_no{9}}});
    REQUIRE(store->applied().marks.size() == 1);
    CHECK(store->applied().marks.front().read == seq_no{9});
    store->read(talk, seq_no{5});
    store->read(talk, seq_no{4});
    REQUIRE(store->reads_owed().size() == 1);
    CHECK(store->reads_owed().front().upto == seq_no{5});
    store->read_known(talk, seq_no{5});
    CHECK(store->reads_owed().empty());
  }
  SUBCASE("the numbers of sessions rise, whatever the clock says") {
    CHECK(store->next_session(unix_ms{-9}) == session_number{1});
    CHECK(store->next_session(unix_ms::none) == session_number{2});
    CHECK(store->next_session(unix_ms{2}) == session_number{3});
    CHECK(store->next_session(unix_ms{1'000}) == session_number{1'000}); // a copy from long ago catches up
    CHECK(store->next_session(unix_ms{1'000}) == session_number{1'001});
    CHECK(store->next_session(unix_ms{999}) == session_number{1'002});
  }
  SUBCASE("an empty body is kept as a body") {
    store->enqueue(talk, "");
    REQUIRE(store->waiting().size() == 1);
    CHECK(store->waiting().front().body->empty());
  }
}
TEST_CASE_TEMPLATE_INVOKE(both, memory_store, sqlite_store);

TEST_CASE(
    "what other devices wrote is unshown until a program has shown it; an older profile was shown all") {
  scratch_directory s;
  const conversation_id other{1, 1};
  const auto run = [&](client_store& store) {
    store.set_identity(somebody());
    auto mine = placed(1, 1, "mine"), theirs = placed(2, 1, "theirs"), third = placed(3, 2, "third"),
         elsewhere = placed(1, 9, "elsewhere");
    mine.client_id.device = somebody().device;
    elsewhere.conversation = other;
    elsewhere.at = unix_ms{1};
    applied_batch batch;
    batch.messages = {&mine, &theirs, &third, &elsewhere};
    batch.positions = {{talk, seq_no{3}}, {other, seq_no{1}}};
    store.apply(batch);

    auto unshown = store.unshown(10);
    REQUIRE(unshown.size() == 3);
    CHECK(unshown[0].body == "elsewhere"); // the oldest first
    CHECK(unshown[1].body == "theirs");
    CHECK(store.unshown(1).size() == 1);
    store.shown({{talk, seq_no{2}}});
    store.shown({{talk, seq_no{1}}, {other, seq_no{1}}}); // rises only
    unshown = store.unshown(10);
    REQUIRE(unshown.size() == 1);
    CHECK(unshown[0].body == "third");
  };
  SUBCASE("in memory") {
    memory_store store{{100}};
    run(store);
  }
  SUBCASE("on disk") {
    const auto key = some_key();
    {
      sqlite_store store{s.path(), key};
      run(store);
    }
    {
      database db{s.path() / "parley.db", key};
      db.run("DROP TABLE shown");
      db.set_version(2);
    }
    CHECK(sqlite_store{s.path(), key}.unshown(10).empty());
  }
}

TEST_CASE("the newest messages of a conversation are found without those before them") {
  scratch_directory s;
  const auto run = [&](client_store& store) {
    std::vector<message> all;
    for (std::uint64_t seq = 1; seq <= 300; ++seq)
      all.push_back(placed(seq, seq, std::to_string(seq)));
    applied_batch batch;
    for (const auto& m : all)
      batch.messages.push_back(&m);
    store.apply(batch);
    const auto three = store.newest(talk, 3);
    REQUIRE(three.size() == 3);
    CHECK(three[0].body == "298");
    CHECK(three[2].body == "300");
    CHECK(store.newest(talk, 0).empty());
    CHECK(store.newest(talk, 1'000).size() == 300);
    CHECK(store.newest({1, 1}, 3).empty());
  };
  SUBCASE("in memory") {
    memory_store store{{1'000}};
    run(store);
  }
  SUBCASE("on disk") {
    sqlite_store store{s.path()};
    run(store);
  }
}

// What each store keeps so that a copy that is put back, of the profile or of the cluster, loses nothing.
#include "protocol/client/store/memory_store.hpp"
#include "protocol/client/store/sqlite_store.hpp"
#include "tests/protocol/client/store/placed_message.hpp"
#include "tests/support/scratch_directory.hpp"

#include <doctest/doctest.h>

#include <limits>

using namespace parley;
using namespace parley::client;
using test::placed;
using test::scratch_directory;
using test::talk;

TEST_CASE("a counter is above the last one and not below the clock, in each store") {
  scratch_directory s;
  sqlite_store on_disk{s.path()};
  memory_store in_memory;
  for (client_store* store : {static_cast<client_store*>(&on_disk), static_cast<client_store*>(&in_memory)}) {
    CHECK(store->enqueue(talk, "a", {unix_ms{1'000}}).counter == 1'000);
    CHECK(store->enqueue(talk, "b", {unix_ms{5}}).counter == 1'001); // the clock was set back
    CHECK(store->enqueue(talk, "c", {unix_ms{-1}}).counter == 1'002);
    CHECK(store->enqueue(talk, "d", {unix_ms{std::numeric_limits<std::int64_t>::max()}}).counter == 1'003);
    CHECK(store->renumber(1'001, unix_ms{5'000}) == 5'000);
    CHECK(store->renumber(1'001, unix_ms{}) == 5'001);
    CHECK(store->enqueue(talk, "e", {}).counter == 5'002);
    const auto waiting = store->waiting();
    REQUIRE(waiting.size() == 5);
    CHECK(waiting[1].counter == 1'001); // in the order in which they were written
    CHECK(waiting[1].sent_as() == 5'001);
    CHECK(waiting[2].sent_as() == 1'002);
    store->sent(placed(1, 5'001, "b"));
    store->failed(1'002, ec::not_a_member);
    store->forget(1'002);
    CHECK(store->waiting().size() == 3);
    CHECK(store->failures().empty());
  }
}

TEST_CASE("what may have been sent is known after a restart, in each store") {
  scratch_directory s;
  memory_store in_memory;
  const auto tried = [](client_store& store) {
    std::vector<bool> out;
    for (const auto& o : store.waiting())
      out.push_back(o.tried);
    return out;
  };
  const auto fill = [](client_store& store) {
    store.enqueue(talk, "offline");
    store.trying(1);
    store.enqueue(talk, "online", {{}, true});
    store.enqueue(talk, "offline again");
    store.trying(1); // never back
  };
  {
    sqlite_store store{s.path()};
    fill(store);
  }
  sqlite_store on_disk{s.path()};
  CHECK(tried(on_disk) == std::vector{true, true, false});
  fill(in_memory);
  CHECK(tried(in_memory) == std::vector{true, true, false});
}

TEST_CASE(
    "what the cluster has lost leaves the history, is told once and stays in the profile, in each store") {
  scratch_directory s;
  sqlite_store on_disk{s.path()};
  memory_store in_memory{{100}};
  for (client_store* store : {static_cast<client_store*>(&on_disk), static_cast<client_store*>(&in_memory)}) {
    std::vector<message> all;
    for (std::uint64_t seq = 1; seq <= 6; ++seq)
      all.push_back(placed(seq, seq, std::to_string(seq)));
    applied_batch batch;
    for (const auto& m : all)
      batch.messages.push_back(&m);
    batch.positions = {{talk, seq_no{6}}};
    batch.marks = {{talk, user_id{9}, seq_no{6}, seq_no{5}}};
    batch.upto = "c6";
    store->apply(batch);
    store->acknowledged("c6");
    store->read(talk, seq_no{6});
    store->shown({{talk, seq_no{6}}});
    const auto last_two = store->newest(talk, seq_no{5}, 2);
    REQUIRE(last_two.size() == 2);
    CHECK(last_two[0].seq == seq_no{4});
    CHECK(last_two[1] == all[4]);
    CHECK(store->newest({1, 1}, seq_no{5}, 2).empty());

    store->start_over();
    CHECK(store->where().applied.empty());
    CHECK(store->where().acknowledged.empty());
    CHECK(store->where().compare);
    store->roll_back(talk, seq_no{4});
    CHECK(store->history(talk, seq_no::none, 100).size() == 4);
    CHECK(store->lost() == std::vector{all[4], all[5]});
    store->told_lost();
    CHECK(store->lost().empty());
    REQUIRE(store->applied().positions.size() == 1);
    CHECK(store->applied().positions[0].second == seq_no{4});
    CHECK(store->applied().marks == std::vector{watermark{talk, user_id{9}, seq_no{4}, seq_no{4}}});
    REQUIRE(store->reads_owed().size() == 1);
    CHECK(store->reads_owed()[0].upto == seq_no{4});
    store->compared();
    CHECK(!store->where().compare);

    const auto other = placed(5, 77, "other"); // the number is free
    batch = {};
    batch.messages = {&other};
    batch.positions = {{talk, seq_no{5}}};
    store->apply(batch);
    CHECK(store->newest(talk, seq_no{5}, 1) == std::vector{other});
    CHECK(store->unshown(10) == std::vector{other}); // although a message with its number was shown
  }
}

TEST_CASE("the nodes that the cluster named are kept, in each store") {
  scratch_directory s;
  memory_store in_memory;
  const std::vector<std::string> some{"a.example:7000", "[::1]:7001"};
  in_memory.set_nodes(some);
  CHECK(in_memory.nodes() == some);
  {
    sqlite_store on_disk{s.path()};
    CHECK(on_disk.nodes().empty());
    on_disk.set_nodes(some);
  }
  sqlite_store on_disk{s.path()};
  CHECK(on_disk.nodes() == some);
  on_disk.set_nodes({});
  CHECK(on_disk.nodes().empty());
}

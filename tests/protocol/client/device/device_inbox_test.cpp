// A device against a cluster that repeats, loses and reorders: the way in.
#include "tests/protocol/client/device/device_fixture.hpp"

#include <algorithm>
#include <numeric>

using namespace parley;
using namespace parley::client;
using namespace parley::test;

namespace {

std::vector<std::string> numbers(int n) {
  std::vector<std::string> out;
  for (int i = 0; i < n; ++i)
    out.push_back(std::to_string(i));
  return out;
}

} // namespace

TEST_CASE_FIXTURE(device_fixture,
                  "rows that the stream lost are fetched before anything after them is shown") {
  online();
  for (int i = 0; i < 4; ++i)
    cluster.say(bob, talk, std::to_string(i));
  REQUIRE(until([&] { return seen.messages.size() == 4; }));
  cluster.lost_seqs = {5, 6, 7, 8, 9, 10, 11, 12};
  for (int i = 4; i < 15; ++i)
    cluster.say(bob, talk, std::to_string(i));
  REQUIRE(until([&] { return seen.messages.size() >= 15; }));
  CHECK(seen.bodies() == numbers(15));
  CHECK(cluster.syncs >= 3); // several pages
  CHECK(seen.gaps.empty());
}

TEST_CASE_FIXTURE(device_fixture, "a fetch of missing messages that is refused is tried again") {
  online();
  cluster.sync_refusals = 3;
  cluster.lost_seqs = {1};
  cluster.say(bob, talk, "0");
  cluster.say(bob, talk, "1");
  REQUIRE(until([&] { return seen.messages.size() == 2; }));
  CHECK(seen.bodies() == numbers(2));
}

TEST_CASE_FIXTURE(device_fixture, "a delivery that arrives three times is shown once") {
  online();
  cluster.deliver_times = 3;
  for (int i = 0; i < 20; ++i)
    cluster.say(bob, talk, std::to_string(i));
  REQUIRE(until([&] { return seen.messages.size() >= 20; }));
  settle();
  CHECK(seen.bodies() == numbers(20));
  CHECK(count(history_event::kind::ok, history_event::what::push) == 60);
  CHECK(count(history_event::kind::ok, history_event::what::applied) == 20);
}

TEST_CASE_FIXTURE(device_fixture, "nothing is shown twice over reconnects and a restart") {
  auto& a = online();
  for (int i = 0; i < 30; ++i) {
    cluster.say(bob, talk, std::to_string(i));
    if (i % 10 == 4)
      a.disconnect();
    if (i % 3 == 0)
      timer.afterDelay(1 * kj::MILLISECONDS).wait(io.waitScope);
  }
  REQUIRE(until([&] { return seen.messages.size() >= 30; }));
  alice.reset();
  online();
  settle();
  CHECK(seen.bodies() == numbers(30));
  CHECK(store.history(talk, seq_no{0}, 100).size() == 30);
}

TEST_CASE_FIXTURE(
    device_fixture,
    "with a cursor that the cluster does not know the stream begins at its start, and repeats are hidden") {
  online();
  cluster.say(bob, talk, "0");
  REQUIRE(until([&] { return seen.messages.size() == 1; }));
  cluster.cursor_refusals = 1;
  cluster.cut_all();
  cluster.say(bob, talk, "1");
  REQUIRE(until([&] { return seen.messages.size() >= 2; }));
  CHECK(seen.bodies() == numbers(2));
}

TEST_CASE_FIXTURE(device_fixture, "acknowledgements are few, and the last one covers everything") {
  online();
  settle();
  const auto before = cluster.acks.size();
  for (int i = 0; i < 50; ++i)
    cluster.say(bob, talk, std::to_string(i));
  REQUIRE(until([&] { return seen.messages.size() == 50; }));
  settle();
  CHECK(cluster.acks.size() - before <= 5);
  CHECK(cluster.acks.back() == "51"); // an opening and fifty messages
  CHECK(store.where().acknowledged == "51");
}

TEST_CASE_FIXTURE(device_fixture,
                  "what was applied but not acknowledged is acknowledged over the next connection") {
  settings.ack_every = 60'000ms;
  online();
  for (int i = 0; i < 3; ++i)
    cluster.say(bob, talk, std::to_string(i));
  REQUIRE(until([&] { return seen.messages.size() == 3; }));
  alice->disconnect();
  REQUIRE(until([&] { return !cluster.acks.empty() && cluster.acks.back() == "4"; }));
}

TEST_CASE_FIXTURE(device_fixture,
                  "own messages between those of others are no gap, and are not shown as new") {
  auto& a = online();
  for (int i = 0; i < 10; ++i) {
    REQUIRE(a.send(talk, "mine").wait(io.waitScope));
    cluster.say(bob, talk, std::to_string(i));
  }
  REQUIRE(until([&] { return seen.messages.size() == 10; }));
  CHECK(seen.bodies() == numbers(10));
  CHECK(cluster.syncs == 0);
  CHECK(store.history(talk, seq_no{0}, 100).size() == 20);
}

TEST_CASE_FIXTURE(device_fixture, "the ticks of a message only rise") {
  auto& a = online();
  REQUIRE(a.send(talk, "hello").wait(io.waitScope));
  cluster.raise(a.who().user, {talk, bob, seq_no{1}, seq_no{0}});
  REQUIRE(until([&] { return seen.delivered == seq_no{1}; }));
  CHECK(seen.read == seq_no::none);
  cluster.raise(a.who().user, {talk, bob, seq_no{1}, seq_no{1}});
  REQUIRE(until([&] { return seen.read == seq_no{1}; }));
}

TEST_CASE_FIXTURE(device_fixture,
                  "what a person has read reaches the cluster, even if a connection is lost meanwhile") {
  auto& a = online();
  cluster.say(bob, talk, "0");
  REQUIRE(until([&] { return seen.messages.size() == 1; }));
  cluster.cut_all();
  a.ack_read(talk, seq_no{1});
  a.ack_read(talk, seq_no{1});
  REQUIRE(until([&] { return cluster.reads[a.who().user] == 1; }));
  settle();
  CHECK(store.reads_owed().empty());
}

TEST_CASE_FIXTURE(device_fixture, "a device that pulls fetches page after page and hides what it has") {
  settings.how = intake::pull;
  settings.page_items = 4;
  auto& a = online();
  for (int i = 0; i < 11; ++i)
    cluster.say(bob, talk, std::to_string(i));
  const auto first = a.sync_inbox().wait(io.waitScope);
  REQUIRE(first);
  CHECK(*first == 11);
  CHECK(seen.bodies() == numbers(11));
  CHECK(*a.sync_inbox().wait(io.waitScope) == 0);
}

// --- after a copy was put back -----------------------------------------------------------------------------

namespace {

std::vector<std::string> bodies_of(const std::vector<message>& all) {
  std::vector<std::string> out;
  for (const auto& m : all)
    out.push_back(m.body);
  return out;
}

struct restored_fixture : device_fixture {
  /// Gets the device online and everything to it that is there.
  void catch_up() {
    online();
    if (settings.how == intake::pull)
      REQUIRE(alice->sync_inbox().wait(io.waitScope));
    else
      REQUIRE(until([&] { return shows_all(); }));
    settle();
  }
  bool shows_all() {
    return bodies_of(store.history(talk, seq_no{0}, 1'000)) == bodies_of(cluster.talk(talk));
  }
  void say(const std::string& what, int n) {
    for (int i = 0; i < n; ++i)
      cluster.say(bob, talk, what + std::to_string(i));
  }
  void put_back(const fake_cluster::disks& copy) {
    alice.reset();
    cluster.cut_all();
    REQUIRE(until([&] { return cluster.links() == 0; }));
    cluster.put_back(copy);
  }
  std::vector<std::string> shown() {
    auto out = seen.bodies();
    seen.messages.clear();
    return out;
  }
};

} // namespace

TEST_CASE_FIXTURE(restored_fixture,
                  "after the cluster was put back to an older copy, each message that it holds is "
                  "shown once, and each that it has lost is reported") {
  int news = 0;
  SUBCASE("the inbox has not reached the cursor") {
    news = 2;
  }
  SUBCASE("the inbox has just reached the cursor") {
    news = 3;
  }
  SUBCASE("the inbox has overtaken the cursor") {
    news = 9;
  }
  SUBCASE("pulled, the inbox has not reached the cursor") {
    news = 2;
    settings.how = intake::pull;
  }
  SUBCASE("pulled, the inbox has overtaken the cursor") {
    news = 9;
    settings.how = intake::pull;
  }
  online();
  say("before ", 5);
  catch_up();
  const auto copy = cluster.copy();
  say("lost ", 3);
  catch_up();
  REQUIRE(alice->send(talk, "my lost one").wait(io.waitScope));
  CHECK(shown() == std::vector<std::string>{"before 0", "before 1", "before 2", "before 3", "before 4",
                                            "lost 0", "lost 1", "lost 2"});
  put_back(copy);
  std::vector<std::string> expected;
  say("new ", news);
  for (int i = 0; i < news; ++i)
    expected.push_back("new " + std::to_string(i));

  catch_up();
  CHECK(shown() == expected);
  CHECK(bodies_of(seen.lost) == std::vector<std::string>{"lost 0", "lost 1", "lost 2", "my lost one"});
  CHECK(seen.gaps.empty());
  CHECK(shows_all());
  CHECK(alice->position(talk) == seq_no{5U + static_cast<unsigned>(news)});

  say("later ", 1);
  catch_up();
  CHECK(shown() == std::vector<std::string>{"later 0"});
  alice.reset();
  catch_up(); // once more, and nothing is said or shown again
  CHECK(shown().empty());
  CHECK(seen.lost.size() == 4);
  CHECK(store.lost().empty());
  CHECK(seen.old_copies == 0);
}

TEST_CASE_FIXTURE(restored_fixture,
                  "a conversation that was opened after the copy was put back is shown, even if a "
                  "late acknowledgement covers its rows") {
  online();
  say("before ", 1);
  catch_up();
  const auto copy = cluster.copy();
  say("lost ", 5);
  catch_up();
  store.acknowledged("2"); // as if the answer had not arrived: it is acknowledged again
  put_back(copy);
  shown();
  const auto carol = cluster.user_of("+4933333333");
  const auto other = cluster.direct(store.who()->user, carol);
  cluster.say(carol, other, "hello");
  cluster.say(carol, other, "there");
  say("new ", 4);
  online();
  REQUIRE(until([&] { return seen.messages.size() >= 6; }));
  settle();
  auto all = shown();
  std::sort(all.begin(), all.end());
  CHECK(all == std::vector<std::string>{"hello", "new 0", "new 1", "new 2", "new 3", "there"});
  CHECK(seen.lost.size() == 5);
}

TEST_CASE_FIXTURE(restored_fixture, "a device that only sends notices that the cluster numbers anew") {
  online();
  REQUIRE(alice->send(talk, "kept").wait(io.waitScope));
  settle();
  const auto copy = cluster.copy();
  REQUIRE(alice->send(talk, "lost 0").wait(io.waitScope));
  REQUIRE(alice->send(talk, "lost 1").wait(io.waitScope));
  put_back(copy);
  online();
  const auto r = alice->send(talk, "new").wait(io.waitScope);
  REQUIRE(r);
  CHECK(r->seq == seq_no{2});
  REQUIRE(until([&] { return seen.lost.size() == 2; }));
  CHECK(bodies_of(seen.lost) == std::vector<std::string>{"lost 0", "lost 1"});
  REQUIRE(until([&] { return shows_all(); }));
  CHECK(seen.messages.empty()); // its own messages are no news
}

TEST_CASE_FIXTURE(restored_fixture,
                  "what a device sends while it compares its history is not reported as lost, and stays") {
  online();
  REQUIRE(alice->send(talk, "kept").wait(io.waitScope));
  settle();
  const auto copy = cluster.copy();
  for (int n = 0; n < 5; ++n)
    REQUIRE(alice->send(talk, "lost " + std::to_string(n)).wait(io.waitScope));
  put_back(copy);
  online();
  for (int n = 0; n < 12; ++n) // under the numbers of the lost ones, and more
    REQUIRE(alice->post(talk, "new " + std::to_string(n)));
  REQUIRE(until([&] { return alice->unsettled() == 0 && seen.lost.size() >= 5 && !store.where().compare; }));
  CHECK(bodies_of(seen.lost) == std::vector<std::string>{"lost 0", "lost 1", "lost 2", "lost 3", "lost 4"});
  CHECK(shows_all());
  CHECK(seen.messages.empty());
}

TEST_CASE_FIXTURE(restored_fixture,
                  "a conversation that the cluster has lost as a whole is reported message for message") {
  make();
  REQUIRE(alice->request_code("+4911111111").wait(io.waitScope));
  REQUIRE(alice->register_device("+4911111111", "123456", "test").wait(io.waitScope));
  const auto copy = cluster.copy();
  online();
  say("lost ", 3);
  catch_up();
  put_back(copy);
  online(); // opens the conversation anew
  REQUIRE(until([&] { return seen.lost.size() == 3; }));
  say("new ", 1);
  catch_up();
  CHECK(shown() == std::vector<std::string>{"lost 0", "lost 1", "lost 2", "new 0"});
}

TEST_CASE_FIXTURE(
    restored_fixture,
    "what a device applied and could not acknowledge is no other history, and is not shown twice") {
  settings.ack_every = 10'000ms;
  settings.ack_items_max = 1'000;
  online();
  say("", 9);
  REQUIRE(until([&] { return seen.messages.size() == 9; }));
  alice.reset(); // most of it is not acknowledged
  cluster.cut_all();
  catch_up();
  say("", 1);
  catch_up();
  CHECK(seen.messages.size() == 10);
  CHECK(seen.lost.empty());
  CHECK(!store.where().compare);
}

TEST_CASE_FIXTURE(restored_fixture, "a comparison that is interrupted is made again, and its news are told") {
  online();
  say("lost ", 4);
  const auto copy = cluster.copy();
  say("lost ", 1);
  catch_up();
  put_back(copy);
  shown();
  SUBCASE("before it began") {
    store.start_over();
  }
  SUBCASE("after the history was rolled back, before the program was told") {
    store.start_over();
    store.roll_back(talk, seq_no{4});
  }
  catch_up();
  CHECK(shown().empty());
  CHECK(until([&] { return bodies_of(seen.lost) == std::vector<std::string>{"lost 0"}; }));
  CHECK(store.history(talk, seq_no{0}, 100).size() == 4);
}

TEST_CASE_FIXTURE(restored_fixture,
                  "a profile that was put back fetches what it has forgotten, and the program is told once") {
  SUBCASE("streamed") {}
  SUBCASE("pulled") {
    settings.how = intake::pull;
  }
  online();
  say("known ", 3);
  catch_up();
  const auto copy = store;
  say("forgotten ", 4);
  catch_up();
  REQUIRE(alice->send(talk, "my own").wait(io.waitScope));
  alice.reset();
  store = copy;
  shown();
  for (std::uint64_t seq = 4; seq <= 7; ++seq)
    cluster.lost_seqs.insert(seq); // the inbox has them no more
  catch_up();
  CHECK(shown() == std::vector<std::string>{"forgotten 0", "forgotten 1", "forgotten 2", "forgotten 3"});
  CHECK(seen.old_copies == 1);
  CHECK(shows_all()); // its own message, too
  alice.reset();
  catch_up();
  CHECK(shown().empty());
  CHECK(seen.old_copies == 1);
  CHECK(seen.lost.empty());
}

// A device against a cluster that repeats, loses and reorders: the way in.
#include "tests/protocol/client/device/device_fixture.hpp"

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

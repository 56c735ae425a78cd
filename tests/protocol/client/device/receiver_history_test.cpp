// A receiver whose cluster may have another history than its store: what it asks, and what it does while it cannot know.
#include "tests/protocol/client/device/receiver_fixture.hpp"

using namespace parley;
using namespace parley::test;

namespace {

struct history_fixture : receiver_fixture {
  /// The session answers a fetch with nothing: the conversation ends there.
  void ends(std::size_t n, std::uint64_t last) {
    REQUIRE(session->heals.size() > n);
    session->heals[n].context.getResults().setLast(last);
    session->heals[n].accept();
    turn();
  }
  /// The inbox knows of one conversation, and was told of so many messages.
  void list(std::size_t n, std::uint64_t last) {
    REQUIRE(session->lists.size() > n);
    auto items = session->lists[n].context.getResults().initItems(1);
    wire::write(items[0], talk, std::vector{user_id{1}, user_id{2}}, seq_no{last});
    session->lists[n].accept();
    turn();
  }
};

} // namespace

TEST_CASE_FIXTURE(
    history_fixture,
    "a device that has compared its history receives, although a conversation has lost what its inbox has") {
  make();
  online();
  deliver({row(0, 1), row(1, 2)}, "c1");
  lose();
  online();
  session->receives[0].refuse(ec::bad_cursor);
  turn();
  ends(0, 1); // it has not the second message
  confirm(1, 1);
  ends(2, 1); // nor another one in its place
  CHECK(seen.lost.size() == 1);
  list(0, 2);
  ends(3, 1);
  std::uint64_t end = 1;
  SUBCASE("it says where it ends") {}
  SUBCASE("it says that there is more") {
    end = 2;
  }
  ends(4, end);
  if (end == 1) {
    REQUIRE(session->receives.size() == 2);
    CHECK(!store.where().compare);
  } else {
    CHECK(host.current->why().code == ec::unavailable);
    CHECK(store.where().compare); // the next session compares again
  }
}

TEST_CASE_FIXTURE(history_fixture,
                  "a profile that was put back holds nothing for what a conversation has lost") {
  make();
  online();
  deliver({row(0, 1)}, "c1");
  lose();
  online();
  auto results = session->receives[0].context.getResults();
  results.setPlace(rpc::CursorPlace::BEFORE);
  results.setAcknowledged(wire::as_data(std::string{"c9"}));
  session->receives[0].accept();
  turn();
  list(0, 2);
  ends(0, 1);
  ends(1, 1);
  CHECK(store.where().applied == "c9");
  CHECK(seen.gaps.empty());
}

TEST_CASE_FIXTURE(
    history_fixture,
    "a device without a message takes again what it had acknowledged and the cluster has forgotten") {
  make();
  online();
  deliver({conversation_info{talk, {user_id{1}, user_id{2}}, {}}}, "c1");
  pass(1'000ms);
  session->acks[0].accept();
  turn();
  CHECK(in->idle());
  come_back_before("c0");
  CHECK(host.current->why().code == ec::bad_cursor);
  CHECK(!store.where().compare); // there is nothing to compare
  lose();
  online();
  REQUIRE(session->receives.size() == 1);
  CHECK(session->received_from[0].empty());
  session->receives[0].accept();
  deliver({conversation_info{talk, {user_id{1}, user_id{2}}, {}}}, "c1");
  pass(1'000ms);
  REQUIRE(session->acks.size() == 1);
  CHECK(acked(0) == "c1");
}

TEST_CASE_FIXTURE(history_fixture,
                  "what could not be compared is compared as soon as its shard has a majority again") {
  make();
  online();
  deliver({row(0, 1)}, "c1");
  session->acks[0].accept();
  turn();
  come_back_before("c0");
  leaderless(3'000ms); // longer than the question is asked
  deliver({row(1, 2), row(0, 1, elsewhere)}, "c2");
  CHECK(seen.bodies() == std::vector<std::string>{"1", "1"}); // that conversation waits
  CHECK(store.where().applied == "c1");
  CHECK(session->acks.empty());
  SUBCASE("the cluster has what this device has") {
    confirm(next_fetch(), 1);
    heal(next_fetch(), 2);
    CHECK(seen.bodies() == std::vector<std::string>{"1", "1", "healed"});
    CHECK(store.where().applied == "c2");
    REQUIRE(session->acks.size() == 1);
    CHECK(acked(0) == "c2");
  }
  SUBCASE("the cluster has lost it") {
    ends(next_fetch(), 0);
    CHECK(host.current->why().code == ec::bad_cursor);
    CHECK(store.where().compare);
    CHECK(session->acks.empty());
  }
  SUBCASE("the connection is lost before") {
    come_back_before("c0");
    CHECK(session->received_from[0] == "c1");
    confirm(0, 1);
    confirm(1, 1); // of the other conversation
    REQUIRE(session->acks.size() == 1);
    CHECK(acked(0) == "c1");
  }
}

TEST_CASE_FIXTURE(history_fixture,
                  "a place that nothing came after is acknowledged again when it could be compared") {
  make();
  online();
  deliver({row(0, 1)}, "c1");
  session->acks[0].accept();
  turn();
  come_back_before("c0");
  leaderless(3'000ms);
  confirm(next_fetch(), 1);
  REQUIRE(session->acks.size() == 1);
  CHECK(acked(0) == "c1");
}

// The receiver alone: a session that is silent, refuses or answers late, gaps that stay, and a store that fails.
#include "tests/protocol/client/device/receiver_fixture.hpp"

using namespace parley;
using namespace parley::client;
using namespace parley::test;

namespace {

struct full_disk final : memory_store {
  void apply(const applied_batch&) override { throw store_error{"The profile's database failed: full."}; }
};

} // namespace

TEST_CASE_FIXTURE(
    receiver_fixture,
    "while the messages of a gap are being fetched, nothing after it is shown or acknowledged") {
  make();
  online();
  auto taken = take({row(0, 1), row(3, 4)}, "c4");
  turn();
  REQUIRE(session->heals.size() == 1);
  CHECK(session->heals_after[0] == seq_no{0});
  CHECK(seen.messages.empty());
  CHECK(session->acks.empty());
  pass(500ms);
  CHECK(!taken.poll(scope));
  heal(0, 1, true);
  REQUIRE(session->heals.size() == 2);
  heal(1, 3);
  CHECK(taken.poll(scope));
  CHECK(seen.bodies() == std::vector<std::string>{"healed", "healed", "4"});
  CHECK(acked(0) == "c4");
}

TEST_CASE_FIXTURE(receiver_fixture, "a gap that cannot be closed is reported once and passed over") {
  make();
  online();
  auto taken = take({row(5, 6)}, "c6");
  for (std::size_t n = 0; n < 3; ++n) {
    turn();
    heal(n);
  }
  CHECK(taken.poll(scope));
  CHECK(session->heals.size() == 3);
  REQUIRE(seen.gaps.size() == 1);
  CHECK(seen.gaps[0] == std::pair{seq_no{0}, seq_no{5}});
  CHECK(seen.bodies() == std::vector<std::string>{"6"});
}

TEST_CASE_FIXTURE(receiver_fixture, "a gap that the cluster refuses to fill is reported and passed over") {
  make();
  online();
  auto taken = take({row(5, 6)}, "c6");
  for (std::size_t n = 0; n < 3; ++n) {
    turn();
    REQUIRE(session->heals.size() == n + 1);
    session->heals[n].refuse(ec::not_a_member);
  }
  turn();
  CHECK(taken.poll(scope));
  REQUIRE(seen.gaps.size() == 1);
  CHECK(seen.bodies() == std::vector<std::string>{"6"});
  CHECK(acked(0) == "c6");
}

TEST_CASE_FIXTURE(receiver_fixture,
                  "a gap that cannot be fetched now is fetched later, and holds up its conversation only") {
  make();
  online();
  session->receives[0].accept();
  auto taken = take({row(5, 6)}, "c6");
  leaderless(5'000ms); // much longer than all tries of one call
  CHECK(taken.poll(scope));
  deliver({row(0, 1, elsewhere), row(6, 7)}, "c7");
  CHECK(seen.bodies() == std::vector<std::string>{"1"});
  leaderless(60'000ms);
  CHECK(seen.gaps.empty());
  CHECK(session->acks.empty()); // a device that died now would be sent all of it again
  CHECK(store.where().applied.empty());
  CHECK(host.current->why().code == ec::none);
  SUBCASE("in the same session") {
    heal(next_fetch(), 5, true);
    heal(next_fetch(), 7);
    CHECK(seen.bodies() == std::vector<std::string>{"1", "healed", "healed"});
    CHECK(seen.gaps.empty());
    REQUIRE(session->acks.size() == 1);
    CHECK(acked(0) == "c7");
    deliver({row(7, 8)}, "c8");
    CHECK(seen.bodies().back() == "8");
  }
  SUBCASE("unless the cluster then refuses to fill it") {
    for (unsigned tries = 0; tries < settings.heal_tries_max; ++tries)
      heal(next_fetch());
    REQUIRE(seen.gaps.size() == 1);
    CHECK(seen.gaps[0] == std::pair{seq_no{0}, seq_no{5}});
    CHECK(host.current->why().code == ec::unavailable); // what is behind the gap has to come again
    lose();
    online();
    deliver({row(5, 6)}, "c6");
    CHECK(seen.bodies() == std::vector<std::string>{"1", "6"});
    CHECK(acked(0) == "c6");
    CHECK(session->heals.empty());
  }
  SUBCASE("in the next session, whose stream brings the rows again") {
    lose();
    looked_at = 0;
    online();
    CHECK(session->received_from.at(0).empty());
    auto again = take({row(5, 6)}, "c6");
    heal(next_fetch(), 5);
    CHECK(again.poll(scope));
    CHECK(seen.bodies() == std::vector<std::string>{"1", "healed", "6"});
    CHECK(acked(0) == "c6");
  }
}

TEST_CASE_FIXTURE(receiver_fixture, "a delivery waits while a gap of an earlier one is fetched") {
  make();
  online();
  auto taken = take({row(2, 3)}, "c3");
  turn();
  auto later = take({row(0, 1, elsewhere)}, "c4");
  turn();
  CHECK(!later.poll(scope));
  CHECK(store.where().applied.empty()); // the place of the later one would cover the earlier one
  heal(0, 2);
  CHECK(taken.poll(scope));
  CHECK(later.poll(scope));
  CHECK(seen.bodies() == std::vector<std::string>{"healed", "3", "1"});
  CHECK(store.where().applied == "c4");
}

TEST_CASE_FIXTURE(receiver_fixture, "a gap that cannot be fetched now does not stop the fetching of pages") {
  settings.how = intake::pull;
  make();
  online();
  const auto page = [&](std::size_t n, std::vector<inbox_row> rows, const std::string& next, bool more) {
    REQUIRE(session->pages.size() == n + 1);
    auto results = session->pages[n].context.getResults();
    auto items = results.initItems(static_cast<unsigned>(rows.size()));
    for (unsigned i = 0; i < rows.size(); ++i)
      wire::write(items[i], rows[i]);
    results.setNext(wire::as_data(next));
    results.setMore(more);
    session->pages[n].accept();
    turn();
  };
  auto fetched = in->sync_inbox();
  turn();
  page(0, {row(5, 6)}, "c6", true);
  leaderless(5'000ms);
  page(1, {row(0, 1, elsewhere)}, "c7", false);
  CHECK(seen.bodies() == std::vector<std::string>{"1"});
  leaderless(5'000ms);
  CHECK(get(fetched).error().code == ec::not_leader);
  CHECK(seen.gaps.empty());
  CHECK(store.where().applied.empty());

  fetched = in->sync_inbox(); // from where it was
  turn();
  page(2, {row(5, 6), row(0, 1, elsewhere)}, "c7", false);
  heal(next_fetch(), 5);
  CHECK(get(fetched).value() == 2);
  CHECK(seen.bodies() == std::vector<std::string>{"1", "healed", "6"});
  CHECK(store.where().applied == "c7");
}

TEST_CASE_FIXTURE(receiver_fixture,
                  "one conversation that cannot be compared does not keep a device from receiving") {
  make();
  online();
  deliver({row(0, 1), row(0, 1, elsewhere)}, "c1");
  lose();
  online();
  session->receives[0].context.getResults().setPlace(rpc::CursorPlace::AFTER);
  session->receives[0].accept(); // the usual case: the last acknowledgement was lost
  auto taken = take({row(1, 2), row(1, 2, elsewhere)}, "c2");
  turn();
  bool same = true;
  SUBCASE("the other has the same messages") {}
  SUBCASE("the other shows that the cluster has another history") {
    same = false;
  }
  auto answer = [&, done = false]() mutable {
    for (std::size_t i = 0; i < session->heals.size() && !done; ++i)
      if (session->heals_of[i] == elsewhere) {
        same ? confirm(i, 1) : heal(i, 1);
        done = true;
      }
  };
  leaderless(10ms);
  answer();
  leaderless(5'000ms);
  answer();
  leaderless(5'000ms);
  if (same) {
    CHECK(host.current->why().code == ec::none);
    CHECK(taken.poll(scope));
    CHECK(seen.bodies() == std::vector<std::string>{"1", "1", "2", "2"});
  } else {
    CHECK(host.current->why().code == ec::bad_cursor);
    CHECK(store.where().compare);
  }
}

TEST_CASE_FIXTURE(receiver_fixture,
                  "one conversation that cannot be fetched does not keep a profile that was put back from "
                  "receiving") {
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
  REQUIRE(session->lists.size() == 1);
  auto items = session->lists[0].context.getResults().initItems(2);
  wire::write(items[0], talk, std::vector{user_id{1}, user_id{2}}, seq_no{3});
  wire::write(items[1], elsewhere, std::vector{user_id{1}, user_id{3}}, seq_no{1});
  session->lists[0].accept();
  leaderless(5'000ms);
  for (std::size_t i = 0; i < session->heals.size(); ++i)
    if (session->heals_of[i] == elsewhere)
      heal(i, 1);
  turn();
  CHECK(seen.bodies() == std::vector<std::string>{"1", "healed"});
  CHECK(host.current->why().code == ec::none);
  deliver({row(1, 2, elsewhere)}, "c10");
  CHECK(seen.bodies().back() == "2");
  CHECK(store.where().applied == "c1"); // what is missing of the other one is fetched first
  heal(next_fetch(), 3);
  CHECK(seen.bodies().back() == "healed");
  CHECK(store.where().applied == "c10");
}

TEST_CASE_FIXTURE(receiver_fixture,
                  "if the store fails, the device halts, and nothing is shown or acknowledged") {
  full_disk full;
  make(full);
  online();
  SUBCASE("while it stores a delivery") {
    deliver({row(0, 1)}, "c1");
  }
  SUBCASE("while it stores a page that fills a gap") {
    auto taken = take({row(1, 2)}, "c2");
    turn();
    heal(0, 1);
    CHECK(taken.poll(scope));
  }
  CHECK(host.now.state == link_state::broken);
  CHECK(seen.messages.empty());
  CHECK(session->acks.empty());
}

TEST_CASE_FIXTURE(
    receiver_fixture,
    "one acknowledgement is under way at a time; the next one covers all that arrived meanwhile") {
  make();
  online();
  deliver({row(0, 1)}, "c1");
  REQUIRE(session->acks.size() == 1);
  for (std::uint64_t n = 2; n <= 9; ++n)
    deliver({row(n - 1, n)}, "c" + std::to_string(n));
  pass(1'000ms);
  CHECK(session->acks.size() == 1);
  session->acks[0].accept();
  pass(1'000ms);
  REQUIRE(session->acks.size() == 2);
  CHECK(acked(1) == "c9");
  CHECK(!in->idle());
  session->acks[1].accept();
  turn();
  CHECK(in->idle());
  CHECK(store.where().acknowledged == "c9");
}

TEST_CASE_FIXTURE(receiver_fixture, "an acknowledgement that is refused for now is sent again later") {
  make();
  online();
  deliver({row(0, 1)}, "c1");
  session->acks[0].refuse(ec::not_leader);
  turn();
  CHECK(host.considered == std::vector<ec>{ec::not_leader});
  CHECK(session->acks.size() == 1);
  pass(200ms);
  REQUIRE(session->acks.size() == 2);
  CHECK(acked(1) == "c1");
}

TEST_CASE_FIXTURE(receiver_fixture, "a cursor that the cluster refuses is not offered again") {
  make();
  online();
  deliver({row(0, 1)}, "c1");
  session->acks[0].refuse(ec::bad_cursor);
  pass(10'000ms);
  CHECK(session->acks.size() == 1);
  CHECK(in->idle());
}

TEST_CASE_FIXTURE(receiver_fixture, "a device halts if its store cannot keep an acknowledgement") {
  struct forgetful final : memory_store {
    void acknowledged(const cursor&) override { throw store_error{"The profile's database failed: full."}; }
  } full;
  make(full);
  online();
  deliver({row(0, 1)}, "c1");
  session->acks[0].accept();
  turn();
  CHECK(host.now.state == link_state::broken);
}

TEST_CASE_FIXTURE(receiver_fixture,
                  "what could not be acknowledged over one connection is acknowledged over the next") {
  make();
  online();
  deliver({row(0, 1)}, "c1");
  CHECK(session->acks.size() == 1);
  lose();
  online();
  REQUIRE(session->acks.size() == 1);
  CHECK(acked(0) == "c1");
}

TEST_CASE_FIXTURE(receiver_fixture,
                  "a place that the cluster has confirmed and then forgotten is acknowledged again") {
  make();
  online();
  deliver({row(0, 1)}, "c1");
  session->acks[0].accept();
  turn();
  CHECK(in->idle());
  come_back_before("c0");
  CHECK(session->acks.empty()); // it may be another cluster's history
  confirm(0, 1);
  REQUIRE(session->acks.size() == 1);
  CHECK(acked(0) == "c1");
  session->acks[0].accept();
  turn();
  CHECK(in->idle());
}

TEST_CASE_FIXTURE(
    receiver_fixture,
    "a place that was forgotten is not acknowledged while nobody can tell whose history it is") {
  make();
  online();
  deliver({row(0, 1)}, "c1");
  session->acks[0].accept();
  turn();
  come_back_before("c0");
  leaderless(3'000ms); // longer than the question is asked
  CHECK(session->acks.empty());
  deliver({row(0, 1, elsewhere)}, "c2"); // but what comes is taken
  CHECK(seen.bodies() == std::vector<std::string>{"1", "1"});
  CHECK(session->acks.empty()); // else the next session could not ask again
  CHECK(store.where().applied == "c1");
  CHECK(seen.lost.empty());
}

TEST_CASE_FIXTURE(
    receiver_fixture,
    "a stream begins at the store's cursor, or at its start if the cluster does not know that") {
  make();
  online();
  deliver({row(0, 1)}, "c1");
  lose();
  online();
  REQUIRE(session->receives.size() == 1);
  CHECK(session->received_from[0] == "c1");
  session->receives[0].refuse(ec::bad_cursor);
  turn();
  CHECK(session->receives.size() == 1); // the history is compared first
  confirm(0, 1);
  REQUIRE(session->lists.size() == 1); // conversations that are not known here
  session->lists[0].accept();
  turn();
  REQUIRE(session->receives.size() == 2);
  CHECK(session->received_from[1].empty());
  CHECK(seen.lost.empty());
  SUBCASE("refused at its start as well, the connection ends") {
    session->receives[1].refuse(ec::bad_cursor);
    turn();
    CHECK(session->receives.size() == 2);
    CHECK(host.current->why().code == ec::bad_cursor);
  }
  SUBCASE("accepted at its start, repeats are hidden") {
    session->receives[1].accept();
    deliver({row(0, 1), row(1, 2)}, "c2");
    CHECK(seen.bodies() == std::vector<std::string>{"1", "2"});
  }
}

TEST_CASE_FIXTURE(receiver_fixture, "a delivery over a connection that was replaced is ignored") {
  make();
  online();
  auto old = session->receivers[0];
  auto first = kj::mv(host.current);
  connect();
  auto call = old.deliverRequest();
  auto item = call.initItems(1)[0].initMessage();
  wire::write(item.initIt().initConversation(), talk);
  item.getIt().setSeq(1);
  auto done = call.send();
  turn();
  CHECK(seen.messages.empty());
  CHECK(store.where().applied.empty());
  first = nullptr;
}

TEST_CASE_FIXTURE(receiver_fixture,
                  "the reason for which a node closes the connection is passed on to the host") {
  make();
  online();
  auto port = session->receivers[0];
  auto call = port.closedRequest();
  write(call.initError(), ec::draining);
  auto done = call.send();
  turn();
  CHECK(host.closed == std::vector<ec>{ec::draining});
}

TEST_CASE_FIXTURE(receiver_fixture, "what a person has read is sent once, and again while that may succeed") {
  make();
  online();
  in->ack_read(talk, seq_no{3});
  in->ack_read(talk, seq_no{2});
  turn();
  REQUIRE(session->reads.size() == 1);
  session->reads[0].refuse(ec::overloaded, 700ms);
  pass(699ms);
  in->ack_read(talk, seq_no{5});
  CHECK(session->reads.size() == 1);
  pass(1ms);
  REQUIRE(session->reads.size() == 2);
  CHECK(session->read[1] == seq_no{5});
  CHECK(!in->idle());
  SUBCASE("accepted") {
    session->reads[1].accept();
  }
  SUBCASE("finally refused") {
    session->reads[1].refuse(ec::not_a_member);
  }
  pass(10'000ms);
  CHECK(session->reads.size() == 2);
  CHECK(in->idle());
  CHECK(store.reads_owed().empty());
}

TEST_CASE_FIXTURE(receiver_fixture,
                  "what a person has read is kept when the session is refused, and told on the next one") {
  make();
  online();
  in->ack_read(talk, seq_no{3});
  turn();
  REQUIRE(session->reads.size() == 1);
  SUBCASE("not logged in") {
    session->reads[0].refuse(ec::not_authenticated);
  }
  SUBCASE("fenced") {
    session->reads[0].refuse(ec::fenced);
  }
  SUBCASE("ended") {
    session->reads[0].refuse(ec::session_closed);
  }
  turn();
  CHECK(host.considered.size() == 1);
  CHECK(session->reads.size() == 1); // not again on this session
  CHECK(!in->idle());
  REQUIRE(store.reads_owed().size() == 1);
  CHECK(store.reads_owed()[0].upto == seq_no{3});
  lose();
  online();
  REQUIRE(session->reads.size() == 1);
  CHECK(session->read[0] == seq_no{3});
  session->reads[0].accept();
  turn();
  CHECK(in->idle());
  CHECK(store.reads_owed().empty());
}

TEST_CASE_FIXTURE(receiver_fixture, "a delivery that waits for its gap ends with the receiver") {
  make();
  online();
  auto taken = take({row(0, 1), row(3, 4)}, "c4");
  turn();
  REQUIRE(session->heals.size() == 1);
  in = nullptr;
  CHECK(taken.poll(scope)); // rejected: nothing of it runs any more
  taken.then([] { FAIL("taken by nobody"); }, [](kj::Exception&&) {}).wait(scope);
  pass(10'000ms); // the page was given up with it, so nobody asks again
  CHECK(session->heals.size() == 1);
  CHECK(seen.messages.empty());
}

TEST_CASE_FIXTURE(receiver_fixture, "a halted device answers the callers that wait until it is settled") {
  make();
  online();
  deliver({row(0, 1)}, "c1");
  auto settled = in->settled();
  CHECK(!settled.poll(scope));
  host.halt(link_state::stopped, refuse(ec::session_closed));
  in->halted();
  CHECK(settled.poll(scope));
}

TEST_CASE_FIXTURE(receiver_fixture,
                  "a device that receives a stream does not fetch; one that pulls is answered") {
  SUBCASE("it receives a stream") {
    make();
    online();
    auto fetched = in->sync_inbox();
    CHECK(get(fetched).error().code == ec::bad_request);
  }
  SUBCASE("it pulls, and the session is silent") {
    settings.how = intake::pull;
    make();
    online();
    CHECK(session->receives.empty());
    auto fetched = in->sync_inbox();
    turn();
    REQUIRE(session->pages.size() == 1);
    in = nullptr;
    CHECK(fetched.poll(scope)); // rejected: nobody waits for ever
    fetched.then([](auto&&) { FAIL("answered by nobody"); }, [](kj::Exception&&) {}).wait(scope);
  }
}

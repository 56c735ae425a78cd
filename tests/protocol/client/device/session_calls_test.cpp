// Calls alone: no session, a silent one, one that refuses, and deadlines, in virtual time.
#include "protocol/client/device/session_calls.hpp"
#include "tests/protocol/client/device/lone_part.hpp"

using namespace parley;
using namespace parley::client;
using namespace parley::test;

namespace {

struct calls_fixture : part_fixture {
  kj::Own<session_calls> calls;
  calls_fixture() {
    settings.ask_timeout = 10'000ms;
    calls = kj::heap<session_calls>(timer, host, settings, history, chance);
  }
};

} // namespace

TEST_CASE_FIXTURE(calls_fixture, "without a session a call ends at its deadline") {
  auto list = calls->conversations({}, 10);
  pass(9'999ms);
  CHECK(!list.poll(scope));
  pass(1ms);
  CHECK(get(list).error().code == ec::unavailable);
}

TEST_CASE_FIXTURE(calls_fixture, "a halted device makes no call") {
  connect();
  host.halt(link_state::fenced, refuse(ec::fenced));
  auto list = calls->conversations({}, 10);
  CHECK(get(list).error().code == ec::fenced);
  CHECK(session->lists.empty());
}

TEST_CASE_FIXTURE(
    calls_fixture,
    "after a temporary error a call is made again, not before the advised time, until its deadline") {
  host.last = {ec::draining, "The node is stopping.", {}};
  connect();
  auto list = calls->conversations({}, 10);
  turn();
  std::size_t n = 0;
  for (; n < 100 && !list.poll(scope); ++n) {
    REQUIRE(session->lists.size() == n + 1);
    session->lists[n].refuse(ec::overloaded, 3'000ms);
    turn();
    if (list.poll(scope))
      continue;
    pass(2'999ms);
    CHECK(session->lists.size() == n + 1);
    pass(1ms);
  }
  CHECK(n == 4); // at 0, 3, 6 and 9 seconds: another attempt would come after the deadline
  const auto outcome = get(list);
  REQUIRE(!outcome);
  CHECK(outcome.error().code == ec::overloaded);
  CHECK(host.considered == std::vector<ec>(4, ec::overloaded));
}

TEST_CASE_FIXTURE(calls_fixture, "a call whose session is refused is made again on the next session") {
  connect();
  auto list = calls->conversations({}, 10);
  turn();
  REQUIRE(session->lists.size() == 1);
  session->lists[0].refuse(ec::not_authenticated);
  turn();
  CHECK(host.considered == std::vector<ec>{ec::not_authenticated});
  cut();
  connect();
  pass(2'000ms);
  REQUIRE(session->lists.size() == 1);
  session->lists[0].accept();
  CHECK(get(list).has_value());
}

TEST_CASE_FIXTURE(calls_fixture, "a call that is finally refused is not made again") {
  connect();
  auto page = calls->sync_conversation(talk, seq_no{0}, 10);
  turn();
  session->heals[0].refuse(ec::not_a_member);
  CHECK(get(page).error().code == ec::not_a_member);
  pass(60'000ms);
  CHECK(session->heals.size() == 1);
  REQUIRE(seen.history.size() == 2);
  CHECK(seen.history[1].type == history_event::kind::fail);
}

TEST_CASE_FIXTURE(calls_fixture, "a call whose connection is lost is made again on the next one") {
  connect();
  auto list = calls->conversations({}, 10);
  turn();
  session->lists[0].done->reject(KJ_EXCEPTION(DISCONNECTED, "the connection was lost"));
  turn();
  cut();
  connect();
  pass(2'000ms);
  REQUIRE(session->lists.size() == 1);
  session->lists[0].accept();
  CHECK(get(list));
}

TEST_CASE_FIXTURE(calls_fixture, "calls that are destroyed reject the promises that they gave") {
  connect();
  auto list = calls->conversations({}, 10);
  turn();
  calls = nullptr;
  CHECK(list.poll(scope));
  list.then([](auto&&) { FAIL("answered by nobody"); }, [](kj::Exception&&) {}).wait(scope);
}

TEST_CASE_FIXTURE(calls_fixture, "a refusal that advises to wait past the deadline is answered at once") {
  connect();
  auto list = calls->conversations({}, 10);
  turn();
  session->lists[0].refuse(ec::rate_limited, 3'600'000ms);
  turn();
  const auto outcome = get(list);
  REQUIRE(!outcome);
  CHECK(outcome.error().code == ec::rate_limited);
  CHECK(outcome.error().retry_after == 3'600'000ms);
}

TEST_CASE_FIXTURE(calls_fixture,
                  "the time of a call begins when the loop turns, not when its timer stood still") {
  auto list = calls->conversations({}, 10);
  timer.advanceTo(timer.now() + 60 * kj::SECONDS); // the program did something else before
  turn();
  CHECK(!list.poll(scope));
  connect();
  pass(9'999ms);
  CHECK(!list.poll(scope));
}

TEST_CASE_FIXTURE(calls_fixture, "without a connection a call answers why there is none") {
  host.last = {ec::draining, "The node is stopping.", {}};
  auto list = calls->conversations({}, 10);
  pass(10'000ms);
  CHECK(get(list).error().code == ec::draining);
}

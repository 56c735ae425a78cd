// What refusals mean for a call, a session and a login; which calls are made again; when a connection is
// dead.
#include "protocol/client/rules/ask_rules.hpp"
#include "protocol/client/rules/calls_under_way.hpp"
#include "protocol/client/rules/enrolment_rules.hpp"
#include "protocol/client/rules/session_rules.hpp"
#include "protocol/client/rules/ticket_rules.hpp"

#include <doctest/doctest.h>

#include <vector>

using namespace parley;
using namespace parley::client;
using namespace std::chrono_literals;

// --- a connection that is silent ---------------------------------------------------------------------------

TEST_CASE("a connection is dead when a call has waited for its answer too long, and not before") {
  calls_under_way calls{15s, 0s};
  CHECK(!calls.due());
  const auto first = calls.begin(1s);
  const auto second = calls.begin(9s);
  REQUIRE(calls.due() == instant{16s});
  CHECK(!calls.is_dead(15s, 15'999ms));
  CHECK(calls.is_dead(16s, 16s));
}

TEST_CASE("a call that is over, however it ended, does not kill its connection") {
  calls_under_way calls{15s, 0s};
  auto second = [&] {
    const auto first = calls.begin(1s);
    return calls.begin(9s);
  }();
  REQUIRE(calls.due() == instant{24s}); // of the one that is left
  CHECK(!calls.is_dead(16s, 16s));
  { const auto last = std::move(second); }
  CHECK(!calls.due());
  CHECK(!calls.is_dead(24s, 24s));
}

TEST_CASE("a device that did not run for a while reads its answers before it takes a connection for dead") {
  calls_under_way calls{15s, 0s};
  const auto call = calls.begin(1s);
  CHECK(!calls.is_dead(16s, 90s)); // its timer was late by more than a minute
  REQUIRE(calls.due() == instant{105s});
  CHECK(calls.is_dead(105s, 105s));
}

TEST_CASE("a call that was made by a clock that stood still has all its time") {
  calls_under_way calls{15s, 0s};
  const auto before = calls.begin(2s);
  const auto call = calls.begin(3s);
  calls.moved(3s, 60s);
  CHECK(calls.last() == instant{60s});
  REQUIRE(calls.due() == instant{17s}); // the earlier call keeps its own
  calls.moved(60s, 60s);
  CHECK(calls.due() == instant{17s});
}

// --- questions ---------------------------------------------------------------------------------------------

TEST_CASE("a question to a cluster that never answers ends with its deadline") {
  dice chance{1};
  ask_rules rules{{50ms, 2s}, 30s};
  instant now{};
  for (int attempts = 0;; ++attempts) {
    REQUIRE(attempts < 10'000);
    const auto wait = rules.again(refuse(ec::timed_out), now, chance);
    if (!wait)
      break;
    CHECK(*wait <= 2s);
    now += *wait + 1ms;
    CHECK(!rules.over(now - 1ms));
  }
  CHECK(now < 30s);
  CHECK(!rules.again(refuse(ec::timed_out), 30s, chance)); // an answer that came too late
  CHECK(rules.over(30s));
}

TEST_CASE(
    "a question is not asked again after a final refusal, and not before the cluster's advice is over") {
  dice chance{1};
  ask_rules rules{{50ms, 2s}, 30s};
  CHECK(!rules.again(refuse(ec::not_a_member), 1s, chance));
  CHECK(rules.again({ec::overloaded, "", 9'000ms}, 1s, chance) == 9'000ms);
  CHECK(!rules.again({ec::overloaded, "", 29'000ms}, 1s, chance)); // it would come too late
  CHECK(rules.again(refuse(ec::not_authenticated), 1s, chance));   // of the session, not of the question
}

// --- sessions ----------------------------------------------------------------------------------------------

TEST_CASE("a refusal of the session ends the connection, and one of a call does not") {
  for (const auto why : {ec::session_closed, ec::draining, ec::not_authenticated})
    CHECK(fate_of_session(why) == session_fate::ends);
  for (const auto why : {ec::none, ec::overloaded, ec::not_a_member, ec::timed_out, ec{39}, ec{1'999}})
    CHECK(fate_of_session(why) == session_fate::stays);
  CHECK(fate_of_session(ec::fenced) == session_fate::fenced);
}

TEST_CASE("a login that is refused for now is tried elsewhere; one that is refused for good is the last") {
  using step = login_step;
  for (const auto by : {step::resume, step::login}) {
    CHECK(fate_of_login(by, refuse(ec::unavailable)) == login_fate::later);
    CHECK(fate_of_login(by, refuse(ec::session_ahead)) == login_fate::later);
    CHECK(fate_of_login(by, refuse(ec::fenced)) == login_fate::fenced);
  }
  CHECK(fate_of_login(step::login, refuse(ec::bad_signature)) == login_fate::refused);
  CHECK(fate_of_login(step::hello, refuse(ec::unsupported_version)) == login_fate::refused);
  CHECK(fate_of_login(step::hello, refuse(ec::bad_request)) == login_fate::later); // of this node
}

TEST_CASE("a token that is refused is forgotten, unless it is good in another cluster") {
  CHECK(fate_of_login(login_step::resume, refuse(ec::bad_request)) == login_fate::anew);
  CHECK(fate_of_login(login_step::resume, refuse(ec::bad_signature)) == login_fate::anew);
  CHECK(fate_of_login(login_step::resume, refuse(ec::wrong_cluster)) == login_fate::refused);
}

// --- registering -------------------------------------------------------------------------------------------

TEST_CASE("while no node answers, all seeds are asked in turn, with a pause after each round") {
  dice chance{1};
  enrolment_rules rules{3, 1, {50ms, 2s}, 30s};
  std::vector<std::size_t> asked;
  instant now{};
  for (int n = 0; n < 6; ++n) {
    asked.push_back(rules.seed());
    const auto retry = rules.again(refuse(ec::unavailable), now, chance);
    REQUIRE(retry);
    CHECK(retry->at_once == (n % 3 != 2));
    CHECK(retry->pause <= 100ms);
  }
  CHECK(asked == std::vector<std::size_t>{1, 2, 0, 1, 2, 0});
  CHECK(!rules.again(refuse(ec::unavailable), 30s, chance));
}

TEST_CASE("a refusal that every node would give is final") {
  dice chance{1};
  for (const auto why : {ec::rate_limited, ec::code_send_failed, ec::code_wrong, ec::bad_phone})
    CHECK(!enrolment_rules{3, 0, {50ms, 2s}, 30s}.again(refuse(why), 0s, chance));
}

TEST_CASE(
    "whoever asks too soon waits for as long as the node says and asks it again, if there is time for it") {
  dice chance{1};
  enrolment_rules rules{3, 0, {50ms, 2s}, 30s};
  REQUIRE(rules.again(refuse(ec::timed_out), 0s, chance));
  CHECK(rules.seed() == 1);
  const auto retry = rules.again({ec::rate_limited, "", 5'000ms}, 1s, chance);
  REQUIRE(retry);
  CHECK(!retry->at_once);
  CHECK(retry->pause == 5'000ms);
  CHECK(rules.seed() == 1);                                        // the same node
  CHECK(rules.again({ec::rate_limited, "", 5'000ms}, 7s, chance)); // somebody else has asked meanwhile
  CHECK(!rules.again({ec::rate_limited, "", 5'000ms}, 26s, chance));
  enrolment_rules first{1, 0, {50ms, 2s}, 30s};
  CHECK(first.again({ec::rate_limited, "", 1'000ms}, 0s, chance)->pause ==
        1'000ms); // it need not be a repeat
  CHECK(!first.again({ec::rate_limited, "", 30'000ms}, 0s, chance));
}

TEST_CASE(
    "a request for a code is repeated with its ticket until it has an answer, and then another is made") {
  std::vector<code_ticket> tickets;
  ticket_rules rules{tickets};
  int drawn = 0;
  const auto draw = [&] { return "ticket " + std::to_string(++drawn); };
  CHECK(!rules.next("+1", draw).repeats);
  CHECK(rules.next("+1", draw).repeats);
  CHECK(rules.next("+2", draw).ticket == "ticket 2"); // of another number
  CHECK(!rules.refused("ticket 1", refuse(ec::rate_limited)));
  CHECK(rules.next("+1", draw).ticket == "ticket 1");
  SUBCASE("a code is on its way") {
    rules.issued("ticket 1", "ticket 1");
  }
  SUBCASE("a code came, though no answer did") {
    CHECK(rules.for_trial("+1") == std::vector<std::string>{"ticket 1"});
  }
  SUBCASE("the number may have no code") {
    CHECK(rules.refused("ticket 1", refuse(ec::bad_phone)));
  }
  CHECK(rules.next("+1", draw).ticket == "ticket 3");
  CHECK(rules.next("+2", draw).ticket == "ticket 2");
}

TEST_CASE("the newest tickets are kept, and the one that the node drew replaces that of the device") {
  std::vector<code_ticket> tickets;
  ticket_rules rules{tickets};
  for (const auto* t : {"1", "2", "3", "4"}) {
    rules.next("+1", [&] { return t; });
    rules.issued(t, t);
  }
  rules.issued("3", "drawn by the node");
  CHECK(rules.for_trial("+1") == std::vector<std::string>{"2", "drawn by the node", "4"});
  CHECK(rules.for_trial("+2").empty());
}

TEST_CASE("a code is tried with all tickets, the newest first, and what is said of it is that it is wrong") {
  code_trial trial{{"old", "new"}};
  CHECK(trial.ticket() == "new");
  SUBCASE("the newest ticket says so") {
    CHECK(trial.refused(refuse(ec::code_wrong)));
    CHECK(trial.ticket() == "old");
    CHECK(!trial.refused(refuse(ec::code_expired)));
    CHECK(trial.why().code == ec::code_wrong);
    CHECK(trial.over());
  }
  SUBCASE("all have expired") {
    CHECK(trial.refused(refuse(ec::code_expired)));
    CHECK(!trial.refused(refuse(ec::code_expired)));
    CHECK(trial.why().code == ec::code_expired);
  }
  SUBCASE("no node answers: that is not about the code, which may be tried again") {
    CHECK(!trial.refused(refuse(ec::unavailable)));
    CHECK(trial.why().code == ec::unavailable);
    CHECK(trial.ticket() == "new");
    CHECK(!trial.over());
  }
}

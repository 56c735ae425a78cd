// What is counted of those who ask for codes: addresses, the networks around them, the node.
#include "tests/protocol/gateway/fixture.hpp"
#include "tests/protocol/gateway/hand_made.hpp"

#include <doctest/doctest.h>

#include <algorithm>

using namespace parley;
using namespace parley::test;
using namespace std::chrono_literals;

namespace {

struct codes_fixture : fixture {
  ec of_the_account = ec::none; ///< what it answers
  std::uint8_t sent_before = 0;

  codes_fixture() {
    cluster.on_call = [this](core::call what) -> kj::Promise<core::answer> {
      if (std::holds_alternative<core::report_code>(what))
        return core::answer{core::answer_to<core::report_code>{}};
      return core::answer{core::answer_to<core::request_code>{{of_the_account, 0, sent_before}}};
    };
  }
  auto asked() const {
    return std::count_if(cluster.calls.begin(), cluster.calls.end(),
                         [](const auto& c) { return std::holds_alternative<core::request_code>(c); });
  }
  ec ask() {
    test_client c{*this};
    auto request = c.door.requestCodeRequest();
    request.setPhone("+491234567");
    return ec{get(request.send()).getError().getCode()};
  }
};

} // namespace

TEST_CASE_FIXTURE(codes_fixture,
                  "who asks for a code and resets the connection counts in its networks, too") {
  config.codes_burst = 1; // so the /24 around 127.0.0.1 may have 16
  config.code_every = 100h;
  start();
  const auto call = bootstrap_message() +
                    door_call<rpc::Gateway::RequestCodeParams>(
                        1, door_method::request_code, [](auto&, auto p) { p.setPhone("+491234567"); });
  for (unsigned from = 2; from < 32; ++from) {
    raw_client asker{*this, TLS1_3_VERSION, from};
    REQUIRE(asker.handshake());
    asker.send(call);
    asker.reset(); // the node reads the call, and the kernel does not know the peer any more
    REQUIRE(until([&] { return server->connections() == 0; }));
  }
  CHECK(asked() > 0);
  CHECK(asked() <= 16);
}

TEST_CASE_FIXTURE(codes_fixture, "what sends no code takes nothing of what the node may send") {
  config.codes_per_hour = 3;
  start();
  SUBCASE("refused by the account") {
    of_the_account = ec::rate_limited;
    for (int i = 0; i < 6; ++i)
      CHECK(ask() == ec::rate_limited);
  }
  SUBCASE("the account does not answer") {
    of_the_account = ec::unavailable;
    for (int i = 0; i < 6; ++i)
      CHECK(ask() == ec::unavailable);
  }
  SUBCASE("sent already for an earlier request with the same ticket") {
    sent_before = 1;
    for (int i = 0; i < 6; ++i)
      CHECK(ask() == ec::none);
    CHECK(codes.sent.empty());
    sent_before = 0;
  }
  SUBCASE("not sent") {
    codes.outcome = ec::code_send_failed;
    for (int i = 0; i < 6; ++i)
      CHECK(ask() == ec::code_send_failed);
  }
  of_the_account = codes.outcome = ec::none;
  for (int i = 0; i < 3; ++i)
    CHECK(ask() == ec::none);
  CHECK(ask() == ec::rate_limited);
}

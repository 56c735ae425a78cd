// Who asks for a code: what is answered, what is reported, and what is counted of addresses, the networks around them and
// the node.
#include "tests/protocol/gateway/fixture.hpp"
#include "tests/protocol/gateway/hand_made.hpp"

#include "protocol/gateway/crypto.hpp"
#include "protocol/wire/codec.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>

using namespace parley;
using namespace parley::test;
using namespace std::chrono_literals;

namespace {

capnp::Data::Reader bytes_of(std::string_view s) {
  return {reinterpret_cast<const kj::byte*>(s.data()), s.size()};
}

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
  const auto call = door_call<rpc::Gateway::RequestCodeParams>(
      1, door_method::request_code, [](auto&, auto p) { p.setPhone("+491234567"); });
  for (unsigned from = 2; from < 32; ++from) {
    raw_client asker{*this, TLS1_3_VERSION, from};
    REQUIRE(asker.handshake());
    asker.send(bootstrap_message());
    // An answer that is still to be written would end the connection before the call.
    REQUIRE(until([&] { return asker.ended() || !asker.received.empty(); }));
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
  CHECK(shared.metrics.refused_for(gateway::bound::codes_of_node) == 1);
}

TEST_CASE_FIXTURE(fixture, "a code that cannot be sent is an error, and one that is refused is not sent") {
  start();
  core::code_issued issued{};
  cluster.on_call = [&](core::call what) -> kj::Promise<core::answer> {
    if (std::holds_alternative<core::report_code>(what))
      return core::answer{core::answer_to<core::report_code>{}};
    return core::answer{core::answer_to<core::request_code>{issued}};
  };
  test_client c{*this};
  const auto ask = [&] {
    auto request = c.door.requestCodeRequest();
    request.setPhone("+491234567");
    return get(request.send());
  };
  codes.outcome = ec::code_send_failed;
  CHECK(ask().getError().getCode() == static_cast<int>(ec::code_send_failed));
  issued = {ec::rate_limited, 700};
  auto limited = ask();
  CHECK(limited.getError().getCode() == static_cast<int>(ec::rate_limited));
  CHECK(limited.getError().getRetryAfterMs() == 700);
  CHECK(codes.sent.size() == 1);
  // What could not be sent is given back before the asker is told.
  REQUIRE(cluster.calls.size() == 3);
  const auto asked = std::get<core::request_code>(cluster.calls[0]);
  const auto given_back = std::get<core::report_code>(cluster.calls[1]);
  CHECK(given_back.ticket == asked.ticket);
  CHECK(given_back.code_hash == asked.code_hash);
  CHECK(given_back.phone == asked.phone);
  CHECK(given_back.sent == 0);
}

TEST_CASE_FIXTURE(codes_fixture,
                  "what became of a code is reported although whoever asked has gone meanwhile") {
  /// Its answer comes when the test says so.
  struct slow_sender final : gateway::code_sender {
    kj::PromiseFulfillerPair<ec> outcome = kj::newPromiseAndFulfiller<ec>();
    bool asked = false;
    kj::Promise<ec> send(std::string, std::string) override {
      asked = true;
      return kj::mv(outcome.promise);
    }
  } slow;
  sender = &slow;
  start();
  ec outcome = ec::none;
  SUBCASE("it was sent") {}
  SUBCASE("it was not sent") {
    outcome = ec::code_send_failed;
  }
  {
    test_client c{*this};
    auto request = c.door.requestCodeRequest();
    request.setPhone("+491234567");
    auto answer = request.send();
    REQUIRE(until([&] { return slow.asked; }));
  }
  REQUIRE(until([&] { return server->connections() == 0; }));
  CHECK(cluster.calls.size() == 1);
  slow.outcome.fulfiller->fulfill(ec{outcome});
  REQUIRE(until([&] { return cluster.calls.size() == 2; }));
  CHECK(std::get<core::report_code>(cluster.calls[1]).sent == (outcome == ec::none));
  CHECK(shared.metrics.codes_sent == (outcome == ec::none));
}

TEST_CASE_FIXTURE(fixture, "an asker is told what became of the code although the shard is silent") {
  start();
  cluster.on_call = [&](core::call what) -> kj::Promise<core::answer> {
    if (std::holds_alternative<core::report_code>(what))
      return kj::NEVER_DONE;
    return core::answer{core::answer_to<core::request_code>{core::code_issued{}}};
  };
  SUBCASE("it was sent") {}
  SUBCASE("it was not sent") {
    codes.outcome = ec::code_send_failed;
  }
  test_client c{*this};
  auto request = c.door.requestCodeRequest();
  request.setPhone("+491234567");
  auto answer = get(request.send());
  CHECK(answer.getError().getCode() == static_cast<int>(codes.outcome));
  CHECK(answer.getTicket().size() == (codes.outcome == ec::none ? code_ticket_bytes : 0));
}

TEST_CASE_FIXTURE(fixture,
                  "who asks again with the ticket of a code that is on its way is sent no other one") {
  start();
  std::map<body_hash, bool> sent; // by ticket
  cluster.on_call = [&](core::call what) -> kj::Promise<core::answer> {
    if (const auto* told = std::get_if<core::report_code>(&what)) {
      sent[told->ticket] = told->sent;
      return core::answer{core::answer_to<core::report_code>{}};
    }
    const auto known = sent[std::get<core::request_code>(what).ticket];
    return core::answer{
        core::answer_to<core::request_code>{{ec::none, 0, known, known ? 400'999U : 600'000U}}};
  };
  const std::string mine = "sixteen bytes ..";
  const auto ask = [&](const std::string& ticket) {
    test_client c{*this}; // each over a connection of its own
    auto request = c.door.requestCodeRequest();
    request.setPhone("+491234567");
    request.setTicket(bytes_of(ticket));
    auto answer = get(request.send());
    CHECK(wire::view(answer.getTicket()) == ticket);
    return answer.getExpiresInS();
  };
  CHECK(ask(mine) == 600);
  CHECK(sent.contains(gateway::hash_of_ticket(mine))); // the shard knows only what proves nothing
  CHECK(ask(mine) == 400);
  CHECK(codes.sent.size() == 1);
  CHECK(ask("another ticket..") == 600);
  CHECK(codes.sent.size() == 2);
}

TEST_CASE_FIXTURE(fixture, "one address, and all of a node, may ask for a bounded number of codes") {
  cluster.on_call = [&](core::call what) -> kj::Promise<core::answer> {
    if (std::holds_alternative<core::report_code>(what))
      return core::answer{core::answer_to<core::report_code>{}};
    return core::answer{core::answer_to<core::request_code>{core::code_issued{}}};
  };
  std::int64_t may = 0;
  SUBCASE("of an address") {
    may = config.codes_burst = 4;
  }
  SUBCASE("of the node") {
    may = config.codes_per_hour = 3;
  }
  start();
  std::int64_t sent = 0;
  for (int i = 0; i < 8; ++i) {
    test_client c{*this};
    auto request = c.door.requestCodeRequest();
    request.setPhone("+49123456" + std::to_string(i));
    auto answer = get(request.send());
    const auto error = ec{answer.getError().getCode()};
    sent += error == ec::none;
    CHECK((error == ec::none || error == ec::rate_limited));
    CHECK((error == ec::none || answer.getError().getRetryAfterMs() > 0));
  }
  CHECK(sent == may);
  CHECK(static_cast<std::int64_t>(codes.sent.size()) == may);
}

// Logins that fail: what the client is told, what happens to its connection, and to calls behind the login.
#include "tests/protocol/gateway/fixture.hpp"
#include "tests/protocol/gateway/hand_made.hpp"

#include "protocol/gateway/crypto.hpp"
#include "protocol/gateway/rpc_objects.hpp"
#include "protocol/gateway/tokens.hpp"

#include <doctest/doctest.h>

using namespace parley;
using namespace parley::test;
using transport::close_reason;

namespace {

/// A login that waits until the test answers it.
struct waiting_logins {
  explicit waiting_logins(fixture& f) {
    f.cluster.on_open = [this](connection_sink& sink) -> kj::Promise<ec> {
      sinks.push_back(&sink);
      auto answer = kj::newPromiseAndFulfiller<ec>();
      answers.push_back(kj::mv(answer.fulfiller));
      return kj::mv(answer.promise);
    };
  }
  gateway::connection& connection() { return static_cast<gateway::connection&>(*sinks.front()); }
  std::vector<connection_sink*> sinks;
  std::vector<kj::Own<kj::PromiseFulfiller<ec>>> answers;
};

capnp::RemotePromise<rpc::Gateway::LoginResults> begin_login(test_client& c,
                                                             session_number n = session_number{1}) {
  c.f.cluster.devices[{user_id{1}, device_id{2}}] = c.key.public_half;
  const auto proof = c.proof(c.key, user_id{1}, device_id{2}, n);
  auto request = c.door.loginRequest();
  request.setUser(1);
  request.setDevice(2);
  request.setSessionNumber(number(n));
  request.setSignature(bytes_of(proof));
  return request.send();
}

/// Logs in with a signature by `signer` and the public half of `named`.
ec name_key(test_client& c, const device_key& signer, const device_key& named) {
  const auto proof = c.proof(signer, user_id{1}, device_id{2}, session_number{1});
  auto request = c.door.loginRequest();
  request.setUser(1);
  request.setDevice(2);
  request.setSessionNumber(1);
  request.setSignature(bytes_of(proof));
  request.setDeviceKey({named.public_half.data(), named.public_half.size()});
  return ec{c.f.get(request.send()).getError().getCode()};
}

} // namespace

TEST_CASE_FIXTURE(fixture,
                  "a login that a newer connection overtakes is answered as fenced, and then closed") {
  start();
  test_client c{*this};
  waiting_logins logins{*this};
  SUBCASE("fenced before the login is known to have succeeded") {
    auto login = begin_login(c);
    REQUIRE(until([&] { return logins.sinks.size() == 1; }));
    logins.sinks.front()->close(ec::fenced, 0);
    for (int turns = 0; turns < 50; ++turns) // the connection must not end before its login is answered
      io.waitScope.poll();
    logins.answers.front()->fulfill(ec{ec::none});
    CHECK(ec{get(kj::mv(login)).getError().getCode()} == ec::fenced);
  }
  SUBCASE("refused as fenced") {
    auto login = begin_login(c);
    REQUIRE(until([&] { return logins.sinks.size() == 1; }));
    logins.answers.front()->fulfill(ec{ec::fenced});
    CHECK(ec{get(kj::mv(login)).getError().getCode()} == ec::fenced);
  }
  SUBCASE("both at once") {
    auto login = begin_login(c);
    REQUIRE(until([&] { return logins.sinks.size() == 1; }));
    logins.sinks.front()->close(ec::fenced, 0);
    logins.answers.front()->fulfill(ec{ec::fenced});
    CHECK(ec{get(kj::mv(login)).getError().getCode()} == ec::fenced);
  }
  CHECK(closed_for(close_reason::session_over));
  CHECK(cluster.live_sessions == 0);
}

TEST_CASE_FIXTURE(fixture, "a login whose node drains meanwhile is answered as draining") {
  start();
  test_client c{*this};
  waiting_logins logins{*this};
  auto login = begin_login(c);
  REQUIRE(until([&] { return logins.sinks.size() == 1; }));
  server->drain();
  logins.answers.front()->fulfill(ec{ec::none});
  CHECK(ec{get(kj::mv(login)).getError().getCode()} == ec::draining);
  CHECK(closed_for(close_reason::session_over));
}

TEST_CASE_FIXTURE(fixture, "a login may end after its connection has gone, whatever had begun to close it") {
  start();
  waiting_logins logins{*this};
  auto c = kj::heap<test_client>(*this);
  auto login = begin_login(*c).ignoreResult().eagerlyEvaluate([](kj::Exception&&) {});
  REQUIRE(until([&] { return logins.sinks.size() == 1; }));
  const auto ends = [&] {
    login = nullptr;
    c = nullptr;
    REQUIRE(until([&] { return server->connections() == 0; }));
    SUBCASE("it succeeds") {
      logins.answers.front()->fulfill(ec{ec::none});
    }
    SUBCASE("it is refused") {
      logins.answers.front()->fulfill(ec{ec::fenced});
    }
    SUBCASE("it throws") {
      logins.answers.front()->reject(KJ_EXCEPTION(FAILED, "the cluster"));
    }
  };
  SUBCASE("a drain") {
    server->drain();
    ends();
  }
  SUBCASE("a newer connection") {
    logins.sinks.front()->close(ec::fenced, 0);
    ends();
  }
  SUBCASE("nothing") {
    ends();
  }
  CHECK(until([&] { return shared.metrics.logins_failed == 1; }));
  CHECK(cluster.live_sessions == 0);
  CHECK(shared.metrics.logins == 0);
}

TEST_CASE_FIXTURE(fixture, "calls that begin after their connection has gone are refused, and ask nobody") {
  start();
  waiting_logins logins{*this};
  auto c = kj::heap<test_client>(*this);
  auto login = begin_login(*c).ignoreResult().eagerlyEvaluate([](kj::Exception&&) {});
  REQUIRE(until([&] { return logins.sinks.size() == 1; }));
  // The RPC system holds the door as long as a call to it waits for its turn; so does this.
  auto door = gateway::make_door(kj::addRef(logins.connection()));
  auto session = gateway::make_session(kj::addRef(logins.connection()));
  login = nullptr;
  c = nullptr;
  REQUIRE(until([&] { return server->connections() == 0; }));
  cluster.calls.clear();
  const auto refused = [&](auto request) {
    return ec{get(request.send()).getError().getCode()} == ec::session_closed;
  };
  auto hello = door.helloRequest();
  hello.setVersion(rpc::PROTOCOL_VERSION);
  CHECK(refused(kj::mv(hello)));
  auto code = door.requestCodeRequest();
  code.setPhone("+491234567");
  CHECK(refused(kj::mv(code)));
  auto registration = door.registerRequest();
  registration.setPhone("+491234567");
  registration.setCode("123456");
  const device_key key;
  const std::array<std::uint8_t, 16> ticket{};
  registration.setDeviceKey({key.public_half.data(), key.public_half.size()});
  registration.setTicket({ticket.data(), ticket.size()});
  CHECK(refused(kj::mv(registration)));
  CHECK(refused(door.loginRequest()));
  const auto token =
      gateway::encode_token(config.cluster, {user_id{1}, device_id{2}, inbox_pos{3}, clock.at});
  auto resume = door.resumeRequest();
  resume.setResumeToken(bytes_of(token));
  CHECK(refused(kj::mv(resume)));
  CHECK(refused(session.sendRequest()));
  CHECK(refused(session.syncRequest()));
  CHECK(refused(session.syncConversationRequest()));
  CHECK(refused(session.ackDeliveredRequest()));
  CHECK(refused(session.ackReadRequest()));
  CHECK(refused(session.openDirectRequest()));
  CHECK(refused(session.conversationsRequest()));
  CHECK(refused(session.receiveRequest()));
  get(session.pingRequest().send());
  get(session.logoutRequest().send());
  CHECK(cluster.calls.empty());
  logins.answers.front()->fulfill(ec{ec::unavailable});
}

TEST_CASE_FIXTURE(fixture, "calls that were pipelined behind a login that fails get the login's error") {
  start();
  test_client c{*this};
  const auto fails_with = [&](ec expected, auto&& login) {
    auto answer = login();
    auto session = answer.getSession();
    auto send = session.sendRequest();
    send.initId().setCounter(1);
    auto sent = send.send();
    auto page = session.syncRequest().send();
    auto ping = session.pingRequest().send();
    CHECK(ec{get(kj::mv(answer)).getError().getCode()} == expected);
    CHECK(ec{get(kj::mv(sent)).getError().getCode()} == expected);
    CHECK(ec{get(kj::mv(page)).getError().getCode()} == expected);
    get(kj::mv(ping));
  };
  fails_with(ec::bad_request, [&] { return c.door.loginRequest().send(); }); // without hello
  const auto proof = c.proof(c.key, user_id{7}, device_id{8});
  fails_with(ec::bad_signature, [&] { // nobody knows that device
    auto request = c.door.loginRequest();
    request.setUser(7);
    request.setDevice(8);
    request.setSessionNumber(1);
    request.setSignature(bytes_of(proof));
    return request.send();
  });
  fails_with(ec::bad_request, [&] {
    auto request = c.door.resumeRequest();
    request.setResumeToken(bytes_of("no token"));
    return request.send();
  });
  CHECK(server->connections() == 1);
}

TEST_CASE_FIXTURE(fixture, "a login that names the device's key is let in without a question for the key") {
  start();
  test_client c{*this};
  cluster.devices[{user_id{1}, device_id{2}}] = c.key.public_half;
  SUBCASE("login") {
    CHECK(name_key(c, c.key, c.key) == ec::none);
  }
  SUBCASE("resume") {
    std::string token;
    c.login(c.key, user_id{1}, device_id{2}, &token);
    cluster.calls.clear();
    test_client again{*this};
    const auto proof = again.proof(c.key, user_id{1}, device_id{2}, session_number{9});
    auto request = again.door.resumeRequest();
    request.setResumeToken(bytes_of(token));
    request.setSignature(bytes_of(proof));
    request.setSessionNumber(9);
    request.setDeviceKey({c.key.public_half.data(), c.key.public_half.size()});
    CHECK(ec{get(request.send()).getError().getCode()} == ec::none);
  }
  CHECK(cluster.calls.empty());
}

TEST_CASE_FIXTURE(fixture, "a login that names a key is refused if the key is not the device's") {
  start();
  test_client c{*this};
  const device_key other;
  cluster.devices[{user_id{1}, device_id{2}}] = c.key.public_half;
  SUBCASE("a key of one's own, with a good signature by it") {
    CHECK(name_key(c, other, other) == ec::bad_signature);
  }
  SUBCASE("the device's key, with a signature by another one: the cluster is not asked") {
    CHECK(name_key(c, other, c.key) == ec::bad_signature);
  }
  SUBCASE("a device that does not exist, which nobody must find out") {
    cluster.devices.clear();
    CHECK(name_key(c, c.key, c.key) == ec::bad_signature);
  }
  SUBCASE("bytes that are no key") {
    const auto proof = c.proof(c.key, user_id{1}, device_id{2}, session_number{1});
    auto request = c.door.loginRequest();
    request.setUser(1);
    request.setDevice(2);
    request.setSessionNumber(1);
    request.setSignature(bytes_of(proof));
    request.setDeviceKey({c.key.public_half.data(), c.key.public_half.size() - 1});
    CHECK(ec{get(request.send()).getError().getCode()} == ec::bad_request);
  }
  CHECK(cluster.opened.empty());
  CHECK(cluster.calls.empty());
  CHECK(cluster.live_sessions == 0);
}

TEST_CASE_FIXTURE(fixture, "a session that is logged in gets no further objects for logins that fail") {
  start();
  test_client c{*this};
  auto session = c.login();
  auto again = get(c.door.loginRequest().send());
  CHECK(ec{again.getError().getCode()} == ec::bad_request);
  CHECK_FALSE(again.hasSession());
}

TEST_CASE_FIXTURE(fixture, "after its last attempt a connection is told to come back anew, and is closed") {
  start();
  test_client c{*this};
  const auto proof = c.proof(c.key, user_id{7}, device_id{8});
  const auto attempt = [&] {
    auto request = c.door.loginRequest();
    request.setUser(7);
    request.setDevice(8);
    request.setSessionNumber(1);
    request.setSignature(bytes_of(proof));
    return get(request.send());
  };
  for (std::uint32_t i = 0; i < config.login_attempts_max; ++i)
    CHECK(ec{attempt().getError().getCode()} == ec::bad_signature);
  auto last = attempt();
  CHECK(ec{last.getError().getCode()} == ec::rate_limited);
  CHECK(last.getError().getRetryAfterMs() > 0);
  CHECK(closed_for(close_reason::refused));
}

TEST_CASE_FIXTURE(fixture, "two logins at once on one connection: the second is told to wait") {
  start();
  test_client c{*this};
  waiting_logins logins{*this};
  auto first = begin_login(c);
  REQUIRE(until([&] { return logins.sinks.size() == 1; }));
  auto second = get(begin_login(c));
  CHECK(ec{second.getError().getCode()} == ec::rate_limited);
  CHECK(second.getError().getRetryAfterMs() > 0);
  logins.answers.front()->fulfill(ec{ec::none});
  CHECK(get(kj::mv(first)).getError().getCode() == 0);
  CHECK(server->connections() == 1);
}

TEST_CASE_FIXTURE(fixture, "a key that anybody can sign for is no device's key") {
  start();
  test_client c{*this};
  const auto registered = [&](std::array<std::uint8_t, 32> key) {
    auto request = c.door.registerRequest();
    request.setPhone("+491234567");
    request.setCode("123456");
    request.setDeviceKey({key.data(), key.size()});
    const std::array<std::uint8_t, 16> ticket{};
    request.setTicket({ticket.data(), ticket.size()});
    return ec{get(request.send()).getError().getCode()};
  };
  std::array<std::uint8_t, 32> zero{}, one{1};
  CHECK(registered(zero) == ec::bad_request);
  CHECK(registered(one) == ec::bad_request);
  one.back() = 0x80; // the other sign
  CHECK(registered(one) == ec::bad_request);
  CHECK(cluster.calls.empty());
  CHECK(registered(c.key.public_half) ==
        ec::unavailable); // goes on to the cluster, which the test has not set up

  // What is weak about them: the signature of a point of order 1 over nothing holds for every message.
  std::array<std::uint8_t, 64> forged{1};
  std::array<std::uint8_t, 32> neutral{1};
  CHECK(gateway::verify_ed25519(neutral, "any message", forged));
  CHECK(gateway::is_weak_ed25519(neutral));
  for (int i = 0; i < 20; ++i)
    CHECK_FALSE(gateway::is_weak_ed25519(device_key{}.public_half));
}

// Peers that keep to the letter of the RPC protocol, and make Cap'n Proto keep more than they should.
#include "tests/protocol/gateway/bad_streams.hpp"
#include "tests/protocol/gateway/fixture.hpp"
#include "tests/protocol/gateway/hand_made.hpp"

#include "protocol/gateway/call_shape.hpp"
#include "protocol/gateway/open_questions.hpp"

#include <doctest/doctest.h>

#include <set>

using namespace parley;
using namespace parley::test;
using transport::close_reason;

namespace {

/// A raw client that has logged in: its questions 0 to 2 are taken.
struct insider {
  explicit insider(fixture& f) : it{f} {
    f.cluster.devices[{hostile_user, hostile_device}] = key.public_half;
    REQUIRE(it.handshake());
    REQUIRE(log_in(it, f, key));
  }
  device_key key;
  raw_client it;
};

/// Lets the server do what it has to do: somebody else's call is answered, several times.
void pass_time(test_client& somebody) {
  for (int i = 0; i < 5; ++i)
    somebody.hello();
}

} // namespace

TEST_CASE("a question is open until it is answered and finished, in either order, and once each") {
  gateway::open_questions open;
  CHECK(open.ask(1));
  CHECK_FALSE(open.ask(1));
  CHECK(open.ask(2));
  CHECK(open.unanswered() == 2);
  open.answered(1);
  CHECK(open.unanswered() == 1);
  CHECK(open.size() == 2);
  CHECK(open.finish(1));
  CHECK(open.size() == 1);
  CHECK_FALSE(open.finish(1));
  CHECK(open.finish(2)); // before its answer: it stays
  CHECK_FALSE(open.finish(2));
  CHECK_FALSE(open.ask(2));
  CHECK(open.size() == 1);
  open.answered(7); // an answer to nothing
  open.answered(2);
  CHECK(open.size() == 0);
  CHECK(open.unanswered() == 0);
  CHECK(open.ask(2));
}

TEST_CASE_FIXTURE(fixture, "results that are to be kept, and not sent to the caller, end the connection") {
  start();
  insider greedy{*this};
  std::string calls;
  for (std::uint32_t i = 0; i < 64; ++i)
    calls += session_call<rpc::Session::SyncConversationParams>(
        10 + i, 2, session_method::sync_conversation,
        [](auto& call, auto) { call.getSendResultsTo().setYourself(); });
  greedy.it.send(calls);
  CHECK(closed_for(close_reason::rpc_failed));
  CHECK(cluster.live_sessions == 0);
  for (const auto& c : cluster.calls)
    CHECK_FALSE(std::holds_alternative<core::sync_conversation>(c));
}

TEST_CASE_FIXTURE(fixture, "the gateway is one object for a connection, and is given out a few times only") {
  start();
  test_client decent{*this};
  raw_client greedy{*this};
  REQUIRE(greedy.handshake());
  std::string asks;
  for (std::uint32_t i = 0; i < config.bootstraps_max; ++i)
    asks += bootstrap_message(i);
  greedy.send(asks);
  std::set<std::uint32_t> exports, answered;
  REQUIRE(until([&] {
    greedy.ended();
    any_message(greedy.received, [&](capnp::rpc::Message::Reader m) {
      if (m.isReturn() && m.getReturn().isResults()) {
        answered.insert(m.getReturn().getAnswerId());
        for (const auto c : m.getReturn().getResults().getCapTable())
          exports.insert(c.getSenderHosted());
      }
      return false;
    });
    return answered.size() == config.bootstraps_max;
  }));
  CHECK(exports.size() == 1);
  greedy.send(bootstrap_message(config.bootstraps_max));
  CHECK(until([&] { return closes(close_reason::rpc_failed) == 1 && server->connections() == 1; }));
}

TEST_CASE_FIXTURE(fixture, "a client that has logged in does not get the gateway again") {
  start();
  insider greedy{*this};
  greedy.it.send(bootstrap_message(3));
  CHECK(closed_for(close_reason::rpc_failed));
}

TEST_CASE_FIXTURE(fixture,
                  "a call that is finished twice, or an id that is used twice, ends the connection") {
  start();
  std::vector<kj::Own<kj::PromiseFulfiller<core::answer>>> waiting;
  cluster.on_session_call = [&](core::call) -> kj::Promise<core::answer> {
    auto answer = kj::newPromiseAndFulfiller<core::answer>();
    waiting.push_back(kj::mv(answer.fulfiller));
    return kj::mv(answer.promise);
  };
  {
    insider greedy{*this};
    greedy.it.send(of_session(session_method::sync, 10) + finish_message(10) + finish_message(10));
    CHECK(closed_for(close_reason::rpc_failed));
  }
  insider greedy{*this};
  greedy.it.send(of_session(session_method::sync, 10) + finish_message(10) +
                 of_session(session_method::sync, 10));
  CHECK(until([&] { return closes(close_reason::rpc_failed) == 2 && server->connections() == 0; }));
}

TEST_CASE_FIXTURE(fixture, "calls that wait behind a login are under way, finished or not") {
  SUBCASE("within the bound of every connection") {
    config.calls_max = 8;
  }
  SUBCASE("within that of strangers") {
    config.calls_before_login_max = 8;
  }
  start();
  kj::Maybe<kj::Own<kj::PromiseFulfiller<core::answer>>> login;
  cluster.on_call = [&](core::call) -> kj::Promise<core::answer> {
    auto answer = kj::newPromiseAndFulfiller<core::answer>();
    login = kj::mv(answer.fulfiller);
    return kj::mv(answer.promise);
  };
  test_client somebody{*this};
  raw_client greedy{*this};
  REQUIRE(greedy.handshake());
  greedy.send(bootstrap_message() +
              door_call<rpc::Gateway::HelloParams>(
                  1, door_method::hello, [](auto&, auto p) { p.setVersion(rpc::PROTOCOL_VERSION); }) +
              door_call<rpc::Gateway::LoginParams>(2, door_method::login, [](auto&, auto p) {
                p.setUser(1);
                p.setSessionNumber(1);
                p.setSignature(bytes_of(std::string(64, 's')));
              }));
  std::string queued;
  for (std::uint32_t i = 10; i < 30; ++i)
    queued += of_session(session_method::ping, i) + finish_message(i);
  greedy.send(queued + words({512, 0})); // what comes behind the bound is not read before there is room
  REQUIRE(until([&] { return login != nullptr; }));
  pass_time(somebody);
  CHECK(closes(close_reason::bad_frame) == 0);
  CHECK(server->connections() == 2);
  KJ_ASSERT_NONNULL(login)->fulfill(core::refusal(core::call{core::find_device{}}, ec::unavailable));
  CHECK(until([&] { return closes(close_reason::bad_frame) == 1 && server->connections() == 1; }));
}

TEST_CASE("only the answer to a login holds an object that is called before the answer has come") {
  gateway::open_questions open;
  const auto asked = [](const std::string& bytes) {
    bool is_for_session = false;
    any_message(bytes, [&](capnp::rpc::Message::Reader m) {
      return is_for_session = gateway::is_for_session(m.getCall());
    });
    return is_for_session;
  };
  const auto nothing = [](auto&, auto) {};
  CHECK(asked(door_call<rpc::Gateway::LoginParams>(1, door_method::login, nothing)));
  CHECK(asked(door_call<rpc::Gateway::ResumeParams>(1, door_method::resume, nothing)));
  CHECK_FALSE(asked(door_call<rpc::Gateway::RequestCodeParams>(1, door_method::request_code, nothing)));
  CHECK_FALSE(asked(of_session(session_method::ack_delivered, 1))); // the same number of another interface
  CHECK_FALSE(asked(of_session(session_method::ack_read, 1)));
  open.ask(1);
  open.ask(2, true);
  CHECK(open.waits_in_vain(1));
  CHECK_FALSE(open.waits_in_vain(2));
  CHECK_FALSE(open.waits_in_vain(3)); // the RPC system says what is wrong with it
  open.answered(1);
  CHECK_FALSE(open.waits_in_vain(1)); // nor does it wait
}

TEST_CASE_FIXTURE(fixture, "once logged in, a call that would wait for nothing ends the connection") {
  start();
  kj::Maybe<kj::Own<kj::PromiseFulfiller<core::answer>>> page;
  cluster.on_session_call = [&](core::call) -> kj::Promise<core::answer> {
    auto answer = kj::newPromiseAndFulfiller<core::answer>();
    page = kj::mv(answer.fulfiller);
    return kj::mv(answer.promise);
  };
  insider it{*this};
  it.it.send(of_session(session_method::sync, 10));
  REQUIRE(until([&] { return page != nullptr; }));
  const auto on_page = [](std::uint32_t question) {
    return session_call<rpc::Session::AckDeliveredParams>(
        question, 10, session_method::ack_delivered,
        [](auto&, auto p) { p.setCursor(bytes_of(std::string(400'000, 'x'))); });
  };
  SUBCASE("before the answer: it would be kept, whole") {
    it.it.send(on_page(11));
    CHECK(closed_for(close_reason::rpc_failed));
  }
  SUBCASE("after the answer: it fails, and that is all") {
    KJ_ASSERT_NONNULL(page)->fulfill(core::answer{core::answer_to<core::pull_inbox>{core::inbox_page{}}});
    const auto answered = [&](std::uint32_t question) {
      return until([&] {
        it.it.ended();
        return answer_to<rpc::Session::SyncResults>(question, it.it.received).has_value();
      });
    };
    REQUIRE(answered(10));
    it.it.send(on_page(11));
    REQUIRE(answered(11));
    CHECK(answer_to<rpc::Session::SyncResults>(11, it.it.received)->exception);
    CHECK(server->connections() == 1);
  }
}

TEST_CASE_FIXTURE(fixture, "a receiver that is a promise may resolve once, to an object of the client") {
  start();
  cluster.queue.push_back(row(1, 10));
  const auto promised_receiver = receive_call(10, 2, [](auto c) { c.setSenderPromise(1); });
  std::uint64_t closed = 0;
  const auto ended = [&] {
    return until([&] { return closes(close_reason::rpc_failed) == closed && server->connections() == 0; });
  };
  SUBCASE("to another promise: closed") {
    insider greedy{*this};
    greedy.it.send(promised_receiver + resolve_message(1, [](auto c) { c.setSenderPromise(2); }));
    closed = 1;
    CHECK(ended());
  }
  SUBCASE("to something of the gateway's: closed") {
    insider greedy{*this};
    greedy.it.send(promised_receiver + resolve_message(1, [](auto c) { c.setReceiverHosted(0); }));
    closed = 1;
    CHECK(ended());
  }
  SUBCASE("to an object: rows are delivered to it") {
    insider decent{*this};
    decent.it.send(promised_receiver + resolve_message(1, [](auto c) { c.setSenderHosted(5); }));
    REQUIRE(until([&] { return !cluster.receiving_from.empty(); }));
    cluster.queue.push_back(row(2, 10));
    cluster.sinks.front()->rows_ready();
    CHECK(until([&] {
      decent.it.ended();
      return any_message(decent.it.received, [](capnp::rpc::Message::Reader m) {
        return m.isCall() && m.getCall().getInterfaceId() == capnp::typeId<rpc::Receiver>();
      });
    }));
    CHECK(server->connections() == 1);
  }
}

TEST_CASE_FIXTURE(
    fixture, "exports that do not exist, or are another connection's, and wrong counts end the connection") {
  start();
  test_client other{*this};
  auto session = other.login(); // its door and its session are exports of the other connection
  std::uint64_t closed = 0;
  const auto after = [&](const std::string& bytes) {
    insider greedy{*this};
    greedy.it.send(bytes);
    ++closed;
    return until([&] { return closes(close_reason::rpc_failed) == closed && server->connections() == 1; });
  };
  const auto call_to = [](std::uint32_t id) {
    capnp::MallocMessageBuilder m;
    auto call = m.initRoot<capnp::rpc::Message>().initCall();
    call.setQuestionId(10);
    call.initTarget().setImportedCap(id);
    call.setInterfaceId(capnp::typeId<rpc::Session>());
    call.setMethodId(static_cast<std::uint16_t>(session_method::ping));
    return flat(m);
  };
  for (const std::uint32_t id : {2U, 3U, 1'000U, ~0U}) {
    CAPTURE(id);
    CHECK(after(call_to(id)));
    CHECK(after(release_message(id, 1)));
  }
  CHECK(after(release_message(0, ~0U))); // more references than there are
  CHECK(after(finish_message(1'000)));
  get(session.pingRequest().send()); // the other connection goes on
}

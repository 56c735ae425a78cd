// Peers that call, but not as they should.
#include "tests/protocol/gateway/fixture.hpp"
#include "tests/protocol/gateway/hand_made.hpp"

#include "protocol/gateway/tokens.hpp"

#include <doctest/doctest.h>

using namespace parley;
using namespace parley::test;
using namespace std::chrono_literals;
using transport::close_reason;

namespace {

core::answer placed(core::placement p) {
  return core::answer{core::answer_to<core::submit>{p}};
}

} // namespace

TEST_CASE_FIXTURE(fixture, "a client that never finishes its calls is disconnected at the bound") {
  config.calls_max = 16;
  config.questions_max = 32;
  start();
  raw_client hoarder{*this};
  REQUIRE(hoarder.handshake());
  hoarder.send(bootstrap_message());
  for (std::uint32_t i = 1; i <= 40; ++i) {
    capnp::MallocMessageBuilder m;
    auto call = m.initRoot<capnp::rpc::Message>().initCall();
    call.setQuestionId(i);
    call.initTarget().initPromisedAnswer().setQuestionId(0);
    call.setInterfaceId(capnp::typeId<rpc::Gateway>());
    call.initParams().getContent().initAs<rpc::Gateway::HelloParams>().setVersion(rpc::PROTOCOL_VERSION);
    hoarder.send(flat(m));
  }
  CHECK(closed_for(close_reason::rpc_failed));
}

TEST_CASE_FIXTURE(fixture, "a client that finishes its calls may make any number of them") {
  config.calls_max = 16;
  config.questions_max = 32;
  start();
  test_client c{*this};
  for (int i = 0; i < 100; ++i)
    c.hello();
  CHECK(server->connections() == 1);
}

TEST_CASE_FIXTURE(fixture, "text that is not UTF-8 is refused as such") {
  start();
  test_client c{*this};
  auto request = c.door.registerRequest();
  request.setPhone("+491234567");
  request.setCode("123456");
  request.setDeviceKey(bytes_of(std::string(32, 'k')));
  request.setDeviceName("\xc3\x28");
  CHECK(get(request.send()).getError().getCode() == static_cast<int>(ec::bad_text));
  auto code = c.door.requestCodeRequest();
  code.setPhone("+49\xff\xfe 1234567");
  CHECK(get(code.send()).getError().getCode() == static_cast<int>(ec::bad_text));
  CHECK(cluster.calls.empty());
}

TEST_CASE_FIXTURE(fixture, "phones, codes and keys of the wrong shape are refused") {
  start();
  test_client c{*this};
  for (const auto* phone : {"", "491234567", "+123456", "+1234567890123456", "+12345x78"}) {
    auto code = c.door.requestCodeRequest();
    code.setPhone(phone);
    CHECK(get(code.send()).getError().getCode() == static_cast<int>(ec::bad_phone));
  }
  const auto registered = [&](const char* code, std::size_t key_bytes, std::size_t name_bytes,
                              std::size_t ticket_bytes = code_ticket_bytes) {
    auto request = c.door.registerRequest();
    request.setPhone("+491234567");
    request.setCode(code);
    request.setDeviceKey(bytes_of(std::string(key_bytes, 'k')));
    request.setDeviceName(std::string(name_bytes, 'n').c_str());
    request.setTicket(bytes_of(std::string(ticket_bytes, 't')));
    return ec{get(request.send()).getError().getCode()};
  };
  CHECK(registered("12345", 32, 1) == ec::code_wrong);
  CHECK(registered("123456", 31, 1) == ec::bad_request);
  CHECK(registered("123456", 32, 65) == ec::too_large);
  for (const std::size_t bytes : {0, 15, 17, 4'000}) { // of a ticket
    CHECK(registered("123456", 32, 1, bytes) == ec::bad_request);
    auto code = c.door.requestCodeRequest();
    code.setPhone("+491234567");
    code.setTicket(bytes_of(std::string(bytes, 't')));
    if (bytes != 0) // the node draws one
      CHECK(get(code.send()).getError().getCode() == static_cast<int>(ec::bad_request));
  }
  CHECK(cluster.calls.empty());
}

TEST_CASE_FIXTURE(fixture, "a method that does not exist is unimplemented, and the connection goes on") {
  start();
  test_client c{*this};
  auto request = c.door.typelessRequest(capnp::typeId<rpc::Gateway>(), 99, nullptr);
  request.initAs<rpc::Gateway::HelloParams>();
  try {
    get(request.send().ignoreResult());
    FAIL("a method that does not exist answered");
  } catch (const kj::Exception& e) {
    CHECK(e.getType() == kj::Exception::Type::UNIMPLEMENTED);
  }
  CHECK(c.hello().claim.node == config.node);
}

TEST_CASE_FIXTURE(fixture, "calls above the cap are not read until others are answered") {
  config.calls_max = 8;
  start();
  test_client c{*this};
  auto session = c.login();
  std::deque<kj::Own<kj::PromiseFulfiller<core::answer>>> waiting;
  std::size_t asked = 0;
  cluster.on_session_call = [&](core::call) -> kj::Promise<core::answer> {
    ++asked;
    auto answer = kj::newPromiseAndFulfiller<core::answer>();
    waiting.push_back(kj::mv(answer.fulfiller));
    return kj::mv(answer.promise);
  };
  constexpr std::size_t calls = 300;
  std::size_t answered = 0;
  kj::Vector<kj::Promise<void>> sends;
  for (std::size_t i = 1; i <= calls; ++i) {
    auto request = session.sendRequest();
    request.initId().setCounter(i);
    sends.add(request.send().then([&answered](auto&&) { ++answered; }).eagerlyEvaluate(nullptr));
  }
  REQUIRE(until([&] { return asked >= config.calls_max; }));
  std::size_t most = 0;
  REQUIRE(until([&] {
    most = std::max(most, waiting.size());
    if (!waiting.empty()) {
      waiting.front()->fulfill(placed({ec::none, seq_no{1}}));
      waiting.pop_front();
    }
    return answered == calls;
  }));
  CHECK(asked == calls);
  CHECK(most <= config.calls_max + 2); // what was read in the same turn still starts
}

TEST_CASE_FIXTURE(
    fixture, "a client that stops reading is disconnected, and what it has not received stays in its inbox") {
  config.receiver_deadline = 100ms;
  start();
  test_client c{*this};
  auto session = c.login();
  test_receiver::record got;
  auto request = session.receiveRequest();
  request.setReceiver(kj::heap<test_receiver>(got));
  get(request.send());
  c.stream->hold_reads();
  for (std::uint64_t i = 1; i <= 200; ++i)
    cluster.queue.push_back(row(i, 4096));
  cluster.sinks.front()->rows_ready();
  CHECK(closed_for(close_reason::receiver_stalled));
  CHECK(cluster.live_sessions == 0);
  CHECK(cluster.queue.size() > 150); // about a window was taken, not all
}

TEST_CASE_FIXTURE(fixture, "a client whose receiver never returns is disconnected") {
  config.receiver_deadline = 100ms;
  start();
  test_client c{*this};
  auto session = c.login();
  test_receiver::record got;
  got.hangs = true;
  auto request = session.receiveRequest();
  request.setReceiver(kj::heap<test_receiver>(got));
  get(request.send());
  for (std::uint64_t i = 1; i <= 100; ++i)
    cluster.queue.push_back(row(i, 4096));
  cluster.sinks.front()->rows_ready();
  CHECK(closed_for(close_reason::receiver_stalled));
}

TEST_CASE_FIXTURE(fixture,
                  "answers to a client that does not read are bounded, and then it is disconnected") {
  config.stream.outbound_pause_bytes = 128 * 1024;
  config.stream.outbound_bytes_max = 8 * 1024 * 1024;
  config.stream.write_deadline = 200ms;
  start();
  test_client c{*this};
  auto session = c.login();
  cluster.on_session_call = [](core::call) -> kj::Promise<core::answer> {
    core::inbox_page page;
    for (std::uint64_t i = 1; i <= 15; ++i)
      page.rows.push_back(row(i, 60'000));
    page.next = inbox_pos{15};
    return core::answer{core::answer_to<core::pull_inbox>{std::move(page)}};
  };
  c.stream->hold_reads();
  kj::Vector<kj::Promise<void>> pages;
  CHECK(until([&] {
    if (pages.size() < 40)
      pages.add(session.syncRequest()
                    .send()
                    .ignoreResult()
                    .catch_([](kj::Exception&&) {})
                    .eagerlyEvaluate(nullptr));
    return closes(close_reason::write_deadline) == 1;
  }));
}

TEST_CASE_FIXTURE(fixture, "an exception inside the gateway reaches the peer as an error code only") {
  start();
  test_client c{*this};
  auto session = c.login();
  const auto check = [&] {
    auto request = session.sendRequest();
    request.initId().setCounter(1);
    auto answer = get(request.send());
    CHECK(answer.getError().getCode() == static_cast<int>(ec::internal));
    const std::string sentence = answer.getError().getSentence().cStr();
    CHECK(sentence.find("secret") == std::string::npos);
    CHECK(sentence.find(".cpp") == std::string::npos);
  };
  cluster.on_session_call = [](core::call) -> kj::Promise<core::answer> {
    throw std::runtime_error("secret");
  };
  check();
  cluster.on_session_call = [](core::call) -> kj::Promise<core::answer> {
    return KJ_EXCEPTION(FAILED, "secret");
  };
  check();
  // An answer of another kind than the call.
  cluster.on_session_call = [](core::call) -> kj::Promise<core::answer> {
    return core::answer{core::answer_to<core::pull_inbox>{core::inbox_page{}}};
  };
  check();
  CHECK(shared.metrics.internal_errors == 3);
}

TEST_CASE_FIXTURE(fixture, "a call whose connection goes while it is under way is no fault of the node") {
  start();
  std::vector<kj::Own<kj::PromiseFulfiller<core::answer>>> asked;
  cluster.on_session_call = [&](core::call) {
    auto answer = kj::newPromiseAndFulfiller<core::answer>();
    asked.push_back(kj::mv(answer.fulfiller));
    return kj::mv(answer.promise);
  };
  {
    test_client c{*this};
    auto session = c.login();
    auto request = session.sendRequest();
    request.initId().setCounter(1);
    auto sent = request.send().ignoreResult().eagerlyEvaluate([](kj::Exception&&) {});
    REQUIRE(until([&] { return asked.size() == 1; }));
  }
  REQUIRE(until([&] { return server->connections() == 0; }));
  asked.clear(); // as a session does that is destroyed
  test_client other{*this};
  other.login();
  CHECK(shared.metrics.internal_errors == 0);
}

TEST_CASE_FIXTURE(fixture, "a login proof made for another connection is refused") {
  start();
  test_client first{*this};
  cluster.devices[{user_id{1}, device_id{2}}] = first.key.public_half;
  const auto proof = first.proof(first.key, user_id{1}, device_id{2});
  test_client second{*this};
  second.hello();
  auto request = second.door.loginRequest();
  request.setUser(1);
  request.setDevice(2);
  request.setSignature(bytes_of(proof));
  request.setSessionNumber(1);
  auto answer = get(request.send());
  CHECK(answer.getError().getCode() == static_cast<int>(ec::bad_signature));
  CHECK(shared.metrics.logins_failed == 1);
  CHECK(cluster.live_sessions == 0);
}

TEST_CASE_FIXTURE(fixture,
                  "a login or resume with no session number, with one that was not signed, or with one of a "
                  "clock that is far ahead, is refused") {
  start();
  device_key key;
  cluster.devices[{user_id{1}, device_id{2}}] = key.public_half;
  const auto token =
      gateway::encode_token(config.cluster, {user_id{1}, device_id{2}, inbox_pos{3}, clock.at});
  const auto attempt = [&](bool resumes, std::uint64_t signed_for, std::uint64_t said) {
    test_client c{*this};
    const auto proof = c.proof(key, user_id{1}, device_id{2}, session_number{signed_for});
    if (resumes) {
      auto request = c.door.resumeRequest();
      request.setResumeToken(bytes_of(token));
      request.setSignature(bytes_of(proof));
      request.setSessionNumber(said);
      return ec{get(request.send()).getError().getCode()};
    }
    auto request = c.door.loginRequest();
    request.setUser(1);
    request.setDevice(2);
    request.setSignature(bytes_of(proof));
    request.setSessionNumber(said);
    return ec{get(request.send()).getError().getCode()};
  };
  for (const bool resumes : {false, true}) {
    CAPTURE(resumes);
    CHECK(attempt(resumes, 0, 0) == ec::bad_request);
    CHECK(attempt(resumes, 5, 6) == ec::bad_signature);
  }
  CHECK(cluster.opened.empty());
  CHECK(attempt(false, 5, 5) == ec::none);
  const auto newest =
      static_cast<std::uint64_t>(clock.at) + 24 * 3'600'000; // a day ahead of the node's clock
  CHECK(attempt(true, newest, newest) == ec::none);
  CHECK(cluster.opened == std::vector{session_number{5}, session_number{newest}});
  for (const std::uint64_t beyond : {newest + 1, ~std::uint64_t{0} / 2,
                                     ~std::uint64_t{0}}) // no number would be left for the login after it
    for (const bool resumes : {false, true})
      CHECK(attempt(resumes, beyond, beyond) == ec::session_ahead);
  CHECK(cluster.opened.size() == 2);
}

TEST_CASE_FIXTURE(fixture, "another device's key does not open this device's session") {
  start();
  test_client c{*this};
  cluster.devices[{user_id{1}, device_id{2}}] = c.key.public_half;
  device_key other;
  cluster.devices[{user_id{1}, device_id{3}}] = other.public_half;
  const auto attempt = [&](std::uint64_t user, std::uint64_t device, const std::string& proof) {
    auto request = c.door.loginRequest();
    request.setUser(user);
    request.setDevice(device);
    request.setSignature(bytes_of(proof));
    request.setSessionNumber(1);
    return ec{get(request.send()).getError().getCode()};
  };
  CHECK(attempt(1, 2, c.proof(other, user_id{1}, device_id{2})) == ec::bad_signature);
  CHECK(attempt(1, 2, c.proof(c.key, user_id{1}, device_id{3})) == ec::bad_signature);
  // Nobody learns who is registered.
  CHECK(attempt(99, 2, c.proof(c.key, user_id{99}, device_id{2})) == ec::bad_signature);
  // The attempts of one connection are counted.
  CHECK(attempt(1, 2, c.proof(c.key, user_id{1}, device_id{2})) == ec::rate_limited);
}

TEST_CASE_FIXTURE(fixture, "login without hello, with a short signature, or twice is refused") {
  start();
  test_client c{*this};
  const auto attempt = [&](std::size_t bytes) {
    auto request = c.door.loginRequest();
    request.setSignature(bytes_of(std::string(bytes, 's')));
    request.setSessionNumber(1);
    return ec{get(request.send()).getError().getCode()};
  };
  CHECK(attempt(64) == ec::bad_request);
  c.hello();
  CHECK(attempt(63) == ec::bad_signature);
  auto session = c.login();
  CHECK(attempt(64) == ec::bad_request);
}

TEST_CASE_FIXTURE(fixture, "a body above 64 KiB is too large, one of 64 KiB is not") {
  start();
  test_client c{*this};
  auto session = c.login();
  cluster.on_session_call = [](core::call) -> kj::Promise<core::answer> {
    return placed({ec::none, seq_no{5}});
  };
  const auto send = [&](std::size_t bytes, std::uint64_t counter) {
    auto request = session.sendRequest();
    request.initId().setCounter(counter);
    request.setBody(bytes_of(std::string(bytes, 'b')));
    return ec{get(request.send()).getError().getCode()};
  };
  CHECK(send(65'537, 1) == ec::too_large);
  CHECK(send(65'536, 1) == ec::none);
  CHECK(send(1, 0) == ec::bad_request); // counters begin at 1
}

TEST_CASE_FIXTURE(fixture,
                  "refusals of the conversation reach the sender, a conflict with its first answer") {
  start();
  test_client c{*this};
  auto session = c.login();
  core::placement answer{ec::retry_too_old};
  cluster.on_session_call = [&](core::call) -> kj::Promise<core::answer> { return placed(answer); };
  const auto send = [&] {
    auto request = session.sendRequest();
    request.initId().setCounter(1);
    return get(request.send());
  };
  auto old = send();
  CHECK(old.getError().getCode() == static_cast<int>(ec::retry_too_old));
  CHECK(old.getSeq() == 0);
  answer = {ec::conflict, seq_no{9}, {1, 2}, unix_ms{5}, 1};
  auto conflict = send();
  CHECK(conflict.getError().getCode() == static_cast<int>(ec::conflict));
  CHECK(conflict.getSeq() == 9);
  CHECK(conflict.getMsgId().getLo() == 2);
  answer = {ec::rate_limited, {}, {}, {}, 0, 1500};
  CHECK(send().getError().getRetryAfterMs() == 1500);
  CHECK(shared.metrics.send_errors[error_row(ec::rate_limited)] == 1);
}

TEST_CASE_FIXTURE(fixture,
                  "cursors of others, and bytes that are no cursor, are refused; huge limits are capped") {
  start();
  test_client c{*this};
  auto session = c.login();
  cluster.on_session_call = [](core::call) -> kj::Promise<core::answer> {
    return core::answer{core::answer_to<core::pull_inbox>{core::inbox_page{}}};
  };
  const auto sync = [&](const std::string& cursor, std::uint32_t limit) {
    auto request = session.syncRequest();
    request.setCursor(bytes_of(cursor));
    request.setLimit(limit);
    return ec{get(request.send()).getError().getCode()};
  };
  const auto mine = gateway::encode_cursor(config.cluster, user_id{1}, inbox_pos{7});
  CHECK(sync(gateway::encode_cursor(config.cluster, user_id{2}, inbox_pos{7}), 10) == ec::bad_cursor);
  CHECK(sync(gateway::encode_cursor({1, 1}, user_id{1}, inbox_pos{7}), 10) == ec::bad_cursor);
  CHECK(sync(std::string(1000, 'c'), 10) == ec::bad_cursor);
  CHECK(sync(mine.substr(1), 10) == ec::bad_cursor);
  cluster.calls.clear();
  CHECK(sync(mine, 0xffffffff) == ec::none);
  const auto asked = std::get<core::pull_inbox>(cluster.calls.at(0));
  CHECK(asked.limit == config.page_items_max);
  CHECK(asked.after == inbox_pos{7});
}

TEST_CASE_FIXTURE(fixture,
                  "an acknowledgement beyond the end gets the inbox's answer, an empty one is a no-op") {
  start();
  test_client c{*this};
  auto session = c.login();
  cluster.on_session_call = [](core::call) -> kj::Promise<core::answer> {
    return core::answer{core::answer_to<core::acknowledge>{core::done{ec::bad_cursor}}};
  };
  cluster.calls.clear();
  auto request = session.ackDeliveredRequest();
  request.setCursor(bytes_of(gateway::encode_cursor(config.cluster, user_id{1}, inbox_pos{1ull << 60})));
  CHECK(get(request.send()).getError().getCode() == static_cast<int>(ec::bad_cursor));
  CHECK(cluster.calls.size() == 1);
  CHECK(get(session.ackDeliveredRequest().send()).getError().getCode() == 0);
  CHECK(cluster.calls.size() == 1);
}

TEST_CASE_FIXTURE(fixture, "a session that has ended refuses calls") {
  start();
  test_client c{*this};
  auto session = c.login();
  auto logout = session.logoutRequest().send();
  auto late = session.sendRequest();
  late.initId().setCounter(1);
  auto answer = late.send();
  get(kj::mv(logout));
  CHECK(get(kj::mv(answer)).getError().getCode() == static_cast<int>(ec::session_closed));
  CHECK(cluster.live_sessions == 0);
  CHECK(closed_for(close_reason::session_over));
}

TEST_CASE_FIXTURE(fixture, "the number of pages under way is bounded") {
  config.pages_max = 2;
  start();
  test_client c{*this};
  auto session = c.login();
  kj::Vector<kj::Own<kj::PromiseFulfiller<core::answer>>> waiting;
  cluster.on_session_call = [&](core::call) -> kj::Promise<core::answer> {
    auto answer = kj::newPromiseAndFulfiller<core::answer>();
    waiting.add(kj::mv(answer.fulfiller));
    return kj::mv(answer.promise);
  };
  auto first = session.syncRequest().send();
  auto second = session.syncRequest().send();
  auto third = get(session.syncRequest().send());
  CHECK(third.getError().getCode() == static_cast<int>(ec::overloaded));
  CHECK(third.getError().getRetryAfterMs() > 0);
  CHECK(shared.metrics.refused_for(gateway::bound::pages) == 1);
  for (auto& w : waiting)
    w->fulfill(core::answer{core::answer_to<core::pull_inbox>{core::inbox_page{}}});
  CHECK(get(kj::mv(first)).getError().getCode() == 0);
  CHECK(get(kj::mv(second)).getError().getCode() == 0);
}

TEST_CASE_FIXTURE(fixture, "an address that asks for too many codes has to wait") {
  config.codes_burst = 2;
  config.code_every = 1h;
  start();
  cluster.on_call = [](core::call) -> kj::Promise<core::answer> {
    return core::answer{core::answer_to<core::request_code>{core::code_issued{}}};
  };
  test_client c{*this};
  const auto ask = [&] {
    auto request = c.door.requestCodeRequest();
    request.setPhone("+491234567");
    return get(request.send());
  };
  CHECK(ask().getError().getCode() == 0);
  CHECK(ask().getError().getCode() == 0);
  auto limited = ask();
  CHECK(limited.getError().getCode() == static_cast<int>(ec::rate_limited));
  CHECK(limited.getError().getRetryAfterMs() > 1'000'000);
  CHECK(shared.metrics.refused_for(gateway::bound::codes_of_address) == 1);
  CHECK(codes.sent.size() == 2);
}

TEST_CASE_FIXTURE(fixture, "who looks for many people has to wait, and who finds nobody waits sooner") {
  config.lookups_burst = 10;
  config.lookup_every = 1h;
  start();
  bool known = true;
  std::uint8_t existed = 0;
  cluster.on_session_call = [&](core::call c) -> kj::Promise<core::answer> {
    if (std::holds_alternative<core::find_phone>(c))
      return core::answer{core::answer_to<core::find_phone>{
          core::found_phone{known ? ec::none : ec::no_such_user, user_id{known ? 5u : 0u}}}};
    if (std::holds_alternative<core::find_device>(c)) {
      core::found_device found;
      found.error = ec::no_such_user;
      return core::answer{core::answer_to<core::find_device>{found}};
    }
    return core::answer{core::answer_to<core::open_conversation>{core::opened{ec::none, {5, 6}, 0, existed}}};
  };
  const auto tries = [&](rpc::Session::Client& session, ec expected, bool by_id = false) {
    for (int n = 0;; ++n) {
      auto request = session.openDirectRequest();
      if (by_id)
        request.setUser(77);
      else
        request.setPhone("+491234567");
      auto answer = get(request.send());
      const ec got{answer.getError().getCode()};
      if (got == ec::rate_limited) {
        CHECK(answer.getError().getRetryAfterMs() > 1'000'000);
        return n;
      }
      CHECK(got == expected);
      if (n > 20)
        return n;
    }
  };
  {
    test_client c{*this};
    auto session = c.login();
    CHECK(tries(session, ec::none) == 6); // one each, while five are left for one that finds nobody
  }
  {
    test_client again{*this}; // a new connection is the same user
    auto session = again.login();
    CHECK(tries(session, ec::none) == 0);
  }
  existed = 1;
  {
    test_client c{*this};
    cluster.devices[{user_id{9}, device_id{2}}] = c.key.public_half;
    auto session = c.login(c.key, user_id{9}, device_id{2});
    CHECK(tries(session, ec::none) > 20); // who asks for the same conversation again looks for nobody
  }
  existed = 0;
  known = false;
  for (const bool by_id : {false, true}) {
    test_client c{*this};
    const user_id other{by_id ? 3u : 2u};
    cluster.devices[{other, device_id{2}}] = c.key.public_half;
    auto session = c.login(c.key, other, device_id{2});
    CHECK(tries(session, ec::no_such_user, by_id) == 2); // each costs five
  }
  test_client c{*this}; // and many at once cost no less than one after the other
  cluster.devices[{user_id{4}, device_id{2}}] = c.key.public_half;
  auto session = c.login(c.key, user_id{4}, device_id{2});
  kj::Vector<kj::Promise<void>> at_once;
  std::map<ec, int> all;
  for (int i = 0; i < 10; ++i) {
    auto request = session.openDirectRequest();
    request.setPhone("+491234567");
    at_once.add(request.send().then([&](auto r) { ++all[ec{r.getError().getCode()}]; }));
  }
  get(kj::joinPromises(at_once.releaseAsArray()));
  CHECK(all == std::map<ec, int>{{ec::no_such_user, 2}, {ec::rate_limited, 8}});
}

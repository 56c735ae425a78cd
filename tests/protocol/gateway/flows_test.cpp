// What a decent client does, and what it is told when the server ends it.
#include "tests/protocol/gateway/fixture.hpp"

#include "protocol/gateway/crypto.hpp"
#include "protocol/gateway/tokens.hpp"
#include "protocol/values/sha256.hpp"
#include "protocol/wire/codec.hpp"

#include <doctest/doctest.h>

using namespace parley;
using namespace parley::test;
using namespace std::chrono_literals;
using transport::close_reason;

namespace {

capnp::Data::Reader bytes_of(std::string_view s) {
  return {reinterpret_cast<const kj::byte*>(s.data()), s.size()};
}

ec receive(fixture& f, rpc::Session::Client& session, test_receiver::record& got,
           const std::string& cursor = {}) {
  auto request = session.receiveRequest();
  request.setReceiver(kj::heap<test_receiver>(got));
  request.setCursor(bytes_of(cursor));
  return ec{f.get(request.send()).getError().getCode()};
}

} // namespace

TEST_CASE_FIXTURE(fixture, "another protocol version is refused, and the supported one is named") {
  start();
  test_client c{*this};
  auto request = c.door.helloRequest();
  request.setVersion(99);
  auto answer = get(request.send());
  CHECK(answer.getError().getCode() == static_cast<int>(ec::unsupported_version));
  CHECK(answer.getVersion() == rpc::PROTOCOL_VERSION);
}

TEST_CASE_FIXTURE(
    fixture,
    "a phone number that is confirmed by its code registers a device, and the same one when repeated") {
  start();
  body_hash issued{}, its_ticket{};
  cluster.on_call = [&](core::call what) -> kj::Promise<core::answer> {
    if (const auto* r = std::get_if<core::request_code>(&what)) {
      issued = r->code_hash;
      its_ticket = r->ticket;
      return core::answer{core::answer_to<core::request_code>{{ec::none, 0, 0, 600'000}}};
    }
    if (std::holds_alternative<core::report_code>(what))
      return core::answer{core::answer_to<core::report_code>{}};
    if (const auto* r = std::get_if<core::confirm_code>(&what))
      return core::answer{core::answer_to<core::confirm_code>{
          core::redeemed{r->code_hash == issued ? ec::none : ec::code_wrong, user_id{77}, 1}}};
    return core::answer{core::answer_to<core::add_device>{core::done{}}};
  };
  test_client c{*this};
  auto code = c.door.requestCodeRequest();
  code.setPhone("+491234567");
  auto sent = get(code.send());
  CHECK(sent.getError().getCode() == 0);
  CHECK(sent.getExpiresInS() == 600);
  const std::string ticket{wire::view(sent.getTicket())};
  CHECK(ticket.size() == code_ticket_bytes);
  CHECK(gateway::hash_of_ticket(ticket) == its_ticket);
  REQUIRE(codes.sent.size() == 1);
  CHECK(codes.sent[0].first == "+491234567");
  const auto attempt = [&](const std::string& digits) {
    auto request = c.door.registerRequest();
    request.setPhone("+491234567");
    request.setCode(digits.c_str());
    request.setDeviceKey({c.key.public_half.data(), c.key.public_half.size()});
    request.setDeviceName("phone");
    request.setTicket(bytes_of(ticket));
    return get(request.send());
  };
  const auto right = codes.sent[0].second;
  const std::string wrong = right == "000000" ? "000001" : "000000";
  CHECK(attempt(wrong).getError().getCode() == static_cast<int>(ec::code_wrong));
  auto first = attempt(right);
  CHECK(first.getError().getCode() == 0);
  CHECK(first.getUser() == 77);
  CHECK(first.getDevice() != 0);
  const auto confirmed = std::get<core::confirm_code>(cluster.calls[cluster.calls.size() - 2]);
  CHECK(confirmed.key_hash == gateway::hash_of_key(c.key.public_half)); // the code is bound to this key
  auto again = attempt(right);
  CHECK(again.getDevice() == first.getDevice());
  const auto added = std::get<core::add_device>(cluster.calls.back());
  CHECK(added.user == user_id{77});
  CHECK(added.device.name == "phone");
  CHECK(added.device.key == c.key.public_half);
}

TEST_CASE_FIXTURE(fixture, "a session that the cluster does not open is refused with its reason") {
  start();
  cluster.open_error = ec::unavailable;
  test_client c{*this};
  cluster.devices[{user_id{1}, device_id{2}}] = c.key.public_half;
  const auto proof = c.proof(c.key, user_id{1}, device_id{2});
  auto request = c.door.loginRequest();
  request.setUser(1);
  request.setDevice(2);
  request.setSignature(bytes_of(proof));
  request.setSessionNumber(1);
  CHECK(get(request.send()).getError().getCode() == static_cast<int>(ec::unavailable));
  cluster.open_error = ec::none;
  auto session = c.login(); // the same connection may try again
  CHECK(cluster.live_sessions == 1);
}

TEST_CASE_FIXTURE(fixture, "a send that lost its answer to a reset gets the same answer when repeated") {
  start();
  std::map<std::uint64_t, std::uint64_t> stored;
  std::vector<core::submission> asked;
  cluster.on_session_call = [&](core::call what) -> kj::Promise<core::answer> {
    const auto s = std::get<core::submit>(what).what;
    asked.push_back(s);
    const auto known = stored.contains(s.id.counter);
    const auto seq = stored.try_emplace(s.id.counter, stored.size() + 1).first->second;
    core::placement p;
    p.seq = seq_no{seq};
    p.duplicate = known ? 1 : 0;
    return core::answer{core::answer_to<core::submit>{p}};
  };
  device_key key;
  cluster.devices[{user_id{1}, device_id{2}}] = key.public_half;
  const auto send = [](rpc::Session::Client& session) {
    auto request = session.sendRequest();
    request.initConversation().setHi(3);
    request.initId().setCounter(41);
    request.setBody(bytes_of("hello"));
    return request.send();
  };
  {
    test_client c{*this};
    auto session = c.login(key, user_id{1}, device_id{2});
    auto lost = send(session);
    REQUIRE(until([&] { return asked.size() == 1; }));
    c.stream->close(close_reason::local);
  }
  REQUIRE(until([&] { return server->connections() == 0; }));
  CHECK(cluster.live_sessions == 0);
  test_client c{*this};
  auto session = c.login(key, user_id{1}, device_id{2});
  auto answer = get(send(session));
  CHECK(answer.getSeq() == 1);
  CHECK(answer.getDuplicate());
  REQUIRE(asked.size() == 2);
  CHECK(asked[0].id == asked[1].id);
  CHECK(asked[0].hash == asked[1].hash);
  CHECK(asked[1].hash == sha256("hello"));
  CHECK(asked[1].from == user_id{1});
  CHECK(asked[1].id.device == device_id{2});
  CHECK(asked[1].at == clock.at);
}

TEST_CASE_FIXTURE(fixture, "a page ends at its bound of bytes, and the next one continues there") {
  config.page_bytes_max = 10'000;
  start();
  test_client c{*this};
  auto session = c.login();
  cluster.on_session_call = [](core::call what) -> kj::Promise<core::answer> {
    core::inbox_page page;
    for (auto i = number(std::get<core::pull_inbox>(what).after) + 1; i <= 10; ++i)
      page.rows.push_back(row(i, 3000));
    page.next = inbox_pos{10};
    return core::answer{core::answer_to<core::pull_inbox>{std::move(page)}};
  };
  std::vector<std::uint64_t> seqs;
  std::string cursor;
  std::size_t pages = 0;
  for (bool more = true; more && pages < 20; ++pages) {
    auto request = session.syncRequest();
    request.setCursor(bytes_of(cursor));
    auto page = get(request.send());
    REQUIRE(page.getError().getCode() == 0);
    for (const auto item : page.getItems())
      seqs.push_back(item.getMessage().getIt().getSeq());
    cursor.assign(reinterpret_cast<const char*>(page.getNext().begin()), page.getNext().size());
    more = page.getMore();
  }
  CHECK(pages == 4);
  CHECK(seqs == std::vector<std::uint64_t>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10});
}

TEST_CASE_FIXTURE(fixture, "a page of a megabyte arrives") {
  start();
  test_client c{*this};
  auto session = c.login();
  cluster.on_session_call = [](core::call) -> kj::Promise<core::answer> {
    core::inbox_page page;
    for (std::uint64_t i = 1; i <= 20; ++i)
      page.rows.push_back(row(i, 60'000));
    return core::answer{core::answer_to<core::pull_inbox>{std::move(page)}};
  };
  auto page = get(session.syncRequest().send());
  CHECK(page.getItems().size() == 17);
  CHECK(page.getMore());
}

TEST_CASE_FIXTURE(fixture, "deliveries keep their order, and begin behind what the device acknowledged") {
  cluster.acknowledged = inbox_pos{5};
  start();
  test_client c{*this};
  auto session = c.login();
  test_receiver::record got;
  REQUIRE(receive(*this, session, got) == ec::none);
  CHECK(cluster.receiving_from == std::vector<inbox_pos>{inbox_pos{5}});
  for (std::uint64_t i = 6; i <= 1005; ++i)
    cluster.queue.push_back(row(i, 200));
  cluster.sinks.front()->rows_ready();
  REQUIRE(until([&] { return got.seqs.size() == 1000; }));
  for (std::size_t i = 0; i < got.seqs.size(); ++i)
    REQUIRE(got.seqs[i] == i + 6);
  CHECK(got.delivers < 100); // several rows per call
  CHECK(gateway::decode_cursor(config.cluster, user_id{1}, got.cursor) == inbox_pos{1005});
  CHECK(shared.metrics.rows_delivered == 1000);
  CHECK(shared.metrics.taken_to_written.count > 0);
  CHECK(shared.metrics.applied_to_written.count == 0); // fetched from storage: since when says nothing
}

TEST_CASE_FIXTURE(
    fixture, "the time from commit to socket is measured for each pushed row, with its way between nodes") {
  start();
  test_client c{*this};
  auto session = c.login();
  test_receiver::record got;
  REQUIRE(receive(*this, session, got) == ec::none);
  cluster.applied_at = std::chrono::steady_clock::now() - std::chrono::hours{1};
  for (std::uint64_t i = 1; i <= 10; ++i)
    cluster.queue.push_back(row(i, 200));
  cluster.sinks.front()->rows_ready();
  REQUIRE(until([&] { return shared.metrics.applied_to_written.count == 10; }));
  CHECK(shared.metrics.applied_to_written.sum_us >= 36'000'000'000ULL);
}

TEST_CASE_FIXTURE(fixture, "a second receiver replaces the first") {
  start();
  test_client c{*this};
  auto session = c.login();
  test_receiver::record first, second;
  REQUIRE(receive(*this, session, first) == ec::none);
  REQUIRE(receive(*this, session, second, gateway::encode_cursor(config.cluster, user_id{1}, inbox_pos{3})) ==
          ec::none);
  CHECK(cluster.receiving_from.back() == inbox_pos{3});
  cluster.queue.push_back(row(4, 10));
  cluster.sinks.front()->rows_ready();
  REQUIRE(until([&] { return second.seqs.size() == 1; }));
  CHECK(first.seqs.empty());
}

TEST_CASE_FIXTURE(fixture, "receiving again without a cursor begins behind what was acknowledged meanwhile") {
  start();
  test_client c{*this};
  auto session = c.login();
  test_receiver::record got;
  REQUIRE(receive(*this, session, got) == ec::none);
  cluster.on_session_call = [](core::call) -> kj::Promise<core::answer> {
    return core::answer{core::answer_to<core::acknowledge>{core::done{}}};
  };
  auto ack = session.ackDeliveredRequest();
  ack.setCursor(bytes_of(gateway::encode_cursor(config.cluster, user_id{1}, inbox_pos{9})));
  CHECK(get(ack.send()).getError().getCode() == 0);
  REQUIRE(receive(*this, session, got) == ec::none);
  CHECK(cluster.receiving_from.back() == inbox_pos{9});
}

TEST_CASE_FIXTURE(fixture,
                  "a device that has logged in is told where other nodes are reached, a bounded number") {
  gateway::node_addresses::list all;
  for (std::uint64_t n = 1; n <= 20; ++n)
    all.emplace_back(node_id{n}, "node" + std::to_string(n) + ".example:7000");
  all[3].second.clear(); // it has not said where
  all[4].second = std::string(1'000, 'x');
  gateway::node_addresses nodes;
  CHECK(nodes.others(node_id{1}).empty());
  nodes.set(all);
  const auto told = nodes.others(node_id{1});
  REQUIRE(told.size() == gateway::node_addresses::told_max);
  CHECK(told[0] == "node2.example:7000");
  CHECK(told[2] == "node6.example:7000");
  CHECK(nodes.others(node_id{20}).front() == "node1.example:7000");
  CHECK(nodes.others(node_id{99}).size() == gateway::node_addresses::told_max);

  start();
  shared.nodes.set({{config.node, "self.example:7000"}, {node_id{77}, "other.example:7000"}});
  test_client c{*this};
  cluster.devices[{user_id{1}, device_id{2}}] = c.key.public_half;
  const auto signature = c.proof(c.key, user_id{1}, device_id{2});
  auto request = c.door.loginRequest();
  request.setUser(1);
  request.setDevice(2);
  request.setSignature(bytes_of(signature));
  request.setSessionNumber(1);
  const auto answer = get(request.send());
  REQUIRE(answer.getNodes().size() == 1);
  CHECK(std::string{answer.getNodes()[0].cStr()} == "other.example:7000");
}

TEST_CASE_FIXTURE(fixture, "a cursor is compared with what the device acknowledged last") {
  cluster.acknowledged = inbox_pos{5};
  start();
  test_client c{*this};
  auto session = c.login();
  const auto cursor = [&](std::uint64_t pos) {
    return pos == 0 ? std::string{} : gateway::encode_cursor(config.cluster, user_id{1}, inbox_pos{pos});
  };
  cluster.on_session_call = [](core::call) -> kj::Promise<core::answer> {
    return core::answer{core::answer_to<core::pull_inbox>{}};
  };
  test_receiver::record got;
  const auto check = [&](std::uint64_t pos, rpc::CursorPlace place, const std::string& acknowledged) {
    auto receive = session.receiveRequest();
    receive.setReceiver(kj::heap<test_receiver>(got));
    receive.setCursor(bytes_of(cursor(pos)));
    const auto received = get(receive.send());
    CHECK(received.getPlace() == place);
    CHECK(wire::bytes(received.getAcknowledged()) == acknowledged);
    auto sync = session.syncRequest();
    sync.setCursor(bytes_of(cursor(pos)));
    const auto synced = get(sync.send());
    CHECK(synced.getPlace() == place);
    CHECK(wire::bytes(synced.getAcknowledged()) == acknowledged);
  };
  check(0, rpc::CursorPlace::UNKNOWN, {});
  check(4, rpc::CursorPlace::BEFORE, cursor(5));
  check(5, rpc::CursorPlace::ACKNOWLEDGED, {});
  check(6, rpc::CursorPlace::AFTER, cursor(5));
}

TEST_CASE_FIXTURE(fixture, "the receiver of a fenced session is told so, and the connection is closed") {
  start();
  test_client c{*this};
  std::string token;
  cluster.devices[{user_id{1}, device_id{2}}] = c.key.public_half;
  auto session = c.login(c.key, user_id{1}, device_id{2}, &token);
  test_receiver::record got;
  REQUIRE(receive(*this, session, got) == ec::none);
  auto* sink = cluster.sinks.front();
  sink->close(ec::fenced, 0);
  sink->close(ec::draining, 5); // the first reason counts
  REQUIRE(closed_for(close_reason::session_over));
  CHECK(got.closed == ec::fenced);
  // Resuming tells the reason again, once.
  for (const auto expected : {ec::fenced, ec::none}) {
    test_client next{*this};
    const auto proof = next.proof(c.key, user_id{1}, device_id{2});
    auto request = next.door.resumeRequest();
    request.setResumeToken(bytes_of(token));
    request.setSignature(bytes_of(proof));
    request.setSessionNumber(1);
    auto answer = get(request.send());
    CHECK(answer.getError().getCode() == 0);
    CHECK(answer.getLastReason() == static_cast<int>(expected));
    CHECK(answer.hasSession());
  }
}

TEST_CASE_FIXTURE(fixture,
                  "a resume token of another cluster, a stale one, and one without a proof are refused") {
  start();
  device_key key;
  cluster.devices[{user_id{1}, device_id{2}}] = key.public_half;
  const auto resume = [&](const std::string& token, const device_key& signer) {
    test_client c{*this};
    const auto proof = c.proof(signer, user_id{1}, device_id{2});
    auto request = c.door.resumeRequest();
    request.setResumeToken(bytes_of(token));
    request.setSignature(bytes_of(proof));
    request.setSessionNumber(1);
    return ec{get(request.send()).getError().getCode()};
  };
  const gateway::resume_token t{user_id{1}, device_id{2}, inbox_pos{3}, clock.at};
  CHECK(resume(gateway::encode_token({9, 9}, t), key) == ec::wrong_cluster);
  CHECK(resume("rubbish", key) == ec::bad_request);
  device_key other;
  CHECK(resume(gateway::encode_token(config.cluster, t), other) == ec::bad_signature);
  CHECK(resume(gateway::encode_token(config.cluster, t), key) == ec::none);
  clock.at = unix_ms{static_cast<std::int64_t>(clock.at) + 400'000};
  CHECK(resume(gateway::encode_token(config.cluster, t), key) == ec::not_authenticated);
}

TEST_CASE_FIXTURE(fixture, "a session that is silent too long is closed, one that pings is not") {
  config.idle_deadline = 300ms;
  start();
  test_client silent{*this};
  auto session = silent.login();
  test_client lively{*this};
  auto other = lively.login();
  CHECK(until([&] {
    get(other.pingRequest().send());
    return closes(close_reason::idle) == 1;
  }));
  CHECK(server->connections() == 1);
}

TEST_CASE_FIXTURE(
    fixture, "a client that releases the gateway keeps its session, and one that keeps it logs in once") {
  start();
  test_client c{*this};
  auto session = c.login();
  CHECK_FALSE(c.proof(c.key, user_id{1}, device_id{2}).empty()); // the gateway still greets …
  auto again = c.door.loginRequest();                            // … but nobody logs in twice
  again.setUser(1);
  again.setDevice(2);
  again.setSessionNumber(2);
  CHECK(get(again.send()).getError().getCode() == static_cast<std::uint16_t>(ec::bad_request));
  c.door = nullptr;
  get(session.pingRequest().send());
  CHECK(server->connections() == 1);
}

TEST_CASE_FIXTURE(fixture,
                  "draining tells every session when to come back, and ends when all have disconnected") {
  start();
  test_client c{*this};
  auto session = c.login();
  test_receiver::record got;
  REQUIRE(receive(*this, session, got) == ec::none);
  raw_client stranger{*this};
  REQUIRE(until([&] { return server->connections() == 2; }));
  server->drain();
  server->drain();
  get(server->drained());
  CHECK(server->connections() == 0);
  CHECK(until([&] { return got.closed == ec::draining; }));
  CHECK(got.reconnect_after_ms <= 50);
  CHECK(cluster.live_sessions == 0);
}

TEST_CASE_FIXTURE(fixture, "a server can be destroyed while calls are under way") {
  start();
  auto c = kj::heap<test_client>(*this);
  auto session = c->login();
  kj::Vector<kj::Own<kj::PromiseFulfiller<core::answer>>> waiting;
  cluster.on_session_call = [&](core::call) -> kj::Promise<core::answer> {
    auto answer = kj::newPromiseAndFulfiller<core::answer>();
    waiting.add(kj::mv(answer.fulfiller));
    return kj::mv(answer.promise);
  };
  auto page =
      session.syncRequest().send().ignoreResult().catch_([](kj::Exception&&) {}).eagerlyEvaluate(nullptr);
  REQUIRE(until([&] { return waiting.size() == 1; }));
  server = nullptr;
  waiting[0]->fulfill(core::answer{core::answer_to<core::pull_inbox>{core::inbox_page{}}});
  get(kj::mv(page));
  CHECK(cluster.live_sessions == 0);
  CHECK(shared.metrics.sessions == 0);
  CHECK(shared.metrics.connections == 0);
}

TEST_CASE_FIXTURE(fixture, "a conversation is opened with a user or a phone number, and not with oneself") {
  start();
  test_client c{*this};
  auto session = c.login();
  cluster.on_session_call = [](core::call what) -> kj::Promise<core::answer> {
    if (std::holds_alternative<core::find_phone>(what))
      return core::answer{core::answer_to<core::find_phone>{core::found_phone{ec::none, user_id{8}, 0}}};
    return core::answer{core::answer_to<core::open_conversation>{core::opened{ec::none, {5, 6}, 0}}};
  };
  auto by_phone = session.openDirectRequest();
  by_phone.setPhone("+491234567");
  auto opened = get(by_phone.send());
  CHECK(opened.getError().getCode() == 0);
  CHECK(opened.getUser() == 8);
  CHECK(opened.getConversation().getLo() == 6);
  std::uint32_t devices_of_8 = 0;
  cluster.on_session_call = [&](core::call what) -> kj::Promise<core::answer> {
    if (const auto* ask = std::get_if<core::find_device>(&what)) {
      CHECK(ask->user == user_id{8});
      return core::answer{
          core::answer_to<core::find_device>{core::found_device{ec::no_such_user, {}, devices_of_8}}};
    }
    CHECK(devices_of_8 != 0); // an unknown user's conversation is not even asked for
    return core::answer{core::answer_to<core::open_conversation>{core::opened{ec::none, {5, 6}, 0}}};
  };
  auto by_id = session.openDirectRequest();
  by_id.setUser(8);
  CHECK(get(by_id.send()).getError().getCode() == static_cast<int>(ec::no_such_user));
  devices_of_8 = 1;
  by_id = session.openDirectRequest();
  by_id.setUser(8);
  CHECK(get(by_id.send()).getConversation().getLo() == 6);
  auto self = session.openDirectRequest();
  self.setUser(1);
  CHECK(get(self.send()).getError().getCode() == static_cast<int>(ec::bad_request));
  CHECK(get(session.openDirectRequest().send()).getError().getCode() == static_cast<int>(ec::bad_phone));
}

TEST_CASE_FIXTURE(fixture, "a page of a conversation has its messages, its marks and its last number") {
  start();
  test_client c{*this};
  auto session = c.login();
  cluster.on_session_call = [](core::call what) -> kj::Promise<core::answer> {
    if (std::holds_alternative<core::list_conversations>(what)) {
      core::conversation_list list;
      list.items.push_back({{3, 4}, {user_id{1}, user_id{8}}, seq_no{2}});
      return core::answer{core::answer_to<core::list_conversations>{std::move(list)}};
    }
    core::conversation_page page;
    page.messages.push_back(std::get<core::message_news>(row(1, 5).what).msg);
    page.messages.push_back(std::get<core::message_news>(row(2, 5).what).msg);
    page.last = seq_no{2};
    page.marks.push_back({{3, 4}, user_id{8}, seq_no{2}, seq_no{1}});
    return core::answer{core::answer_to<core::sync_conversation>{std::move(page)}};
  };
  auto request = session.syncConversationRequest();
  auto page = get(request.send());
  CHECK(page.getMessages().size() == 2);
  CHECK(page.getMessages()[1].getSeq() == 2);
  CHECK(page.getLast() == 2);
  CHECK(page.getWatermarks()[0].getRead() == 1);
  CHECK_FALSE(page.getMore());
  auto list = get(session.conversationsRequest().send());
  CHECK(list.getItems()[0].getMembers()[1] == 8);
}

TEST_CASE_FIXTURE(fixture, "a config that cannot be run with names its field") {
  config.sweep_every = 0ms;
  const auto made = gateway::make_gateway_server(io.unixEventPort, config, {}, cluster, codes, clock, shared);
  REQUIRE_FALSE(made.has_value());
  CHECK(made.error().code == ec::bad_config);
  CHECK(made.error().detail == "sweep_every");
}

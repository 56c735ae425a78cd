// A device against a cluster that loses, refuses and dies: the way out.
#include "tests/protocol/client/device/device_fixture.hpp"

using namespace parley;
using namespace parley::client;
using namespace parley::test;
using kind = history_event::kind;
using what = history_event::what;

TEST_CASE_FIXTURE(
    device_fixture,
    "after an answer was lost with its connection, the message is sent again with the same id") {
  auto& a = online();
  cluster.store_then_cut = 2;
  const auto r = a.send(talk, "hello").wait(io.waitScope);
  REQUIRE(r);
  CHECK(r->seq == seq_no{1});
  CHECK(r->duplicate);
  CHECK(cluster.talk(talk).size() == 1);
  REQUIRE(cluster.attempts.size() == 3);
  for (const auto& attempt : cluster.attempts)
    CHECK(attempt.counter == r->counter);
  CHECK(cluster.attempts[0].port != cluster.attempts[1].port); // the next seed
  CHECK(count(kind::invoke, what::send) == 3);
  CHECK(count(kind::info, what::send) == 2);
  CHECK(count(kind::ok, what::send) == 1);
}

TEST_CASE_FIXTURE(device_fixture, "when a node falls silent, the message is sent again to another one") {
  settings.call_timeout = 50ms;
  auto& a = online();
  cluster.store_then_silence = 1;
  const auto r = a.send(talk, "hello").wait(io.waitScope);
  REQUIRE(r);
  CHECK(r->duplicate);
  CHECK(cluster.talk(talk).size() == 1);
}

TEST_CASE_FIXTURE(device_fixture,
                  "a client that dies while it sends, sends again with the same id after its restart") {
  auto& a = online();
  cluster.store_then_silence = 1;
  auto never = a.send(talk, "hello");
  REQUIRE(until([&] { return cluster.attempts.size() == 1; }));
  alice.reset(); // the store survives, as a database does
  online();
  settle();
  REQUIRE(seen.sent.size() == 1);
  CHECK(seen.sent[0].duplicate);
  CHECK(cluster.talk(talk).size() == 1);
  REQUIRE(cluster.attempts.size() == 2);
  CHECK(cluster.attempts[0].counter == cluster.attempts[1].counter);
  CHECK(store.waiting().empty());
}

TEST_CASE_FIXTURE(device_fixture,
                  "after a temporary error a message is sent again, in order and never twice") {
  auto& a = online();
  cluster.send_refusals = {ec::not_leader, ec::overloaded, ec::timed_out, ec::unavailable, ec::rate_limited};
  for (int i = 0; i < 10; ++i)
    REQUIRE(a.post(talk, std::to_string(i)));
  settle();
  REQUIRE(cluster.talk(talk).size() == 10);
  for (int i = 0; i < 10; ++i)
    CHECK(cluster.talk(talk)[static_cast<std::size_t>(i)].body == std::to_string(i));
  CHECK(count(kind::fail, what::send) == 0);
  CHECK(count(kind::info, what::send) == 5); // each leaves open whether it was stored
}

TEST_CASE_FIXTURE(device_fixture, "final refusals are reported once and not tried again") {
  auto& a = online();
  // 39 and 500 are of a newer cluster than this device.
  for (auto why : {ec::not_a_member, ec::too_large, ec::bad_text, ec{39}, ec{500}}) {
    cluster.send_refusals = {why};
    const auto r = a.send(talk, "no").wait(io.waitScope);
    REQUIRE(!r);
    CHECK(r.error().code == why);
  }
  CHECK(cluster.attempts.size() == 5);
  CHECK(seen.failed.size() == 5);
  CHECK(store.waiting().empty());
  CHECK(store.failures().size() == 5);
  CHECK(count(kind::fail, what::send) == 3);
  CHECK(count(kind::info, what::send) == 2); // what a code means that nobody here knows is left open
  CHECK(!a.send(talk, std::string(body_bytes_max + 1, 'x')).wait(io.waitScope));
  CHECK(cluster.attempts.size() == 5); // too large to even leave
}

TEST_CASE_FIXTURE(device_fixture, "a condition that only a newer cluster knows is tried again") {
  auto& a = online();
  cluster.send_refusals = {ec{1'999}, ec{1'998}};
  CHECK(a.send(talk, "stored").wait(io.waitScope));
  CHECK(cluster.attempts.size() == 3);
  CHECK(seen.failed.empty());
}

TEST_CASE_FIXTURE(device_fixture,
                  "a profile that was restored from a copy loses no words and calls none sent "
                  "that are not stored") {
  std::vector<std::string> typed;
  const auto send = [&](const std::string& body) {
    typed.push_back(body);
    const auto r = alice->send(talk, body).wait(io.waitScope);
    REQUIRE(r);
    CHECK(!r->duplicate);
    CHECK(r->seq == seq_no{typed.size()});
  };
  SUBCASE("with a clock") {}
  SUBCASE("with a clock that stands still") {}
  SUBCASE("without a clock") {
    calendar.ms = 0;
  }
  online();
  send("before");
  auto copy = store;
  send("ok");
  send("other");
  alice.reset();
  store = copy;
  online();
  send("ok"); // the words of a message that is stored, but another message
  send("words");
  auto second_copy = store;
  send("ok");
  alice.reset();
  store = second_copy;
  online();
  send("ok");
  send("ok");
  alice.reset();
  const auto& stored = cluster.talk(talk);
  REQUIRE(stored.size() == typed.size());
  for (std::size_t i = 0; i < typed.size(); ++i)
    CHECK(stored[i].body == typed[i]);
  CHECK(seen.failed.empty());
  CHECK(seen.old_copies > 0);
}

TEST_CASE_FIXTURE(device_fixture,
                  "with a window of one, order survives connections that die again and again") {
  auto& a = online();
  for (int i = 0; i < 30; ++i) {
    if (i % 7 == 3)
      cluster.store_then_cut = 1;
    REQUIRE(a.post(talk, std::to_string(i)));
    if (i % 5 == 0)
      timer.afterDelay(1 * kj::MILLISECONDS).wait(io.waitScope);
  }
  settle();
  REQUIRE(cluster.talk(talk).size() == 30);
  for (int i = 0; i < 30; ++i)
    CHECK(cluster.talk(talk)[static_cast<std::size_t>(i)].body == std::to_string(i));
}

TEST_CASE_FIXTURE(device_fixture, "a device that is fenced reports it and does not connect again") {
  auto& a = online();
  const auto dialled = cluster.dialled.size();
  SUBCASE("fenced while it is connected") {
    cluster.close_all(ec::fenced, 0);
  }
  SUBCASE("fenced when it reconnects, because a new session number would fence the other device") {
    cluster.resume_refusal = ec::fenced;
    a.disconnect();
  }
  REQUIRE(until([&] { return a.state().state == link_state::fenced; }));
  timer.afterDelay(30 * kj::MILLISECONDS).wait(io.waitScope);
  CHECK(cluster.dialled.size() <= dialled + 1);
  CHECK(cluster.logins == 1);
  const auto r = a.send(talk, "too late").wait(io.waitScope);
  REQUIRE(!r);
  CHECK(r.error().code == ec::fenced);
}

/// A device whose profile is this full one halts, and says so.
static void check_breaks(device_fixture& f, memory_store& full) {
  f.online();
  full.set_identity(*f.store.who());
  f.alice.reset();
  f.cluster.numbers.clear();
  f.cluster.dialled.clear();
  client::device b{f.timer, f.cluster, f.settings, full, f.seen};
  b.start();
  const auto r = b.online().wait(f.io.waitScope);
  REQUIRE(!r);
  CHECK(r.error().code == ec::storage_failed);
  CHECK(b.state().state == link_state::broken);
  f.timer.afterDelay(30 * kj::MILLISECONDS).wait(f.io.waitScope);
}

TEST_CASE_FIXTURE(device_fixture, "a device that cannot store the number of its session does not log in, "
                                  "because it might use the number again") {
  struct full_disk final : memory_store {
    session_number next_session(unix_ms) override {
      throw store_error{"The profile's database failed: full."};
    }
  } full;
  check_breaks(*this, full);
  CHECK(cluster.numbers.empty());
}

TEST_CASE_FIXTURE(device_fixture,
                  "a device that cannot store its resume token halts as broken, and tries no other node") {
  struct full_disk final : memory_store {
    void set_token(const std::string&) override { throw store_error{"The profile's database failed: full."}; }
  } full;
  check_breaks(*this, full);
  CHECK(cluster.dialled.size() == 1);
}

TEST_CASE_FIXTURE(device_fixture, "every attempt to log in has a higher number than all before it") {
  auto& a = online();
  CHECK(cluster.numbers == std::vector{session_number{1'700'000'000'000}});
  const auto again = [&](device& d) {
    const auto so_far = cluster.numbers.size();
    d.disconnect();
    REQUIRE(until([&] { return cluster.numbers.size() > so_far && d.state().state == link_state::online; }));
  };
  again(a);
  calendar.ms = 5; // set back
  again(a);
  cluster.resume_refusal = ec::not_authenticated; // two attempts on one connection
  again(a);
  alice.reset();
  cluster.resume_refusal = ec::none;
  calendar.ms = 1'800'000'000'000;
  online();
  CHECK(cluster.numbers.size() == 6);
  CHECK(std::adjacent_find(cluster.numbers.begin(), cluster.numbers.end(), std::greater_equal<>{}) ==
        cluster.numbers.end());
  CHECK(cluster.numbers.back() == session_number{1'800'000'000'000});
  CHECK(cluster.bad_proofs == 0); // it is signed
}

TEST_CASE_FIXTURE(
    device_fixture,
    "when a node drains, the device moves to the next one, and messages that wait are sent there") {
  auto& a = online();
  const auto first = a.state().at.port;
  cluster.close_all(ec::draining, 10);
  const auto r = a.send(talk, "hello").wait(io.waitScope);
  REQUIRE(r);
  CHECK(a.state().at.port != first);
  CHECK(cluster.talk(talk).size() == 1);
}

TEST_CASE_FIXTURE(device_fixture, "dead seeds are skipped at once") {
  cluster.dead_ports = {1, 2};
  auto& a = online();
  CHECK(a.state().at.port == 3);
}

TEST_CASE_FIXTURE(device_fixture, "while a cluster is down the device tries until it is back") {
  auto& a = online();
  cluster.dead_ports = {1, 2, 3};
  cluster.cut_all();
  REQUIRE(until([&] { return cluster.dialled.size() > 12; }));
  REQUIRE(a.post(talk, "waiting"));
  cluster.dead_ports.clear();
  settle();
  CHECK(cluster.talk(talk).size() == 1);
}

TEST_CASE_FIXTURE(device_fixture,
                  "a login that is finally refused halts the device; one that may succeed later does not") {
  online();
  alice.reset();
  store.set_token({});
  SUBCASE("finally") {
    cluster.login_refusal = ec::bad_signature;
    make().start();
    const auto r = alice->online().wait(io.waitScope);
    REQUIRE(!r);
    CHECK(r.error().code == ec::bad_signature);
    CHECK(alice->state().state == link_state::refused);
  }
  SUBCASE("for now") {
    cluster.login_refusal = ec::unavailable;
    make().start();
    REQUIRE(until([&] { return cluster.logins > 4; }));
    cluster.login_refusal = ec::none;
    CHECK(alice->online().wait(io.waitScope));
  }
}

TEST_CASE_FIXTURE(device_fixture,
                  "a resume token is used to connect again, and one that is too old leads to a login") {
  auto& a = online();
  CHECK(cluster.logins == 1);
  a.disconnect();
  REQUIRE(until([&] { return cluster.resumes == 1 && a.state().state == link_state::online; }));
  cluster.resume_refusal = ec::not_authenticated;
  a.disconnect();
  REQUIRE(until([&] { return cluster.logins == 2 && a.state().state == link_state::online; }));
  CHECK(cluster.bad_proofs == 0);
}

TEST_CASE_FIXTURE(device_fixture,
                  "a device that another cluster does not know says so, and keeps its token") {
  auto& a = online();
  const auto token = store.token();
  cluster.resume_refusal = ec::wrong_cluster;
  a.disconnect();
  REQUIRE(until([&] { return a.state().state == link_state::refused; }));
  CHECK(a.state().why == ec::wrong_cluster);
  CHECK(cluster.logins == 1);
  CHECK(store.token() == token);
}

TEST_CASE_FIXTURE(
    device_fixture,
    "a wrong code registers no device, and the right code then registers it with the same key") {
  make();
  REQUIRE(alice->request_code("+4911111111").wait(io.waitScope));
  const auto wrong = alice->register_device("+4911111111", "000000", "test").wait(io.waitScope);
  REQUIRE(!wrong);
  CHECK(wrong.error().code == ec::code_wrong);
  REQUIRE(store.who());
  const auto key = store.who()->key;
  CHECK(!store.who()->registered());
  const auto right = alice->register_device("+4911111111", "123456", "test").wait(io.waitScope);
  REQUIRE(right);
  CHECK(right->key == key);
  CHECK(!alice->register_device("+4911111111", "123456", "test").wait(io.waitScope)); // once is enough
}

TEST_CASE_FIXTURE(device_fixture,
                  "an idle connection is kept alive, and a device that is closed answers all callers") {
  settings.ping_every = 5ms;
  auto& a = online();
  REQUIRE(until([&] { return cluster.pings > 2; }));
  cluster.store_then_silence = 1;
  auto waiting = a.send(talk, "hello");
  REQUIRE(until([&] { return cluster.attempts.size() == 1; }));
  a.stop().wait(io.waitScope);
  CHECK(a.state().state == link_state::stopped);
  const auto r = waiting.wait(io.waitScope);
  REQUIRE(!r);
  CHECK(store.waiting().size() == 1); // kept for the next start
}

TEST_CASE_FIXTURE(device_fixture,
                  "a final refusal is told at each start until the program has forgotten it") {
  struct forgetful final : observer {
    client_store* store = nullptr;
    std::vector<std::string> told;
    void on_failed(const outgoing& o, const failure& why) override {
      told.push_back(*o.body);
      CHECK(why.code == ec::not_a_member);
      CHECK(!why.sentence.empty());
      if (store)
        store->forget(o.counter);
    }
  } program;
  auto& a = online();
  cluster.send_refusals = {ec::not_a_member};
  CHECK(!a.send(talk, "refused").wait(io.waitScope));
  alice.reset();
  const auto start = [&] {
    client::device b{timer, cluster, settings, store, program};
    const auto before = program.told.size();
    b.start();
    b.start();
    REQUIRE(b.online().wait(io.waitScope));
    return program.told.size() - before;
  };
  CHECK(start() == 1);
  CHECK(start() == 1);
  program.store = &store;
  CHECK(start() == 1);
  CHECK(start() == 0);
  CHECK(program.told == std::vector<std::string>(3, "refused"));
  CHECK(store.failures().empty());
}

TEST_CASE_FIXTURE(device_fixture,
                  "a device whose seeds have moved finds the cluster by the nodes that it was told of") {
  cluster.named_nodes = {"node:1", "nonsense", "node:7", "node:8"};
  online();
  CHECK(store.nodes() == cluster.named_nodes);
  alice.reset();
  cluster.cut_all();
  cluster.dead_ports = {1, 2, 3, 7};
  auto& a = online();
  CHECK(a.state().at.port == 8);
  alice.reset();
  cluster.named_nodes = {"node:9"};
  online();
  alice.reset();
  cluster.dead_ports = {1, 2, 3, 7, 8};
  CHECK(online().state().at.port == 9);
  alice.reset();
  cluster.named_nodes.clear(); // a node that knows no other does not make the device forget
  online();
  CHECK(store.nodes() == std::vector<std::string>{"node:9"});
  alice.reset();
  cluster.named_nodes.assign(100, "node:5");
  online();
  CHECK(store.nodes().size() == 8);
}

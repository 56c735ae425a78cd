// The connector alone, in virtual time: nodes that are silent, dead, refuse, drain or are lost.
#include "protocol/client/device/connector.hpp"
#include "protocol/client/device/enrolment.hpp"
#include "tests/protocol/client/device/lone_part.hpp"
#include "tests/protocol/client/fake_cluster.hpp"

using namespace parley;
using namespace parley::client;
using namespace parley::test;

namespace {

/// Some nodes accept no connection and do not refuse it either.
struct moody_dialer final : dialer {
  explicit moody_dialer(fake_cluster& to) : to{to} {}
  kj::Promise<kj::Own<line>> dial(const server_address& at) override {
    if (silent.count(at.port)) {
      ++waiting;
      return kj::NEVER_DONE;
    }
    return to.dial(at);
  }
  fake_cluster& to;
  std::set<std::uint16_t> silent;
  unsigned waiting = 0;
};

struct heard final : link_listener {
  std::vector<std::string> all;
  void on_online(client_link&) override { all.emplace_back("online"); }
  void on_lost(const failure&) override { all.emplace_back("lost"); }
  void on_halted(const failure&) override { all.emplace_back("halted"); }
  bool has_work() const override { return work; }
  bool work = false;
};

struct connector_fixture : virtual_loop {
  fake_cluster cluster{timer};
  moody_dialer dial{cluster};
  memory_store store;
  notes seen;
  config settings;
  identity who;
  dice chance{1};
  virtual_calendar calendar;
  heard listener;
  kj::Own<connector> it;

  connector_fixture() {
    settings.seeds = *parse_seeds("node:1,node:2,node:3");
    settings.reconnect = {100ms, 1'600ms};
    settings.dial_timeout = 5'000ms;
  }
  /// With an identity that the cluster knows.
  connector& make() {
    enrolment enrol{timer, cluster, settings, store, who, chance, 0};
    auto asked = enrol.request_code("+4911111111");
    REQUIRE(get(asked));
    auto registered = enrol.register_device("+4911111111", "123456", "test");
    REQUIRE(get(registered));
    cluster.dialled.clear();
    return make_stranger();
  }
  connector& make_stranger() {
    it = kj::heap<connector>(timer, dial, settings, store, seen, listener, who, chance, calendar, 0);
    return *it;
  }
  link_state state() const { return it->state().state; }
};

} // namespace

TEST_CASE_FIXTURE(connector_fixture,
                  "a node that is silent is given up after the dial timeout, and the next one is tried") {
  make();
  dial.silent = {1};
  it->start();
  pass(4'999ms);
  CHECK(state() == link_state::connecting);
  pass(1ms);
  CHECK(state() == link_state::online);
  CHECK(it->state().at.port == 2);
}

TEST_CASE_FIXTURE(connector_fixture,
                  "while all nodes are down, they are tried in rounds, with bounded pauses") {
  make();
  cluster.dead_ports = {1, 2, 3};
  it->start();
  turn();
  CHECK(cluster.dialled == std::vector<std::uint16_t>{1, 2, 3}); // at once, one after another
  CHECK(state() == link_state::offline);
  CHECK(it->state().why == ec::unavailable);
  CHECK(it->state().next_try <= 100ms);
  for (int n = 0; n < 50; ++n) {
    const auto before = cluster.dialled.size();
    pass(it->state().next_try);
    REQUIRE(cluster.dialled.size() >= before + 3);
    REQUIRE(it->state().next_try <= 1'600ms);
  }
  cluster.dead_ports = {1, 2};
  pass(1'600ms);
  CHECK(state() == link_state::online);
}

TEST_CASE_FIXTURE(connector_fixture, "a long pause becomes short when something waits for a connection, and "
                                     "ends when the program asks for it") {
  settings.reconnect = {3'600'000ms, 3'600'000ms};
  settings.reconnect_wanted_max = 1'000ms;
  make();
  cluster.dead_ports = {1, 2, 3};
  it->start();
  turn();
  REQUIRE(it->state().next_try > 60'000ms); // with this chance
  cluster.dead_ports.clear();
  SUBCASE("a message") {
    it->want_session();
    pass(1'000ms);
  }
  SUBCASE("a call") {
    auto call = it->session_or(timer.now() + 5 * kj::SECONDS);
    pass(1'000ms);
    CHECK(call.poll(scope));
  }
  SUBCASE("the program") {
    auto online = it->online();
    pass(1'000ms);
    CHECK(online.poll(scope));
  }
  SUBCASE("the network is back") {
    it->try_now();
    turn();
  }
  CHECK(state() == link_state::online);
}

TEST_CASE_FIXTURE(connector_fixture,
                  "while messages wait, all pauses are short; a caller that gave up waits no more") {
  settings.reconnect = {3'600'000ms, 3'600'000ms};
  settings.reconnect_wanted_max = 1'000ms;
  make();
  cluster.dead_ports = {1, 2, 3};
  listener.work = true;
  it->start();
  turn();
  for (int n = 0; n < 5; ++n) {
    const auto before = cluster.dialled.size();
    pass(1'000ms);
    CHECK(cluster.dialled.size() >= before + 3);
  }
  listener.work = false;
  { auto call = it->session_or(timer.now() + 10 * kj::SECONDS); }
  pass(1'000ms); // ends the short pause; the next one is long
  const auto before = cluster.dialled.size();
  pass(10'000ms);
  CHECK(cluster.dialled.size() <= before + 3);
}

TEST_CASE_FIXTURE(connector_fixture,
                  "a caller that waits for a session waits no longer than until its deadline") {
  make();
  cluster.dead_ports = {1, 2, 3};
  it->start();
  auto session = it->session_or(timer.now() + 500 * kj::MILLISECONDS);
  pass(499ms);
  CHECK(!session.poll(scope));
  pass(1ms);
  CHECK(session.poll(scope));
  CHECK(!it->link());
}

TEST_CASE_FIXTURE(connector_fixture,
                  "a final refusal halts the device, answers the callers that wait, and is reported once") {
  make();
  cluster.login_refusal = ec::bad_signature;
  auto online = it->online();
  it->start();
  turn();
  CHECK(get(online).error().code == ec::bad_signature);
  CHECK(state() == link_state::refused);
  CHECK(listener.all == std::vector<std::string>{"halted"});
  pass(60'000ms);
  CHECK(cluster.logins == 1);
}

TEST_CASE_FIXTURE(connector_fixture, "a profile without a registration does not connect") {
  make_stranger().start();
  turn();
  CHECK(state() == link_state::refused);
  CHECK(it->state().why == ec::not_authenticated);
  CHECK(cluster.dialled.empty());
}

TEST_CASE_FIXTURE(connector_fixture,
                  "a lost connection is reported before the next one, which is to another node") {
  make().start();
  turn();
  REQUIRE(state() == link_state::online);
  CHECK(it->state().at.port == 1);
  cluster.cut_all();
  pass(1'600ms);
  CHECK(state() == link_state::online);
  CHECK(it->state().at.port == 2);
  CHECK(it->state().number == 2);
  CHECK(listener.all == std::vector<std::string>{"online", "lost", "online"});
}

TEST_CASE_FIXTURE(connector_fixture, "a node that drains is avoided for exactly as long as it asks") {
  make().start();
  turn();
  cluster.dialled.clear();
  it->closed_by_node({ec::draining, "", {}}, 7'000ms);
  pass(6'999ms);
  CHECK(state() == link_state::offline);
  CHECK(cluster.dialled.empty());
  pass(1ms);
  CHECK(state() == link_state::online);
}

TEST_CASE_FIXTURE(connector_fixture, "a device that is fenced does not connect again") {
  make().start();
  turn();
  SUBCASE("told by the node") {
    it->closed_by_node({ec::fenced, "", {}}, 0ms);
  }
  SUBCASE("told by an answer") {
    it->consider({ec::fenced, "", {}});
  }
  pass(60'000ms);
  CHECK(state() == link_state::fenced);
  CHECK(!it->link());
  CHECK(cluster.dialled.size() == 1);
}

TEST_CASE_FIXTURE(connector_fixture,
                  "an error that concerns the session ends the connection, and other errors do not") {
  make().start();
  turn();
  it->consider({ec::not_leader, "", {}});
  pass(10'000ms);
  CHECK(it->state().number == 1);
  it->consider({ec::session_closed, "", {}});
  pass(10'000ms);
  CHECK(it->state().number == 2);
  CHECK(state() == link_state::online);
}

TEST_CASE_FIXTURE(connector_fixture, "an idle connection is kept alive") {
  settings.ping_every = 1'000ms;
  make().start();
  pass(10'500ms);
  CHECK(cluster.pings == 10);
  CHECK(it->state().number == 1);
}

TEST_CASE_FIXTURE(connector_fixture, "a stop that gets no answer is over after the call timeout") {
  settings.call_timeout = 3'000ms;
  make().start();
  turn();
  auto stopped = it->stop(kj::NEVER_DONE);
  pass(2'999ms);
  CHECK(!stopped.poll(scope));
  pass(1ms);
  CHECK(stopped.poll(scope));
  CHECK(state() == link_state::stopped);
  pass(60'000ms);
  CHECK(cluster.dialled.size() == 1);
}

TEST_CASE_FIXTURE(connector_fixture, "a stop while it connects leaves nothing behind") {
  make();
  dial.silent = {1, 2, 3};
  it->start();
  turn();
  auto stopped = it->stop(kj::READY_NOW);
  CHECK(stopped.poll(scope));
  dial.silent.clear();
  pass(60'000ms);
  CHECK(state() == link_state::stopped);
  CHECK(listener.all == std::vector<std::string>{"halted"});
  CHECK(cluster.dialled.empty());
}

TEST_CASE_FIXTURE(connector_fixture, "a device halts if its store cannot keep a session's number") {
  struct full_disk final : memory_store {
    session_number next_session(unix_ms) override {
      throw store_error{"The profile's database failed: full."};
    }
  } full;
  make();
  full.set_identity(who);
  connector other{timer, dial, settings, full, seen, listener, who, chance, calendar, 0};
  other.start();
  pass(60'000ms);
  CHECK(other.state().state == link_state::broken);
  CHECK(cluster.dialled.size() == 1);
}

// --- becoming somebody -------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(connector_fixture, "a registration that reaches no node ends at its deadline") {
  settings.ask_timeout = 10'000ms;
  enrolment enrol{timer, cluster, settings, store, who, chance, 0};
  auto asked = enrol.request_code("+4911111111");
  REQUIRE(get(asked));
  cluster.dead_ports = {1, 2, 3};
  auto registered = enrol.register_device("+4911111111", "123456", "test");
  pass(9'999ms);
  CHECK(!registered.poll(scope));
  pass(2'001ms); // one more pause at most
  const auto answer = get(registered);
  REQUIRE(!answer);
  CHECK(answer.error().code == ec::unavailable);
  CHECK(!who.registered());
}

TEST_CASE_FIXTURE(connector_fixture, "silent and dead seeds are skipped, and the code is asked for once") {
  cluster.dead_ports = {2};
  dial.silent = {1};
  enrolment enrol{timer, dial, settings, store, who, chance, 0};
  unsigned codes = 0;
  cluster.on_code = [&](const std::string&, const std::string&) { ++codes; };
  auto asked = enrol.request_code("+4911111111");
  pass(5'000ms);
  CHECK(get(asked));
  CHECK(codes == 1);
}

TEST_CASE_FIXTURE(connector_fixture,
                  "a request for a code whose answer was lost is repeated, and one code is sent") {
  cluster.codes_differ = true;
  enrolment enrol{timer, cluster, settings, store, who, chance, 0};
  std::string code = "123456";
  SUBCASE("the answer was lost") {
    cluster.code_then_cut = 1;
    auto asked = enrol.request_code("+4911111111");
    CHECK(get(asked));
    CHECK(cluster.codes_asked == 1);
  }
  SUBCASE("the answer was lost, and it is not known yet whether the code was sent") {
    cluster.code_then_cut = 1;
    cluster.code_waits = {0, 8'000};
    auto asked = enrol.request_code("+4911111111");
    pass(7'999ms);
    CHECK(!asked.poll(scope));
    pass(1ms);
    CHECK(get(asked));
    CHECK(cluster.codes_asked == 1);
  }
  SUBCASE("the answers of all attempts were lost, and another process asks again") {
    settings.ask_timeout = 1'000ms;
    cluster.code_then_cut = 1'000;
    auto asked = enrol.request_code("+4911111111");
    pass(60'000ms);
    CHECK(get(asked).error().code == ec::unavailable);
    cluster.code_then_cut = 0;
    cluster.code_waits = {900};
    enrolment next{timer, cluster, settings, store, who, chance, 0};
    auto again = next.request_code("+4911111111");
    pass(900ms);
    CHECK(get(again));
    CHECK(cluster.codes_asked == 1);
  }
  SUBCASE("the answers were lost, and the code has come: the next request is for another code") {
    settings.ask_timeout = 1'000ms;
    cluster.code_then_cut = 1'000;
    auto asked = enrol.request_code("+4911111111");
    pass(60'000ms);
    CHECK(get(asked).error().code == ec::unavailable);
    cluster.code_then_cut = 0;
    auto wrong = enrol.register_device("+4911111111", "000000", "test");
    CHECK(get(wrong).error().code == ec::code_wrong);
    auto again = enrol.request_code("+4911111111");
    CHECK(get(again));
    CHECK(cluster.codes_asked == 2);
    code = "123457";
  }
  SUBCASE("the gateway draws the tickets, as an earlier version does") {
    cluster.draws_tickets = true;
    cluster.code_then_cut = 1;
    cluster.code_waits = {0, 1'000}; // the pause between two codes
    auto asked = enrol.request_code("+4911111111");
    pass(1'000ms);
    CHECK(get(asked));
    CHECK(cluster.codes_asked == 2);
    code = "123457"; // the last one
  }
  auto registered = enrol.register_device("+4911111111", code, "test");
  CHECK(get(registered));
}

TEST_CASE_FIXTURE(connector_fixture,
                  "whoever must not ask for a code now is told so, and repeats the request later") {
  enrolment enrol{timer, cluster, settings, store, who, chance, 0};
  SUBCASE("the answer was lost, and the limit is one of an hour") {
    cluster.code_then_cut = 1;
    cluster.code_waits = {0, 3'600'000};
    auto asked = enrol.request_code("+4911111111");
    pass(1'000ms);
    CHECK(get(asked).error().code == ec::rate_limited);
  }
  SUBCASE("nothing was lost") {
    cluster.code_waits = {3'600'000};
    auto asked = enrol.request_code("+4911111111");
    CHECK(get(asked).error().code == ec::rate_limited);
  }
  const auto kept = store.who()->tickets;
  REQUIRE(kept.size() == 1);
  auto again = enrol.request_code("+4911111111");
  CHECK(get(again));
  CHECK(cluster.codes_asked == 1);
  REQUIRE(store.who()->tickets.size() == 1);
  CHECK(store.who()->tickets[0].ticket == kept[0].ticket);
}

TEST_CASE_FIXTURE(connector_fixture,
                  "a ticket is random, is kept before a node is asked, and is forgotten if it was refused") {
  enrolment enrol{timer, dial, settings, store, who, chance, 0};
  dial.silent = {1, 2, 3};
  auto asked = enrol.request_code("+4911111111");
  auto other = enrol.request_code("+4922222222");
  turn();
  const auto kept = store.who()->tickets;
  REQUIRE(kept.size() == 2);
  CHECK(kept[0].ticket.size() == code_ticket_bytes);
  CHECK(kept[1].ticket.size() == code_ticket_bytes);
  CHECK(kept[0].ticket != kept[1].ticket);
  CHECK(kept[0].unanswered);
  dial.silent.clear();
  cluster.code_refusal = ec::bad_phone;
  auto refused = enrol.request_code("+4911111111");
  CHECK(get(refused).error().code == ec::bad_phone);
  REQUIRE(store.who()->tickets.size() == 1);
  CHECK(store.who()->tickets[0] == kept[1]);
}

TEST_CASE_FIXTURE(connector_fixture, "a wrong code is not tried at the next node, and the key is kept") {
  enrolment enrol{timer, cluster, settings, store, who, chance, 0};
  auto asked = enrol.request_code("+4911111111");
  REQUIRE(get(asked));
  cluster.dialled.clear();
  auto wrong = enrol.register_device("+4911111111", "000000", "test");
  CHECK(get(wrong).error().code == ec::code_wrong);
  CHECK(cluster.dialled.size() == 1);
  const auto key = store.who()->key;
  auto right = enrol.register_device("+4911111111", "123456", "test");
  CHECK(get(right)->key == key);
  auto again = enrol.register_device("+4911111111", "123456", "test");
  CHECK(get(again).error().code == ec::bad_request);
}

TEST_CASE_FIXTURE(connector_fixture,
                  "both codes of somebody who asked twice are good, each with its own ticket") {
  cluster.codes_differ = true;
  for (int i = 0; i < 2; ++i) {
    enrolment enrol{timer, cluster, settings, store, who, chance, 0}; // each in a process of its own
    auto asked = enrol.request_code("+4911111111");
    REQUIRE(get(asked));
  }
  enrolment enrol{timer, cluster, settings, store, who, chance, 0};
  SUBCASE("the second one") {
    auto registered = enrol.register_device("+4911111111", "123457", "test");
    CHECK(get(registered));
    CHECK(cluster.wrong_codes == 0);
  }
  SUBCASE("the first one") {
    auto registered = enrol.register_device("+4911111111", "123456", "test");
    CHECK(get(registered));
    CHECK(cluster.wrong_codes == 1);
  }
  SUBCASE("no other one") {
    auto registered = enrol.register_device("+4911111111", "000000", "test");
    CHECK(get(registered).error().code == ec::code_wrong);
    return;
  }
  CHECK(store.who()->tickets.empty());
}

TEST_CASE_FIXTURE(connector_fixture,
                  "a profile keeps the tickets that it asked for last, and uses those of the number") {
  cluster.codes_differ = true;
  enrolment enrol{timer, cluster, settings, store, who, chance, 0};
  for (const auto* phone : {"+4911111111", "+4922222222", "+4922222222", "+4922222222"}) {
    auto asked = enrol.request_code(phone);
    REQUIRE(get(asked));
  }
  CHECK(store.who()->tickets.size() == code_tickets_max);
  cluster.dialled.clear();
  auto forgotten = enrol.register_device("+4911111111", "123456", "test");
  CHECK(get(forgotten).error().code == ec::code_expired);
  CHECK(cluster.dialled.empty()); // nobody has to be asked
}

TEST_CASE_FIXTURE(connector_fixture, "a profile that is registered asks for no further code") {
  make();
  enrolment enrol{timer, cluster, settings, store, who, chance, 0};
  const auto before = cluster.codes_asked;
  auto asked = enrol.request_code("+4911111111");
  CHECK(get(asked).error().code == ec::bad_request);
  CHECK(cluster.codes_asked == before);
  CHECK(cluster.dialled.empty());
}

TEST_CASE_FIXTURE(
    connector_fixture,
    "if the store does not keep a ticket, no code is asked for, because it would be of no use") {
  struct full_disk final : memory_store {
    void set_identity(const identity&) override { throw store_error{"The profile's database failed: full."}; }
  } full;
  enrolment enrol{timer, cluster, settings, full, who, chance, 0};
  auto asked = enrol.request_code("+4911111111");
  CHECK(get(asked).error().code == ec::storage_failed);
  CHECK(cluster.dialled.empty());
}

TEST_CASE_FIXTURE(connector_fixture,
                  "a store that fails during a registration is reported, and not tried again") {
  struct full_disk final : memory_store {
    int writes_left = 2; // the first two keep the ticket, and that it was answered
    void set_identity(const identity& who) override {
      if (writes_left-- <= 0)
        throw store_error{"The profile's database failed: full."};
      memory_store::set_identity(who);
    }
  } full;
  std::size_t dialled = 0;
  SUBCASE("before the key is kept, no node is asked") {}
  SUBCASE("after the cluster has answered") {
    full.writes_left = 3;
    dialled = 1;
  }
  enrolment enrol{timer, cluster, settings, full, who, chance, 0};
  auto asked = enrol.request_code("+4911111111");
  REQUIRE(get(asked));
  cluster.dialled.clear();
  auto registered = enrol.register_device("+4911111111", "123456", "test");
  const auto answer = get(registered);
  REQUIRE(!answer);
  CHECK(answer.error().code == ec::storage_failed);
  CHECK(answer.error().sentence == "The profile's database failed: full.");
  CHECK(cluster.dialled.size() == dialled);
  CHECK(!who.registered());
}

TEST_CASE_FIXTURE(connector_fixture, "an enrolment that is destroyed rejects the promises that it gave") {
  dial.silent = {1, 2, 3};
  auto enrol = kj::heap<enrolment>(timer, dial, settings, store, who, chance, 0);
  auto asked = enrol->request_code("+4911111111");
  turn();
  enrol = nullptr;
  CHECK(asked.poll(scope));
  asked.then([](auto&&) { FAIL("answered by nobody"); }, [](kj::Exception&&) {}).wait(scope);
}

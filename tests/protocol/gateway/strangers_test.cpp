// Who is let in before login, and who gives way.
#include "tests/protocol/gateway/fixture.hpp"
#include "tests/protocol/gateway/hand_made.hpp"

#include "protocol/gateway/waiting_room.hpp"

#include <doctest/doctest.h>

using namespace parley;
using namespace parley::test;
using namespace std::chrono_literals;
using transport::close_reason;

namespace {

/// From 127.0.0.`from`.
std::unique_ptr<raw_client> stranger_from(fixture& f, unsigned from) {
  return std::make_unique<raw_client>(f, TLS1_3_VERSION, from);
}

} // namespace

TEST_CASE("in a full room the oldest guest of the address with most of them gives way") {
  struct guest {};
  guest a1, a2, b1, b2, b3, c1;
  constexpr gateway::address_key a{1}, b{2}, c{3};
  gateway::waiting_room<guest> room{6, 3};
  CHECK(room.who_gives_way() == nullptr);
  room.enter(c, c1);
  room.enter(a, a1);
  room.enter(a, a2);
  CHECK(room.who_gives_way() == &a1);
  room.enter(b, b1);
  room.enter(b, b2);
  CHECK_FALSE(room.full_for(b));
  CHECK(room.who_gives_way() == &a1); // as many as the other, and older
  room.enter(b, b3);
  CHECK(room.full());
  CHECK(room.full_for(b));
  CHECK_FALSE(room.full_for(a));
  CHECK(room.who_gives_way() == &b1);
  room.leave(b, b1);
  room.leave(b, b1); // once
  CHECK(room.size() == 5);
  CHECK_FALSE(room.full());
  CHECK_FALSE(room.full_for(b));
  for (auto* left : {&b2, &b3})
    room.leave(b, *left);
  room.leave(a, a1);
  CHECK(room.who_gives_way() == &c1); // each address has one: the oldest of all
  room.leave(c, c1);
  room.leave(a, a2);
  CHECK(room.size() == 0);
  CHECK(room.who_gives_way() == nullptr);
}

TEST_CASE_FIXTURE(fixture, "connections before login are bounded, and when one ends nobody has to give way") {
  config.pre_login_max = 3;
  config.pre_login_per_address_max = 2;
  start();
  std::vector<std::unique_ptr<raw_client>> clients;
  for (const unsigned from : {2, 2, 3})
    clients.push_back(stranger_from(*this, from));
  REQUIRE(until([&] { return server->connections() == 3; }));
  clients.pop_back();
  REQUIRE(until([&] { return server->connections() == 2; }));
  auto welcome = stranger_from(*this, 4);
  CHECK(welcome->handshake());
  CHECK(server->connections() == 3);
  CHECK(closes(close_reason::refused) == 0);
}

TEST_CASE_FIXTURE(fixture,
                  "when the room before login is full, a newcomer gets the place of who came first from the "
                  "address with most") {
  config.pre_login_max = 4;
  config.pre_login_per_address_max = 3;
  start();
  std::vector<std::unique_ptr<raw_client>> clients;
  for (const unsigned from : {2, 3, 3, 3}) {
    clients.push_back(stranger_from(*this, from));
    REQUIRE(until([&] { return server->connections() == clients.size(); }));
  }
  auto newcomer = stranger_from(*this, 4);
  CHECK(newcomer->handshake());
  CHECK(until([&] { return closes(close_reason::refused) == 1 && server->connections() == 4; }));
  CHECK(until([&] { return clients[1]->ended(); }));
  for (const std::size_t others : {0, 2, 3})
    CHECK_FALSE(clients[others]->ended());
  CHECK(shared.metrics.refused == 0);
}

TEST_CASE_FIXTURE(fixture, "one address cannot take all the room before login") {
  CHECK(config.pre_login_per_address_max * 8 <= config.pre_login_max);
  config.pre_login_per_address_max = 1;
  start();
  auto first = stranger_from(*this, 2);
  REQUIRE(until([&] { return server->connections() == 1; }));
  auto second = stranger_from(*this, 2);
  CHECK(until([&] { return second->ended(); }));
  CHECK(server->connections() == 1);
  auto other = stranger_from(*this, 3);
  CHECK(other->handshake());
  CHECK(first->handshake());
}

TEST_CASE_FIXTURE(fixture,
                  "a connection that has logged in no longer counts against the bounds for strangers") {
  config.pre_login_max = 2;
  config.pre_login_per_address_max = 1;
  start();
  test_client decent{*this};
  auto session = decent.login();
  raw_client stranger{*this};
  CHECK(stranger.handshake());
  get(session.pingRequest().send());
  CHECK(server->connections() == 2);
}

TEST_CASE_FIXTURE(fixture, "handshakes above their rate wait in the backlog") {
  config.handshakes_burst = config.address_handshakes_burst = 2;
  config.handshake_every = config.address_handshake_every = 1h;
  start();
  auto first = stranger_from(*this, 2), second = stranger_from(*this, 3);
  CHECK(first->handshake());
  CHECK(second->handshake());
  auto third = stranger_from(*this, 4);
  REQUIRE(until([&] { return shared.metrics.accepts_paused >= 1; }));
  CHECK(SSL_do_handshake(third->ssl()) != 1);
  CHECK(server->connections() == 2);
  CHECK_FALSE(third->ended()); // not refused either
}

TEST_CASE_FIXTURE(fixture, "connections that are refused cost nobody else's handshake") {
  config.handshakes_burst = 3;
  config.handshake_every = 1h;
  config.address_handshakes_burst = 2;
  config.address_handshake_every = 1h;
  start();
  std::vector<std::unique_ptr<raw_client>> greedy;
  for (int i = 0; i < 2; ++i) {
    greedy.push_back(stranger_from(*this, 2));
    CHECK(greedy.back()->handshake());
  }
  for (int i = 0; i < 200; ++i) // its share is used up, whether or not its connections last
    greedy.push_back(stranger_from(*this, 2));
  REQUIRE(until([&] { return shared.metrics.refused == 200; }));
  auto decent = stranger_from(*this, 3);
  CHECK(decent->handshake());
}

TEST_CASE_FIXTURE(fixture,
                  "a gateway's loop is seen to turn, and its accepting to stand still while somebody waits") {
  config.handshakes_burst = 1;
  config.handshake_every = 1h; // the second connection is not accepted
  start();
  const auto now = [this] { return shared.pulses.read().at(0); };
  const auto begun = now();
  CHECK(until([&] { return now().loop > begun.loop && now().accepting > begun.accepting; }));
  const auto first = stranger_from(*this, 1);
  REQUIRE(until([&] { return shared.metrics.accepts_paused == 1; }));
  const auto paused = now().accepting;
  CHECK(until([&] { return now().accepting > paused; })); // nobody waits
  const auto second = stranger_from(*this, 2);
  const auto still = now();
  CHECK(until([&] { return now().loop > still.loop + 5 * config.sweep_every; }));
  CHECK(now().accepting == still.accepting);
  CHECK_FALSE(now().drains);
  server->drain();
  CHECK(now().drains); // it need not accept any more
}

TEST_CASE_FIXTURE(fixture, "a gateway that has ended leaves its last beat behind") {
  start();
  const auto begun = shared.pulses.read().at(0);
  server = nullptr;
  REQUIRE(shared.pulses.read().size() == 1);
  CHECK(shared.pulses.read().at(0).loop == begun.loop);
}

TEST_CASE_FIXTURE(fixture, "who has to give way in the turn in which it asks for a code does no harm") {
  config.pre_login_max = 2;
  config.pre_login_per_address_max = 1;
  start();
  for (int i = 0; i < 20; ++i) {
    auto asker = stranger_from(*this, 2);
    REQUIRE(asker->handshake());
    asker->send(bootstrap_message());
    REQUIRE(until([&] {
      asker->ended();
      return !asker->received.empty();
    }));
    auto other = stranger_from(*this, 3);
    REQUIRE(other->handshake());
    other->send(bootstrap_message());
    REQUIRE(until([&] {
      other->ended();
      return !other->received.empty();
    }));
    // The loop hears of both at once: of the call first, then of a newcomer who gets the asker's place.
    asker->send(door_call<rpc::Gateway::RequestCodeParams>(1, door_method::request_code,
                                                           [](auto&, auto p) { p.setPhone("+491234567"); }));
    auto newcomer = stranger_from(*this, 4);
    CHECK(newcomer->handshake());
    CHECK(until([&] { return asker->ended(); }));
    asker.reset();
    other.reset();
    newcomer.reset();
    REQUIRE(until([&] { return server->connections() == 0; }));
  }
}

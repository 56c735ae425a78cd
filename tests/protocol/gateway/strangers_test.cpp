// Who is let in before login, and who gives way.
#include "tests/protocol/gateway/fixture.hpp"
#include "tests/protocol/gateway/hand_made.hpp"

#include "protocol/gateway/waiting_room.hpp"

#include <doctest/doctest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

using namespace parley;
using namespace parley::test;
using namespace std::chrono_literals;
using transport::close_reason;

namespace {

/// From 127.0.`network`.`host`: each network is a /24 of its own.
std::unique_ptr<raw_client> stranger_from(fixture& f, unsigned network, unsigned host = 1) {
  return std::make_unique<raw_client>(f, TLS1_3_VERSION, network << 8 | host);
}

struct guest {};
using room_of_guests = gateway::waiting_room<guest>;

/// An IPv4 address with the number `host` in the /24 with the number `network`.
gateway::network_keys four(std::uint64_t network, std::uint64_t host = 1) {
  return {gateway::address_key{network << 16 | host}, std::nullopt, std::nullopt,
          gateway::address_key{network}};
}
/// A /64 of an IPv6 provider's customers: 256 to a /56, which are 256 to a /48.
gateway::network_keys six(std::uint64_t n) {
  return {gateway::address_key{n}, gateway::address_key{n >> 8}, gateway::address_key{n >> 16}, std::nullopt};
}

/// The server's end of the only connection to `port`, which this process has open as well.
int accepted_at(std::uint16_t port) {
  for (int fd = 0; fd < 1024; ++fd) {
    sockaddr_storage peer{};
    socklen_t size = sizeof peer;
    if (transport::local_port(fd) == port &&
        ::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) == 0)
      return fd;
  }
  FAIL("nothing was accepted");
  return -1;
}

int option(int fd, int level, int name) {
  int value = -1;
  socklen_t size = sizeof value;
  CHECK(::getsockopt(fd, level, name, &value, &size) == 0);
  return value;
}

} // namespace

TEST_CASE_FIXTURE(fixture, "the socket of a client is as the settings say") {
  config.tcp.keep_alive_idle = 50s;
  config.tcp.keep_alive_interval = 11s;
  config.tcp.keep_alive_probes = 3;
  config.tcp.user_timeout = 22s;
  start();
  auto client = stranger_from(*this, 2);
  REQUIRE(client->handshake());
  const int fd = accepted_at(port);
  CHECK(option(fd, SOL_SOCKET, SO_KEEPALIVE) == 1);
  CHECK(option(fd, IPPROTO_TCP, TCP_NODELAY) == 1);
  CHECK(option(fd, IPPROTO_TCP, TCP_KEEPIDLE) == 50);
  CHECK(option(fd, IPPROTO_TCP, TCP_KEEPINTVL) == 11);
  CHECK(option(fd, IPPROTO_TCP, TCP_KEEPCNT) == 3);
  CHECK(option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT) == 22'000);
}

TEST_CASE("in a full room the oldest guest of the address with most of them gives way") {
  guest a1, a2, b1, b2, b3, c1;
  const auto a = four(1), b = four(2), c = four(3), newcomer = four(4);
  room_of_guests room{6, 3};
  room.enter(c, c1);
  room.enter(a, a1);
  room.enter(a, a2);
  room.enter(b, b1);
  room.enter(b, b2);
  CHECK(room.who_gives_way_to(newcomer) == nullptr);
  room.enter(b, b3);
  CHECK(room.who_gives_way_to(newcomer) == &b1);
  CHECK(room.who_gives_way_to(a) == &b1);
  room.leave(b1);
  room.leave(b1); // once
  CHECK(room.size() == 5);
  CHECK(room.who_gives_way_to(newcomer) == nullptr);
  guest d1;
  room.enter(newcomer, d1);
  CHECK(room.who_gives_way_to(four(5)) == &a1); // as many as the other, and older
  for (auto* left : {&b2, &b3, &a1})
    room.leave(*left);
  guest e1, e2, e3;
  room.enter(four(5), e1);
  room.enter(four(6), e2);
  room.enter(four(7), e3);
  CHECK(room.who_gives_way_to(newcomer) == &c1); // each address has one: the oldest of all
  for (auto* left : {&c1, &a2, &d1, &e1, &e2, &e3})
    room.leave(*left);
  CHECK(room.size() == 0);
  CHECK(room.who_gives_way_to(newcomer) == nullptr);
}

TEST_CASE(
    "who comes from an address that has its share takes the place of one from there, a silent one first") {
  room_of_guests room{100, 3};
  guest other, first, second, third;
  room.enter(four(1), other);
  for (auto* g : {&first, &second, &third}) {
    CHECK(room.who_gives_way_to(four(2)) == nullptr);
    room.enter(four(2), *g);
  }
  CHECK(room.who_gives_way_to(four(2)) == &first);
  room.spoke(first);
  CHECK(room.who_gives_way_to(four(2)) == &second);
  room.spoke(second);
  room.spoke(third);
  CHECK(room.who_gives_way_to(four(2)) == &first); // nobody is silent
  CHECK(room.who_gives_way_to(four(3)) == nullptr);
}

TEST_CASE("a network with many addresses leaves the others half of the room, and gives way when it is full") {
  constexpr std::size_t guests_max = 1'000;
  for (const bool v6 : {true, false}) {
    CAPTURE(v6);
    room_of_guests room{guests_max, 125};
    std::vector<guest> crowd(2'000), others(400);
    const auto from = [&](std::uint64_t i) { return v6 ? six(i * 54) : four(1, i); };
    std::size_t inside = 0;
    const auto floods = [&](guest& g, std::uint64_t i) {
      while (auto* out = room.who_gives_way_to(from(i))) {
        REQUIRE(out >= crowd.data());
        REQUIRE(out < crowd.data() + crowd.size());
        room.leave(*out);
        --inside;
      }
      room.enter(from(i), g);
      ++inside;
    };
    std::size_t n = 0;
    for (; n < 600; ++n)
      floods(crowd[n], n);
    CHECK(inside == guests_max / 2);
    // The others are older than most of the flood, and come from everywhere, one from each network.
    for (std::uint64_t i = 0; i < others.size(); ++i) {
      const auto where = v6 ? six((i + 1) << 24) : four(1'000 + i);
      CHECK(room.who_gives_way_to(where) == nullptr);
      room.enter(where, others[i]);
    }
    for (; n < 1'200; ++n)
      floods(crowd[n], n);
    CHECK(inside == guests_max / 2);
  }
}

TEST_CASE("handshakes of a network are at most half of all, however many addresses it has") {
  const auto now = core::token_bucket::time_point{} + std::chrono::hours{100};
  const gateway::network_limits::rates rates{250, 4ms, 1'000, 500us};
  const auto admitted = [&](auto from, core::token_bucket::time_point later) {
    gateway::network_limits limits{rates, 20'000};
    int at_once = 0, then = 0;
    for (std::uint64_t i = 0; i < 2'000; ++i)
      at_once += limits.admit(from(i), now);
    for (std::uint64_t i = 0; i < 2'000; ++i)
      then += limits.admit(from(i), later);
    return std::pair{at_once, then};
  };
  const auto later = now + 100ms;
  CHECK(admitted([](auto) { return six(7); }, later) == std::pair{250, 25});
  CHECK(admitted([](auto i) { return six(i % 256); }, later) == std::pair{500, 100});
  CHECK(admitted([](auto i) { return six(i % 256 << 8); }, later) == std::pair{500, 100});
  CHECK(admitted([](auto i) { return four(9, i); }, later) == std::pair{500, 100});
  CHECK(admitted([](auto i) { return four(i); }, later).first == 2'000);
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

TEST_CASE_FIXTURE(fixture, "in a crowd nobody who goes on at once has to give way to those who come later") {
  config.pre_login_max = 100;
  config.pre_login_per_address_max = 4;
  config.handshakes_waiting_max = 8;
  start();
  struct newcomer {
    std::unique_ptr<raw_client> line;
    bool spoke = false;
  };
  std::vector<newcomer> crowd;
  for (unsigned n = 1; n <= 250; ++n) {
    crowd.push_back({stranger_from(*this, n)});
    SSL_do_handshake(crowd.back().line->ssl());
  }
  std::size_t lost = 0;
  const auto leaves = [&](newcomer& n) {
    if (!n.spoke) {
      if (SSL_do_handshake(n.line->ssl()) != 1) {
        const bool ended = SSL_get_error(n.line->ssl(), -1) != SSL_ERROR_WANT_READ;
        lost += ended;
        return ended;
      }
      n.line->send(bootstrap_message());
      n.spoke = true;
    }
    const bool ended = n.line->ended();
    lost += ended && n.line->received.empty();
    return ended || !n.line->received.empty();
  };
  const auto end = std::chrono::steady_clock::now() + patient(10s);
  while (!crowd.empty() && std::chrono::steady_clock::now() < end) {
    // One look of the loop at its sockets, so that clients go on as soon as they can.
    io.provider->getTimer().afterDelay(0 * kj::NANOSECONDS).wait(io.waitScope);
    std::erase_if(crowd, leaves);
  }
  CHECK(crowd.empty());
  CHECK(lost == 0);
  CHECK(closes(close_reason::refused) == 0);
}

TEST_CASE_FIXTURE(fixture, "one address cannot take all the room before login") {
  CHECK(config.pre_login_per_address_max * 8 <= config.pre_login_max);
  config.pre_login_per_address_max = 1;
  start();
  auto other = stranger_from(*this, 3);
  auto first = stranger_from(*this, 2);
  REQUIRE(until([&] { return server->connections() == 2; }));
  auto second = stranger_from(*this, 2);
  CHECK(until([&] { return first->ended(); }));
  CHECK(second->handshake());
  CHECK(other->handshake());
  CHECK(server->connections() == 2);
}

TEST_CASE_FIXTURE(fixture,
                  "those who say nothing do not keep others of their address out, nor push out who speaks") {
  config.pre_login_per_address_max = 3;
  start();
  auto decent = stranger_from(*this, 2);
  REQUIRE(decent->handshake());
  decent->send(bootstrap_message());
  REQUIRE(until([&] {
    decent->ended();
    return !decent->received.empty();
  }));
  std::vector<std::unique_ptr<raw_client>> silent;
  for (unsigned n = 1; n <= 20; ++n) {
    silent.push_back(stranger_from(*this, 2));
    REQUIRE(until([&] { return shared.metrics.accepted == n + 1; }));
  }
  CHECK(until([&] { return server->connections() == 3; }));
  CHECK_FALSE(decent->ended());
  auto newcomer = stranger_from(*this, 2);
  CHECK(newcomer->handshake());
  CHECK_FALSE(decent->ended());
  CHECK(shared.metrics.refused == 0);
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
                  "a connection above those that a node has is refused, whoever asks, and counted as such") {
  config.connections_max = 1;
  start();
  auto first = stranger_from(*this, 2);
  CHECK(first->handshake());
  auto second = stranger_from(*this, 3);
  CHECK(!second->handshake());
  CHECK(shared.metrics.refused_full == 1);
  CHECK(shared.metrics.refused == 0);
}

TEST_CASE_FIXTURE(fixture,
                  "a gateway's loop is seen to turn, and its accepting to stand still while somebody waits") {
  config.handshakes_burst = config.address_handshakes_burst = 1;
  config.handshake_every = config.address_handshake_every = 1h; // the second connection is not accepted
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

#include "cluster/links/peer_tls.hpp"

#include "tests/cluster/links/link_fixture.hpp"
#include "tests/support/certificates.hpp"
#include "tests/support/scratch_directory.hpp"

#include <doctest/doctest.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <array>

using namespace parley;
using namespace parley::test;

namespace {

using side = peer_tls_session::side;
using outcome = peer_tls_session::outcome;

peer_tls_context context_of(const links_config& c) {
  return peer_tls_context::load(c.cert_file, c.key_file, c.ca_file).value();
}

struct socket_pair {
  socket_pair() {
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd.data()) == 0);
  }
  ~socket_pair() {
    for (const int f : fd)
      if (f >= 0)
        ::close(f);
  }
  void hang_up(std::size_t which) { ::close(std::exchange(fd[which], -1)); }
  std::array<int, 2> fd{};
};

/// Both sides' steps, in turn, until nothing moves. True when both have a session.
bool shake_hands(peer_tls_session& caller, peer_tls_session& door) {
  for (int i = 0; i < 10 && !(caller.established() && door.established()); ++i)
    for (auto* s : {&caller, &door}) {
      s->begin_reading();
      if (s->handshake() == outcome::over)
        return false;
    }
  return caller.established() && door.established();
}

std::string read_all(peer_tls_session& from) {
  std::string out;
  std::array<char, 1000> piece{};
  from.begin_reading();
  for (;;) {
    const auto r = from.read(piece.data(), piece.size());
    if (r.what != outcome::some)
      return out;
    out.append(piece.data(), r.bytes);
  }
}

/// Frames of CAF as the session follows them: a header that announces what comes, and that much.
std::string frame(std::size_t payload) {
  std::string out(frame_follower::header_bytes, '\0');
  for (int i = 0; i < 4; ++i)
    out[static_cast<std::size_t>(4 + i)] = static_cast<char>(payload >> (24 - 8 * i));
  return out + std::string(payload, 'x');
}

struct connected_pair {
  socket_pair sockets;
  peer_tls_context a = context_of(test_links(1)), b = context_of(test_links(2));
  peer_tls_session caller{a, sockets.fd[0], side::caller}, door{b, sockets.fd[1], side::door};
  connected_pair() { REQUIRE(shake_hands(caller, door)); }
};

} // namespace

TEST_CASE("a certificate of another authority, of a client, or none gets no session") {
  auto client = test_links(2);
  client.cert_file = certificates() + "/node-2/client.pem";
  client.key_file = certificates() + "/node-2/client.key";
  client.ca_file = certificates() + "/node-ca.pem";
  for (const auto& stranger : {test_links(2, "theirs"), client})
    for (const auto which : {side::caller, side::door}) {
      socket_pair sockets;
      const auto ours = context_of(test_links(1)), theirs = context_of(stranger);
      peer_tls_session caller{which == side::caller ? theirs : ours, sockets.fd[0], side::caller};
      peer_tls_session door{which == side::door ? theirs : ours, sockets.fd[1], side::door};
      CHECK_FALSE(shake_hands(caller, door));
    }
  socket_pair sockets;
  const auto ours = context_of(test_links(1));
  peer_tls_session door{ours, sockets.fd[1], side::door};
  std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> bare{SSL_CTX_new(TLS_method()), SSL_CTX_free};
  std::unique_ptr<SSL, decltype(&SSL_free)> nobody{SSL_new(bare.get()), SSL_free};
  SSL_set_fd(nobody.get(), sockets.fd[0]);
  auto at_door = outcome::none_yet;
  for (int i = 0; i < 10 && at_door != outcome::over; ++i) {
    SSL_connect(nobody.get());
    door.begin_reading();
    at_door = door.handshake();
  }
  CHECK(at_door == outcome::over);
}

TEST_CASE("if a node's certificate has expired, both sides know whose it is, and why there is no session") {
  scratch_directory scratch;
  const auto dir = scratch.path().string();
  std::filesystem::copy(certificates(), dir, std::filesystem::copy_options::recursive);
  make_short_lived(dir, "node", "2", 0);
  auto config = test_links(2);
  config.cert_file = dir + "/node-2/node.pem";
  const auto ours = context_of(test_links(1)), expired = context_of(config);
  for (const auto which : {side::caller, side::door}) {
    socket_pair sockets;
    peer_tls_session caller{which == side::caller ? expired : ours, sockets.fd[0], side::caller};
    peer_tls_session door{which == side::door ? expired : ours, sockets.fd[1], side::door};
    CHECK_FALSE(shake_hands(caller, door));
    read_all(caller); // a caller may learn only now that it was refused
    read_all(door);
    const auto& refuser = (which == side::caller ? door : caller).fault();
    const auto& refused = (which == side::caller ? caller : door).fault();
    REQUIRE(refuser);
    CHECK(refuser->peer == node_id{2});
    CHECK(refuser->why == "certificate has expired");
    CHECK(refuser->ours);
    REQUIRE(refused);
    CHECK_MESSAGE(refused->why.find("certificate expired") != std::string::npos, refused->why);
    CHECK_FALSE(refused->ours);
  }
}

TEST_CASE("a peer that goes away in the middle of a handshake is no fault of its certificate") {
  socket_pair sockets;
  const auto ours = context_of(test_links(1));
  peer_tls_session door{ours, sockets.fd[1], side::door};
  sockets.hang_up(0);
  door.begin_reading();
  CHECK(door.handshake() == outcome::over);
  CHECK_FALSE(door.fault());
}

TEST_CASE("a version of TLS older than 1.3 is refused") {
  socket_pair sockets;
  const auto ours = context_of(test_links(1));
  peer_tls_session door{ours, sockets.fd[1], side::door};
  const auto old = context_of(test_links(2));
  SSL_CTX_set_min_proto_version(old.now().get(), TLS1_2_VERSION);
  SSL_CTX_set_max_proto_version(old.now().get(), TLS1_2_VERSION);
  peer_tls_session caller{old, sockets.fd[0], side::caller};
  CHECK_FALSE(shake_hands(caller, door));
}

TEST_CASE("an error that one connection left in OpenSSL's queue does not end another connection") {
  connected_pair p;
  ERR_put_error(ERR_LIB_SSL, 0, ERR_R_INTERNAL_ERROR, __FILE__, __LINE__);
  char byte = 0;
  p.door.begin_reading();
  CHECK(p.door.read(&byte, 1).what == outcome::none_yet);
}

TEST_CASE("reading and writing end when the peer is gone, and no signal is raised") {
  connected_pair p;
  p.sockets.hang_up(0);
  char byte = 0;
  p.door.begin_reading();
  CHECK(p.door.read(&byte, 1).what == outcome::over);
  CHECK(p.door.write("x", 1).what == outcome::over);
}

TEST_CASE("a record that arrives in two pieces is read when the second has arrived") {
  connected_pair p;
  socket_pair between; // the door's new socket: what the caller wrote comes through here piece by piece
  const auto said = frame(5000);
  REQUIRE(p.caller.write(said.data(), said.size()).what == outcome::some);
  std::string wire(20'000, '\0');
  const auto n = ::recv(p.sockets.fd[1], wire.data(), wire.size(), 0);
  REQUIRE(n > 5000);
  REQUIRE(::dup2(between.fd[1], p.sockets.fd[1]) == p.sockets.fd[1]);
  REQUIRE(::send(between.fd[0], wire.data(), 3000, 0) == 3000);
  CHECK(read_all(p.door).empty());
  CHECK(p.door.holds_more());
  REQUIRE(::send(between.fd[0], wire.data() + 3000, static_cast<std::size_t>(n) - 3000, 0) == n - 3000);
  CHECK(read_all(p.door) == said);
  CHECK_FALSE(p.door.holds_more());
}

TEST_CASE(
    "a write that the socket does not accept reports `none_yet`, and the next attempt sends all of it") {
  connected_pair p;
  const auto said = frame(4 << 20);
  std::string heard;
  int tries = 0;
  while (p.caller.write(said.data(), said.size()).what == outcome::none_yet && ++tries < 10'000)
    heard += read_all(p.door);
  heard += read_all(p.door);
  CHECK(tries > 1);
  CHECK(heard == said);
}

TEST_CASE("reading from a peer that never pauses stops after a bounded amount, and nothing is lost") {
  connected_pair p;
  const int wide = 8 << 20; // both sides' buffers, so that the socket holds more than one look takes
  for (const int fd : p.sockets.fd)
    ::setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &wide, sizeof wide);
  const auto said = frame(3 << 20);
  if (p.caller.write(said.data(), said.size()).what != outcome::some)
    return; // this kernel does not let buffers grow: the case before covers what is left
  const auto first = read_all(p.door);
  CHECK(first.size() > 0);
  CHECK(first.size() < said.size());
  auto heard = first;
  for (int i = 0; i < 100 && heard.size() < said.size(); ++i)
    heard += read_all(p.door);
  CHECK(heard == said);
}

TEST_CASE("a frame that announces too many bytes ends the connection") {
  connected_pair p;
  const auto said = frame(caf_payload_bytes_max + 1).substr(0, 1000);
  REQUIRE(p.caller.write(said.data(), said.size()).what == outcome::some);
  std::array<char, 2000> to{};
  p.door.begin_reading();
  CHECK(p.door.read(to.data(), to.size()).what == outcome::over);
  CHECK(p.caller.write("x", 1).what == outcome::over);
}

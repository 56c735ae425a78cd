// Handshakes: which cipher suite they take, and in how many pieces a client sends them.
#include "tests/protocol/gateway/fixture.hpp"

#include <doctest/doctest.h>

#include <capnp/message.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>

#include <functional>
#include <limits>
#include <set>

using namespace parley;
using namespace parley::test;

namespace {

/// The suite that a server of ours takes if a client offers these, in this order.
std::string chosen(const char* offered) {
  const test_certificate certificate;
  const auto server =
      transport::make_server_context({certificate.certificate_file, certificate.key_file}).value();
  const auto client = transport::make_client_context({certificate.certificate_file}).value();
  REQUIRE(SSL_CTX_set_ciphersuites(client.get(), offered) == 1);
  SSL* ends[] = {SSL_new(server.get()), SSL_new(client.get())};
  SSL_set_accept_state(ends[0]);
  SSL_set_connect_state(ends[1]);
  BIO *left = nullptr, *right = nullptr;
  REQUIRE(BIO_new_bio_pair(&left, 1 << 16, &right, 1 << 16) == 1);
  SSL_set_bio(ends[0], left, left);
  SSL_set_bio(ends[1], right, right);
  for (int steps = 0; steps < 4; ++steps)
    for (auto* end : {ends[1], ends[0]})
      SSL_do_handshake(end);
  REQUIRE(SSL_is_init_finished(ends[0]) == 1);
  std::string name = SSL_get_cipher_name(ends[0]);
  for (auto* end : ends)
    SSL_free(end);
  return name;
}

struct handshake_fixture : fixture {
  handshake_fixture() { client_tls = transport::make_client_context({certificate.certificate_file}).value(); }
};

/// The server's end of a connection, read and written by hand.
struct served {
  explicit served(const test_certificate& certificate, const char* groups = nullptr)
      : context{transport::make_server_context({certificate.certificate_file, certificate.key_file}).value()},
        listener{transport::listen_on(*transport::resolve({"127.0.0.1", 0}), 1).value()} {
    if (groups != nullptr)
      REQUIRE(SSL_CTX_set1_groups_list(context.get(), groups) == 1);
    ssl = SSL_new(context.get());
    SSL_set_accept_state(ssl);
    SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
  }
  ~served() { SSL_free(ssl); }

  kj::AutoCloseFd connect() {
    const auto to = *transport::resolve({"127.0.0.1", transport::local_port(listener.get())});
    kj::AutoCloseFd client{::socket(to.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    REQUIRE(::connect(client.get(), reinterpret_cast<const sockaddr*>(&to.storage), to.size) == 0);
    transport::tune(client.get(), {});
    REQUIRE(arrives(listener.get()));
    fd = kj::AutoCloseFd{::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC)};
    REQUIRE(fd.get() >= 0);
    return client;
  }
  static bool arrives(int on) {
    pollfd it{on, POLLIN, 0};
    return ::poll(&it, 1, patient(10'000)) == 1;
  }
  /// Takes what arrived with one read, and answers it. True once the handshake is done.
  bool take() {
    char bytes[16'384];
    REQUIRE(arrives(fd.get()));
    const auto n = ::recv(fd.get(), bytes, sizeof bytes, 0);
    REQUIRE(n > 0);
    BIO_write(SSL_get_rbio(ssl), bytes, static_cast<int>(n));
    const bool done = SSL_do_handshake(ssl) == 1;
    const auto answer = BIO_read(SSL_get_wbio(ssl), bytes, sizeof bytes);
    if (answer > 0)
      REQUIRE(::send(fd.get(), bytes, static_cast<std::size_t>(answer), MSG_NOSIGNAL) == answer);
    return done;
  }

  transport::tls_context context;
  kj::AutoCloseFd listener, fd;
  SSL* ssl = nullptr;
};

} // namespace

TEST_CASE_FIXTURE(handshake_fixture, "a client's first message travels with the end of its handshake") {
  served server{certificate};
  transport::message_stream client{io.unixEventPort,        server.connect(), client_tls,
                                   transport::side::client, client_limits,    "127.0.0.1"};
  auto shaken = client.handshake();
  CHECK_FALSE(server.take());
  capnp::MallocMessageBuilder message;
  message.initRoot<rpc::Error>().setCode(7);
  get(shaken.then([&] { return client.writeMessage(nullptr, message.getSegmentsForOutput()); }).then([&] {
    return client.flushed();
  }));
  CHECK(server.take());
  char byte = 0;
  CHECK(SSL_read(server.ssl, &byte, 1) == 1);
}

TEST_CASE_FIXTURE(handshake_fixture,
                  "a client whose first curve the server does not want says hello again at once") {
  served server{certificate, "P-256"};
  transport::message_stream client{io.unixEventPort,        server.connect(), client_tls,
                                   transport::side::client, client_limits,    "127.0.0.1"};
  bool done = false;
  auto shaken = client.handshake().then([&] { done = true; }).eagerlyEvaluate(nullptr);
  const auto first_hello = client.bytes_out();
  CHECK_FALSE(server.take()); // it asks for the other curve
  REQUIRE(until([&] { return client.bytes_out() > first_hello; }));
  pollfd arrived{server.fd.get(), POLLIN, 0};
  CHECK(::poll(&arrived, 1, 0) == 1);
  CHECK_FALSE(server.take());
  CHECK(until([&] { return done; }));
}

TEST_CASE("a handshake takes the suite that costs a node least, whatever else the client prefers") {
  CHECK(chosen("TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256") ==
        "TLS_AES_128_GCM_SHA256");
}

TEST_CASE("a client that names ChaCha20 first has no instructions for AES, and gets it") {
  CHECK(chosen("TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256") ==
        "TLS_CHACHA20_POLY1305_SHA256");
}

TEST_CASE("a client that knows AES-256 only is served") {
  CHECK(chosen("TLS_AES_256_GCM_SHA384") == "TLS_AES_256_GCM_SHA384");
}

TEST_CASE("steps of handshakes are taken in their order, and one that nobody waits for is left out") {
  auto io = kj::setupAsyncIo();
  transport::step_line turns{io.provider->getTimer(), 1 * kj::MILLISECONDS};
  std::vector<int> taken;
  const auto note = [&](int n) {
    return turns.next().then([&taken, n] { taken.push_back(n); }).eagerlyEvaluate(nullptr);
  };
  auto first = note(1);
  kj::Maybe<kj::Promise<void>> second = note(2);
  auto third = note(3);
  second = nullptr;
  third.wait(io.waitScope);
  CHECK(taken == std::vector<int>{1, 3});
  auto fourth = note(4); // nobody waited meanwhile
  fourth.wait(io.waitScope);
  CHECK(taken.size() == 3);
}

namespace {

/// Events that follow from each other without an end, as on a loop that somebody keeps busy.
kj::Promise<void> chain(std::uint64_t left, std::uint64_t& done) {
  if (left == 0)
    return kj::READY_NOW;
  ++done;
  return kj::evalLater([left, &done] { return chain(left - 1, done); });
}

} // namespace

TEST_CASE_FIXTURE(fixture, "a step comes behind all that the others have begun, however much that is") {
  io.waitScope.setBusyPollInterval(32); // as the loops of a node
  transport::step_line line{io.provider->getTimer(), 1 * kj::HOURS};
  std::uint64_t done = 0;
  constexpr std::uint64_t events = 10'000;
  auto others = chain(events, done).eagerlyEvaluate(nullptr);
  line.next().wait(io.waitScope);
  CHECK(done == events);
}

TEST_CASE_FIXTURE(fixture, "a step is taken although the loop never comes to rest") {
  io.waitScope.setBusyPollInterval(32);
  transport::step_line line{io.provider->getTimer(), 1 * kj::MILLISECONDS};
  std::uint64_t done = 0;
  auto others = chain(std::numeric_limits<std::uint64_t>::max(), done).eagerlyEvaluate(nullptr);
  line.next().wait(io.waitScope);
  CHECK(done > 0);
}

TEST_CASE_FIXTURE(fixture, "a connection that has said nothing waits for no turn") {
  transport::step_line turns{io.provider->getTimer(), 1 * kj::MILLISECONDS};
  lone_stream here{*this};
  bool shaken = false;
  auto handshake = here.stream.handshake(&turns).then([&] { shaken = true; }).eagerlyEvaluate(nullptr);
  CHECK(turns.waiting() == 0);
  REQUIRE(here.peer.handshake());
  CHECK(until([&] { return shaken; }));
  CHECK(turns.waiting() == 0);
}

TEST_CASE_FIXTURE(
    fixture,
    "much that is written leaves in steps, and what else waits in their line comes between two of them") {
  transport::step_line line{io.provider->getTimer(), 1 * kj::MILLISECONDS};
  lone_stream here{*this};
  auto& stream = here.stream;
  here.shake_hands();

  stream.write_in_steps(&line);
  constexpr std::size_t megabyte = 1024 * 1024;
  const auto words = kj::heapArray<capnp::word>(megabyte / sizeof(capnp::word));
  const kj::ArrayPtr<const capnp::word> segment = words;
  stream.write(kj::arrayPtr(&segment, 1));
  std::set<std::size_t> left; // at the steps of somebody else
  struct nothing final : kj::TaskSet::ErrorHandler {
    void taskFailed(kj::Exception&&) override {}
  } ignored;
  kj::TaskSet tasks{ignored};
  std::function<void()> again = [&] {
    tasks.add(line.next().then([&] {
      left.insert(stream.unsent_bytes());
      if (stream.unsent_bytes() > 0)
        again();
    }));
  };
  again();
  CHECK(until([&] { return !here.peer.ended() && stream.unsent_bytes() == 0; }));
  CHECK(left.size() >= 4); // all of it, what three steps leave, and perhaps what a full socket did
}

// Peers that do not get as far as a call: silence, floods, other protocols, impossible frames.
#include "tests/protocol/gateway/fixture.hpp"

#include <doctest/doctest.h>

using namespace parley;
using namespace parley::test;
using namespace std::chrono_literals;
using transport::close_reason;

TEST_CASE_FIXTURE(fixture, "a connection that sends nothing is closed at the login deadline") {
  config.login_deadline = 50ms;
  start();
  raw_client silent{*this};
  CHECK(closed_for(close_reason::login_deadline));
  CHECK(until([&] { return silent.ended(); }));
}

TEST_CASE_FIXTURE(fixture, "a connection that stops after its handshake is closed at the login deadline") {
  config.login_deadline = 150ms;
  start();
  raw_client silent{*this};
  CHECK(silent.handshake());
  CHECK(closed_for(close_reason::login_deadline));
}

TEST_CASE_FIXTURE(fixture, "plaintext on the TLS port is closed") {
  start();
  raw_client plain{*this};
  plain.send_plain("GET / HTTP/1.1\r\nHost: parley\r\n\r\n");
  CHECK(closed_for(close_reason::handshake_failed));
  CHECK(shared.metrics.handshakes_failed == 1);
}

TEST_CASE_FIXTURE(fixture, "TLS 1.2 is refused") {
  start();
  raw_client old{*this, TLS1_2_VERSION};
  CHECK_FALSE(old.handshake());
  CHECK(closed_for(close_reason::handshake_failed));
}

TEST_CASE_FIXTURE(fixture, "TLS for another protocol is refused") {
  start();
  raw_client other{*this};
  SSL_set_alpn_protos(other.ssl(), reinterpret_cast<const unsigned char*>("\x02h2"), 3);
  CHECK_FALSE(other.handshake());
  CHECK(until([&] { return server->connections() == 0 && shared.metrics.handshakes_failed == 1; }));
}

TEST_CASE_FIXTURE(fixture, "a flood of key updates is closed") {
  start();
  raw_client flood{*this};
  REQUIRE(flood.handshake());
  for (int i = 0; i < 200; ++i) {
    SSL_key_update(flood.ssl(), SSL_KEY_UPDATE_NOT_REQUESTED);
    SSL_do_handshake(flood.ssl());
  }
  CHECK(closed_for(close_reason::handshake_flood));
}

TEST_CASE_FIXTURE(fixture, "a few key updates are accepted") {
  start();
  raw_client polite{*this};
  REQUIRE(polite.handshake());
  for (int i = 0; i < 5; ++i) {
    SSL_key_update(polite.ssl(), SSL_KEY_UPDATE_REQUESTED);
    SSL_do_handshake(polite.ssl());
  }
  polite.send(words({0xffffffff, 0})); // closes for another reason: the key updates were read before it
  CHECK(closed_for(close_reason::bad_frame));
}

TEST_CASE_FIXTURE(fixture, "one byte at a time does not outlive the login deadline") {
  config.login_deadline = 200ms;
  start();
  raw_client slow{*this};
  REQUIRE(slow.handshake());
  const auto frame = words({0, 100});
  std::size_t sent = 0;
  CHECK(until([&] {
    if (sent < frame.size())
      slow.send(std::string_view{frame}.substr(sent++, 1));
    else
      slow.send("x");
    return closes(close_reason::login_deadline) == 1;
  }));
}

TEST_CASE_FIXTURE(fixture, "more than 16 KiB before login is closed") {
  start();
  raw_client talker{*this};
  REQUIRE(talker.handshake());
  // One message of 3,000 words, announced truthfully and below every other limit.
  talker.send(words({0, 3000}) + std::string(20'000, '\0'));
  CHECK(closed_for(close_reason::login_bytes));
}

TEST_CASE_FIXTURE(fixture, "a segment table of ffffffff is closed") {
  start();
  raw_client hostile{*this};
  REQUIRE(hostile.handshake());
  hostile.send(words({0xffffffff, 0xffffffff}));
  CHECK(closed_for(close_reason::bad_frame));
}

TEST_CASE_FIXTURE(fixture, "513 segments are closed, 512 are not") {
  start();
  raw_client hostile{*this};
  REQUIRE(hostile.handshake());
  hostile.send(words({512, 0}));
  CHECK(closed_for(close_reason::bad_frame));
  raw_client borderline{*this};
  REQUIRE(borderline.handshake());
  borderline.send(words({511, 0}));
  // The table is not complete: the connection waits for the rest.
  CHECK(until([&] { return server->connections() == 1; }));
  borderline.reset();
  CHECK(until([&] { return server->connections() == 0; }));
  CHECK(closes(close_reason::bad_frame) == 1);
}

TEST_CASE_FIXTURE(fixture, "a segment of 2^31 words is closed before anything is allocated for it") {
  start();
  raw_client hostile{*this};
  REQUIRE(hostile.handshake());
  hostile.send(words({0, 0x80000000}));
  CHECK(closed_for(close_reason::message_too_large));
}

TEST_CASE_FIXTURE(fixture, "segments whose sizes overflow 32 bits together are closed") {
  start();
  raw_client hostile{*this};
  REQUIRE(hostile.handshake());
  hostile.send(words({1, 0x80000000, 0x80000000, 0}));
  CHECK(closed_for(close_reason::message_too_large));
}

TEST_CASE_FIXTURE(fixture, "a message one word above the limit is closed") {
  start();
  raw_client hostile{*this};
  REQUIRE(hostile.handshake());
  hostile.send(words({0, static_cast<std::uint32_t>(config.stream.message_words_max) + 1}));
  CHECK(closed_for(close_reason::message_too_large));
}

TEST_CASE_FIXTURE(fixture, "a message that ends too early is closed as truncated") {
  start();
  raw_client hostile{*this};
  REQUIRE(hostile.handshake());
  hostile.send(words({0, 10}) + std::string(40, '\0'));
  SSL_shutdown(hostile.ssl());
  CHECK(closed_for(close_reason::truncated));
}

TEST_CASE_FIXTURE(fixture, "a message without a root does not disturb other clients") {
  start();
  raw_client hostile{*this};
  REQUIRE(hostile.handshake());
  hostile.send(words({0, 0}));
  test_client decent{*this};
  CHECK(decent.hello().claim.node == config.node);
}

TEST_CASE_FIXTURE(fixture, "random bytes in the place of a message do not disturb other clients") {
  start();
  std::uint64_t state = 42;
  for (int i = 0; i < 100; ++i) {
    raw_client hostile{*this};
    REQUIRE(hostile.handshake());
    std::string noise;
    for (int w = 0; w < 64; ++w) {
      state = mix64(state + 0x9e3779b97f4a7c15ULL);
      // Small numbers now and then: they make pointers that look almost right.
      const auto v = w % 3 == 0 ? state % 64 : state;
      noise.append(reinterpret_cast<const char*>(&v), sizeof v);
    }
    hostile.send(words({0, 64}) + noise);
  }
  test_client decent{*this};
  CHECK(decent.hello().claim.node == config.node);
  CHECK(until([&] { return server->connections() == 1; }));
}

TEST_CASE_FIXTURE(fixture, "a client refuses a server with another name or of another authority") {
  start();
  const auto to = transport::resolve({"127.0.0.1", server->port()});
  const auto attempt = [&](const std::string& peer, const transport::tls_context& tls) {
    try {
      get(transport::connect(io.unixEventPort, *to, peer, tls, client_limits));
      return true;
    } catch (const kj::Exception&) {
      return false;
    }
  };
  CHECK(attempt("127.0.0.1", client_tls));
  CHECK_FALSE(attempt("127.0.0.2", client_tls));
  CHECK_FALSE(attempt("chat.example", client_tls));
  CHECK_FALSE(attempt("", client_tls));
  test_certificate stranger;
  const auto other = transport::make_client_context({stranger.certificate_file});
  CHECK_FALSE(attempt("127.0.0.1", *other));
}

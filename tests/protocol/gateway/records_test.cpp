// How much a stream reads before others have their turn.
#include "tests/protocol/gateway/fixture.hpp"

#include <doctest/doctest.h>

#include <sys/eventfd.h>
#include <unistd.h>

using namespace parley;
using namespace parley::test;

TEST_CASE_FIXTURE(fixture, "a message that arrives byte by byte leaves the others their turns") {
  auto tls = transport::make_server_context({certificate.certificate_file, certificate.key_file});
  REQUIRE(tls.has_value());
  const auto here = transport::resolve({"127.0.0.1", 0});
  REQUIRE(here.has_value());
  auto listening = transport::listen_on(*here, 1);
  REQUIRE(listening.has_value());
  port = transport::local_port(listening->get());
  raw_client peer{*this};
  int fd = -1;
  REQUIRE(until([&] { return (fd = ::accept(listening->get(), nullptr, nullptr)) >= 0; }));
  transport::message_stream stream{io.unixEventPort, kj::AutoCloseFd{fd}, *tls, transport::side::server,
                                   config.stream};
  bool shaken = false;
  auto handshake = stream.handshake().then([&] { shaken = true; }).eagerlyEvaluate(nullptr);
  REQUIRE(peer.handshake());
  REQUIRE(until([&] { return shaken; }));
  bool whole = false;
  auto message =
      stream.receive(transport::rpc_options(64)).then([&](auto&&) { whole = true; }).eagerlyEvaluate(nullptr);
  io.waitScope.poll();

  peer.send(words({0, 512})); // one segment of 512 words
  constexpr std::size_t records = 512 * sizeof(capnp::word);
  for (std::size_t i = 0; i < records; ++i)
    peer.send("x");
  // Somebody else hears of something in the same moment, and has a turn now and then.
  kj::AutoCloseFd bell{eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC)};
  kj::UnixEventPort::FdObserver rung{io.unixEventPort, bell.get(),
                                     kj::UnixEventPort::FdObserver::OBSERVE_READ};
  unsigned turns = 0;
  std::function<kj::Promise<void>()> turn = [&]() -> kj::Promise<void> {
    if (whole)
      return kj::READY_NOW;
    ++turns;
    return kj::evalLater([&turn] { return turn(); });
  };
  auto other = rung.whenBecomesReadable().then([&] { return turn(); }).eagerlyEvaluate(nullptr);
  REQUIRE(until([&] { return whole; }));
  CHECK(turns >= records / 128);
}

TEST_CASE_FIXTURE(fixture, "who sends short messages without a pause lets others have their turn") {
  start();
  test_client busy{*this}, calm{*this};
  auto floods = busy.login(), talks = calm.login();
  std::size_t answered = 0;
  constexpr std::size_t many = 2'000;
  kj::Vector<kj::Promise<void>> pings;
  for (std::size_t i = 0; i < many; ++i)
    pings.add(floods.pingRequest().send().then([&answered](auto&&) { ++answered; }).eagerlyEvaluate(nullptr));
  get(talks.pingRequest().send().ignoreResult());
  CHECK(answered < many); // all of these were sent before
  CHECK(until([&] { return answered == many; }));
}

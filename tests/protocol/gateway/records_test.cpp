// How much a stream reads before others have their turn, and when answers leave.
#include "tests/protocol/gateway/fixture.hpp"
#include "tests/protocol/gateway/hand_made.hpp"

#include <doctest/doctest.h>

#include <sys/eventfd.h>
#include <unistd.h>

#include <cstring>
#include <functional>
#include <set>

using namespace parley;
using namespace parley::test;

TEST_CASE_FIXTURE(fixture, "a message that arrives byte by byte leaves the others their turns") {
  lone_stream here{*this};
  here.shake_hands();
  bool whole = false;
  auto message = here.stream.receive(transport::rpc_options(64))
                     .then([&](auto&&) { whole = true; })
                     .eagerlyEvaluate(nullptr);
  io.waitScope.poll();

  here.peer.send(words({0, 512})); // one segment of 512 words
  constexpr std::size_t records = 512 * sizeof(capnp::word);
  for (std::size_t i = 0; i < records; ++i)
    here.peer.send("x");
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

TEST_CASE_FIXTURE(fixture,
                  "whoever says much without a pause is read in steps, between which others have theirs") {
  transport::step_line line{io.provider->getTimer(), 1 * kj::HOURS};
  lone_stream here{*this};
  here.shake_hands();
  here.stream.read_in_steps(&line);
  constexpr std::size_t messages = 300;
  std::size_t read = 0;
  std::function<kj::Promise<void>()> listen = [&]() -> kj::Promise<void> {
    return here.stream.receive(transport::rpc_options(64)).then([&](auto&&) -> kj::Promise<void> {
      return ++read == messages ? kj::Promise<void>{kj::READY_NOW} : listen();
    });
  };
  std::string all;
  for (std::size_t i = 0; i < messages; ++i)
    all += words({0, 1, 7, 7}); // one segment of a word
  here.peer.send(all);
  auto all_read = listen().eagerlyEvaluate(nullptr);
  std::set<std::size_t> between; // what was read at the steps of somebody else
  std::function<kj::Promise<void>()> others = [&]() -> kj::Promise<void> {
    return line.next().then([&]() -> kj::Promise<void> {
      between.insert(read);
      return read == messages ? kj::Promise<void>{kj::READY_NOW} : others();
    });
  };
  auto step = others().eagerlyEvaluate(nullptr);
  REQUIRE(until([&] { return read == messages; }));
  CHECK(between.size() >= 8);
}

TEST_CASE_FIXTURE(fixture, "who keeps the loop busy holds back nobody's answers") {
  constexpr std::uint32_t many = 10'000;
  config.questions_max = many;
  config.stream.outbound_pause_bytes = 0; // although its answers pile up, nobody stops it
  start();
  constexpr unsigned events_between_polls = 32; // as the loops of a node
  io.waitScope.setBusyPollInterval(events_between_polls);
  test_client busy{*this}, calm{*this};
  auto floods = busy.login(), talks = calm.login();
  const auto before = shared.metrics.calls.load();
  const auto called = [&] { return shared.metrics.calls.load() - before; };
  kj::Vector<kj::Promise<void>> pings;
  for (std::uint32_t i = 0; i < many; ++i)
    pings.add(floods.pingRequest().send().ignoreResult().eagerlyEvaluate(nullptr));
  get(talks.pingRequest().send().ignoreResult());
  CHECK(called() < many / 2);
  CHECK(until([&] { return called() == many + 1; }));
}

TEST_CASE_FIXTURE(fixture, "the answers to what came together leave together") {
  start();
  raw_client peer{*this};
  REQUIRE(peer.handshake());
  constexpr std::size_t calls = 20;
  std::string all = bootstrap_message();
  for (std::uint32_t n = 1; n <= calls; ++n)
    all += door_call<rpc::Gateway::HelloParams>(n, door_method::hello,
                                                [](auto&, auto p) { p.setVersion(rpc::PROTOCOL_VERSION); });
  peer.send(all);
  const auto answers = [&peer] {
    std::size_t count = 0;
    for (std::size_t at = 0; at + 8 <= peer.received.size(); ++count) { // each has one segment
      std::uint32_t words = 0;
      std::memcpy(&words, peer.received.data() + at + 4, sizeof words);
      at += 8 + words * sizeof(capnp::word);
    }
    return count;
  };
  std::size_t records = 0;
  REQUIRE(until([&] {
    const auto before = peer.received.size();
    peer.ended();
    records += peer.received.size() != before;
    return answers() == 1 + calls;
  }));
  CHECK(records == 1);
}

#pragma once
#include "tests/protocol/client/device/notes.hpp"
#include "tests/protocol/client/fake_cluster.hpp"
#include "tests/support/patience.hpp"

#include <doctest/doctest.h>

#include <functional>

namespace parley::test {

using namespace std::chrono_literals;

/// Shows what the test sets.
struct fixed_calendar final : kj::Clock {
  std::int64_t ms = 1'700'000'000'000;
  kj::Date now() const override { return kj::UNIX_EPOCH + ms * kj::MILLISECONDS; }
};

struct device_fixture {
  kj::AsyncIoContext io = kj::setupAsyncIo();
  kj::Timer& timer = io.provider->getTimer();
  fake_cluster cluster{timer};
  client::memory_store store{{1'000}};
  notes seen;
  fixed_calendar calendar;
  client::config settings;
  std::unique_ptr<client::device> alice;
  user_id bob = cluster.user_of("+4922222222");
  conversation_id talk;

  device_fixture() {
    settings.seeds = *client::parse_seeds("node:1,node:2,node:3");
    settings.first_seed = 0;
    settings.reconnect = {1ms, 5ms};
    settings.resend = {1ms, 5ms};
    settings.ack_every = 20ms;
    settings.chance = 1;
  }

  client::device& make() {
    alice.reset();
    alice = std::make_unique<client::device>(timer, cluster, settings, store, seen, &seen, calendar);
    return *alice;
  }
  /// Registered, online, and with a conversation.
  client::device& online() {
    make();
    if (!store.who()) {
      REQUIRE(alice->request_code("+4911111111").wait(io.waitScope));
      REQUIRE(alice->register_device("+4911111111", "123456", "test").wait(io.waitScope));
    }
    alice->start();
    REQUIRE(alice->online().wait(io.waitScope));
    auto opened = alice->open_direct(bob).wait(io.waitScope);
    REQUIRE(opened);
    talk = opened->conversation;
    return *alice;
  }
  /// Lets the loop turn until `done`, for at most five seconds (of an optimised build).
  bool until(const std::function<bool()>& done) {
    const auto deadline = timer.now() + patient(5 * kj::SECONDS);
    while (!done() && timer.now() < deadline)
      timer.afterDelay(1 * kj::MILLISECONDS).wait(io.waitScope);
    return done();
  }
  void settle() {
    alice->settled()
        .exclusiveJoin(timer.afterDelay(patient(5 * kj::SECONDS)).then([] { FAIL("never settled"); }))
        .wait(io.waitScope);
  }
  std::size_t count(client::history_event::kind kind, client::history_event::what what) const {
    std::size_t n = 0;
    for (const auto& e : seen.history)
      n += e.type == kind && e.f == what;
    return n;
  }
};

} // namespace parley::test

#pragma once
#include "tests/protocol/client/fake_cluster.hpp"
#include "tests/support/patience.hpp"

#include <doctest/doctest.h>

#include <functional>

namespace parley::test {

using namespace std::chrono_literals;

/// Writes down what a device says.
struct notes final : client::observer, client::recorder {
  std::vector<client::link_state> states;
  std::vector<client::message> messages;
  std::vector<client::sent> sent;
  std::vector<ec> failed;
  std::vector<client::conversation_info> opened;
  std::vector<std::pair<seq_no, seq_no>> gaps;
  seq_no delivered{}, read{};
  std::vector<client::history_event> history;

  void on_state(const client::connection_state& s) override { states.push_back(s.state); }
  void on_message(const client::message& m) override { messages.push_back(m); }
  void on_sent(const client::sent& s) override { sent.push_back(s); }
  void on_failed(const client::outgoing&, const client::failure& f) override { failed.push_back(f.code); }
  void on_delivered(conversation_id, user_id, seq_no upto) override { delivered = upto; }
  void on_read(conversation_id, user_id, seq_no upto) override { read = upto; }
  void on_opened(const client::conversation_info& c) override { opened.push_back(c); }
  void on_gap(conversation_id, seq_no after, seq_no upto) override { gaps.emplace_back(after, upto); }
  void record(const client::history_event& e) override { history.push_back(e); }

  std::vector<std::string> bodies() const {
    std::vector<std::string> out;
    for (const auto& m : messages)
      out.push_back(m.body);
    return out;
  }
};

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
    if (!store.who())
      REQUIRE(alice->register_device("+4911111111", "123456", "test").wait(io.waitScope));
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

#include "cluster/links/network_scheduler.hpp"

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/event_based_actor.hpp>
#include <caf/io/middleman.hpp>
#include <caf/send.hpp>

#include <atomic>
#include <doctest/doctest.h>
#include <future>
#include <set>
#include <thread>

using namespace parley::cluster;
using namespace std::chrono_literals;

namespace {

struct settings : caf::actor_system_config {
  settings() {
    load<caf::io::middleman>();
    load<network_scheduler>();
    set("middleman.workers", std::size_t{0});
  }
};

/// Passes a number on, one lower; the last one is told to `done`.
caf::behavior relay(caf::event_based_actor* self, std::promise<std::thread::id>* done) {
  return {
      [=](int left, const caf::actor& next) {
        if (left == 0) {
          done->set_value(std::this_thread::get_id());
          self->quit();
          caf::anon_send_exit(next, caf::exit_reason::user_shutdown);
        } else {
          self->send(next, left - 1, caf::actor{self});
        }
      },
  };
}

} // namespace

TEST_CASE("an actor system can end while messages to its actors are still being sent") {
  for (int i = 0; i < 20; ++i) {
    settings config;
    caf::actor_system system{config};
    auto busy = system.spawn([](caf::event_based_actor* self) -> caf::behavior {
      return {[=](int n) { self->send(self, n + 1); }};
    });
    caf::anon_send(busy, 0);
    caf::anon_send_exit(busy, caf::exit_reason::user_shutdown);
  }
}

TEST_CASE("an actor that is always busy does not keep the others and the clock from running") {
  settings config;
  caf::actor_system system{config};
  auto busy = system.spawn([](caf::event_based_actor* self) -> caf::behavior {
    return {[=](int n) { self->send(self, n + 1); }};
  });
  caf::anon_send(busy, 0);
  std::promise<void> rang;
  auto sleeper = system.spawn([&rang](caf::event_based_actor* self) -> caf::behavior {
    self->delayed_send(self, 5ms, 1);
    return {[&rang](int) { rang.set_value(); }};
  });
  CHECK(rang.get_future().wait_for(10s) == std::future_status::ready);
  for (const auto& a : {busy, sleeper})
    caf::anon_send_exit(a, caf::exit_reason::kill);
}

TEST_CASE("actors run on the network's thread only, whichever thread sends to them") {
  settings config;
  caf::actor_system system{config};
  std::promise<std::thread::id> network;
  system.middleman().backend().post([&network] { network.set_value(std::this_thread::get_id()); });
  const auto expected = network.get_future().get();
  std::vector<std::thread> senders;
  std::vector<std::promise<std::thread::id>> done(8);
  for (auto& d : done)
    senders.emplace_back([&system, &d] {
      auto a = system.spawn(relay, &d);
      auto b = system.spawn(relay, &d);
      caf::anon_send(a, 2000, b);
    });
  for (auto& t : senders)
    t.join();
  for (auto& d : done) {
    auto where = d.get_future();
    REQUIRE(where.wait_for(20s) == std::future_status::ready);
    CHECK(where.get() == expected);
  }
}

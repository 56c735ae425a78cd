// The alarm that stands for CAF's clock on a node.
#include "actors/alarm.hpp"

#include <caf/all.hpp>
#include <doctest/doctest.h>

#include <future>
#include <thread>

using namespace parley;
using namespace std::chrono_literals;

namespace {

struct alarmed_system {
  caf::actor_system_config config;
  caf::actor_system system{config};
  alarmed_system() { start_alarm(system); }
  ~alarmed_system() {
    if (auto alarm = system.registry().get(alarm_name))
      caf::anon_send_exit(caf::actor_cast<caf::actor>(alarm), caf::exit_reason::user_shutdown);
    system.registry().erase(alarm_name);
  }
};

sweep_sink::behavior_type sleeper(sweep_sink::pointer self, std::chrono::milliseconds in,
                                  std::promise<alarm_clock::time_point>* woken) {
  sweep_later(self, in);
  return {[self, woken](atom::sweep) {
    woken->set_value(alarm_clock::now());
    self->quit();
  }};
}

} // namespace

TEST_CASE("a sweep is sent after its time and never before it, in whatever order sweeps were requested") {
  alarmed_system it;
  std::promise<alarm_clock::time_point> late, soon;
  const auto asked = alarm_clock::now();
  const auto one = it.system.spawn(sleeper, 200ms, &late); // held: the alarm keeps nobody alive
  const auto other = it.system.spawn(sleeper, 20ms, &soon);
  auto first = soon.get_future();
  auto second = late.get_future();
  REQUIRE(first.wait_for(20s) == std::future_status::ready);
  REQUIRE(second.wait_for(20s) == std::future_status::ready);
  CHECK(first.get() - asked >= 20ms);
  CHECK(second.get() - asked >= 200ms);
}

TEST_CASE("an actor that ended meanwhile does not keep the alarm from waking the others") {
  alarmed_system it;
  std::promise<alarm_clock::time_point> never, woken;
  auto gone = it.system.spawn(sleeper, 30ms, &never);
  caf::anon_send_exit(gone, caf::exit_reason::kill);
  gone = nullptr;
  const auto other = it.system.spawn(sleeper, 60ms, &woken);
  CHECK(woken.get_future().wait_for(20s) == std::future_status::ready);
}

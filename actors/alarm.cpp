#include "actors/alarm.hpp"

#include <caf/actor_registry.hpp>
#include <caf/stateful_actor.hpp>

#include <map>

namespace parley {
namespace {

struct alarm_state {
  static inline const char* name = "alarm";
  std::multimap<alarm_clock::time_point, caf::weak_actor_ptr> waiting; ///< at most a few per actor
  bool ticking = false;
};

using self_ptr = alarm_actor::stateful_pointer<alarm_state>;

void arm(self_ptr self) {
  if (self->state.waiting.empty() || std::exchange(self->state.ticking, true))
    return;
  self->delayed_send(self, alarm_every, atom::tick_v);
}

alarm_actor::behavior_type alarm(self_ptr self) {
  return {
      [self](alarm_request& r) {
        self->state.waiting.emplace(r.due, std::move(r.whom));
        arm(self);
      },
      [self](atom::tick) {
        auto& waiting = self->state.waiting;
        self->state.ticking = false;
        const auto end = waiting.upper_bound(self->clock().now());
        for (auto i = waiting.begin(); i != end; ++i)
          if (auto whom = caf::actor_cast<caf::strong_actor_ptr>(i->second))
            caf::anon_send(caf::actor_cast<sweep_sink>(std::move(whom)), atom::sweep_v);
        waiting.erase(waiting.begin(), end);
        arm(self);
      },
  };
}

} // namespace

void start_alarm(caf::actor_system& sys) {
  sys.registry().put(alarm_name, caf::actor_cast<caf::strong_actor_ptr>(sys.spawn(alarm)));
}

} // namespace parley

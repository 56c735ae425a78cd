#pragma once
// One coarse timer for all of a node's sweeps.
//
// Why not `delayed_send` in each actor: CAF's clock is a thread of its own, and a timer that is set while a
// message passes through costs two switches to it and a fight for its lock, 0.1 ms on the reference machine,
// several times per message. Setting this one is a message on the same thread; the clock wakes it once in
// `alarm_every`.
#include "actors/interfaces.hpp"

#include <chrono>

namespace parley {

using alarm_clock = std::chrono::steady_clock;

/// An actor that sweeps.
using sweep_sink = caf::typed_actor<caf::reacts_to<atom::sweep>>;

struct alarm_request {
  caf::weak_actor_ptr whom; ///< gets `atom::sweep`, if it still exists
  alarm_clock::time_point due{};
};

} // namespace parley
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::alarm_request)

namespace parley {

using alarm_actor = caf::typed_actor<caf::reacts_to<alarm_request>, caf::reacts_to<atom::tick>>;

inline constexpr std::chrono::milliseconds alarm_every{50}; ///< how late a sweep may come
inline constexpr auto alarm_name = caf::atom("alarm");      ///< in the system's registry

/// Makes it `sys`'s alarm. Once.
void start_alarm(caf::actor_system& sys);

/// Sends `self` an `atom::sweep` after `in`, never before. Without an alarm (tests, with their own clock) by
/// CAF's clock.
template <class Self>
void sweep_later(Self* self, std::chrono::milliseconds in) {
  if (auto alarm = self->home_system().registry().get(alarm_name))
    caf::anon_send(caf::actor_cast<alarm_actor>(alarm),
                   alarm_request{caf::actor_cast<caf::weak_actor_ptr>(self), self->clock().now() + in});
  else
    self->delayed_send(self, in, atom::sweep_v);
}

} // namespace parley

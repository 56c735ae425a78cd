// In a calm, a message is acknowledged and on every device at once, and not when the next heartbeat of a
// session finds out that something was missed.
#include "tests/sim/world.hpp"

#include <fmt/format.h>

namespace parley::sim {
namespace {

/// Less than half of the shortest `attach_every` of the profile.
constexpr micros prompt_within = 4 * one_second;

} // namespace

void world::expect_promptness() {
  for (const auto& [a, b] : judge_.pairs())
    for (auto& c : clients_)
      if (c->user() == a || c->user() == b) {
        c->send(core::direct_conversation(a, b), 30);
        break;
      }
  std::string why;
  const auto all_arrived = [&] {
    for (auto& c : clients_)
      if (!c->settled()) {
        why = c->describe();
        return false;
      }
    return (why = judge_.missing()).empty();
  };
  if (!until(prompt_within, all_arrived))
    sim_.violate(fmt::format("liveness: in a calm, a message takes longer than {} s: {}",
                             prompt_within / one_second, why));
}

} // namespace parley::sim

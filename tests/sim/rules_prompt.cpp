// In a calm, a message is acknowledged and on every device at once, and not when the next heartbeat of a
// session finds out that something was missed.
#include "actors/core/rescue_numbers.hpp"
#include "tests/sim/world.hpp"

#include <algorithm>
#include <fmt/format.h>

namespace parley::sim {
namespace {

/// Less than half of the shortest `attach_every` of the profile.
constexpr micros prompt_within = 4 * one_second;

/// Of a node, with a fresh read.
constexpr micros page_takes = 30 * one_ms;

/// Sessions say again that they are there as soon as they can.
constexpr micros heard_within = 2 * one_second;

} // namespace

/// For a while one node's calls reach nobody, and neither do the heartbeats of its sessions: they count as gone where their
/// inboxes are led. They are not, and so what comes afterwards is prompt for them as well.
void world::hold_up_sessions() {
  fuzz::chance luck{mix64(options_.seed ^ 0x68656c64)};
  if (!luck.percent(20) || options_.without.contains("held-sessions"))
    return;
  auto& from = *luck.pick(nodes_);
  ++judge_.count.held_up;
  sim_.note("held-up", number(from.id()));
  const auto set = [&](bool on) {
    for (auto& n : nodes_)
      if (n->id() != from.id())
        from.stuff(n->id(), on);
  };
  set(true);
  until(profile_.node.shard.resident.silent_after.count() * one_ms * 21 / 20 + one_second,
        [] { return false; });
  set(false);
  until(heard_within, [] { return false; });
}

/// A device that was added later may be brought its first message of a conversation only now, and first fetches what came
/// before it, a page after the other.
micros world::fetches_a_history_in() const {
  std::uint64_t most = 0;
  for (const auto& [a, b] : judge_.pairs())
    most = std::max(most, number(judge_.reached(core::direct_conversation(a, b))) % core::numbers_per_rescue);
  return static_cast<micros>(most / profile_.client.page_rows) *
         (2 * profile_.client.latency_max + page_takes);
}

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
  const auto within = prompt_within + fetches_a_history_in();
  if (!until(within, all_arrived))
    sim_.violate(
        fmt::format("liveness: in a calm, a message takes longer than {} s: {}", within / one_second, why));
}

} // namespace parley::sim

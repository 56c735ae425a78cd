// What was done last is not forgotten, though nothing follows it: the last messages of each conversation, and what devices
// acknowledge of them, meet connections that break, stores that refuse and nodes that die. The settling after it wants all of
// it paid, acknowledged and written. In a storm the next message would show everybody what is missing.
#include "tests/sim/world.hpp"

namespace parley::sim {
namespace {

/// When the first node is struck: most of what was said is on devices, and little of what these acknowledged is written.
constexpr micros struck_after = 1200 * one_ms;
constexpr micros over_after = 3 * one_second;

} // namespace

void world::strike_last() {
  fuzz::chance luck{mix64(options_.seed ^ 0x6c617374)};
  if (!luck.percent(60) || options_.without.contains("last-strike"))
    return;
  ++judge_.count.last_strikes;
  for (const auto& [a, b] : judge_.pairs())
    for (auto left = luck.between(1, 3); left > 0; --left) {
      const auto says = luck.percent(50) ? a : b;
      if (auto* who = member_of(says))
        sim_.time.in(luck.between(0, one_second),
                     [to = core::direct_conversation(a, b), who] { who->send(to, 30); });
    }
  if (luck.percent(67))
    for (auto& n : nodes_)
      n->refuse_one_in(static_cast<std::uint64_t>(luck.between(2, 4)));
  for (auto& c : clients_)
    if (luck.percent(60))
      sim_.time.in(struck_after - luck.between(0, 600 * one_ms), [&c = *c] { c.cut(); });
  // One or two of them, so that most sessions live on and have to repeat what was said to others.
  for (auto strikes = luck.between(1, 2); strikes > 0; --strikes) {
    auto& node = *luck.pick(nodes_);
    if (!has_started(node))
      continue;
    const bool dies = luck.percent(75);
    const auto down = luck.between(20 * one_ms, 500 * one_ms);
    sim_.time.in(struck_after + luck.between(0, 400 * one_ms), [this, &node, dies, down] {
      if (dies)
        take_down(node, down);
      else
        node.drain_leaderships();
    });
  }
  until(over_after, [] { return false; });
  for (auto& n : nodes_)
    n->refuse_one_in(0);
}

} // namespace parley::sim

// What is refused for a moment is tried again, also if nothing follows it: the last message of each conversation meets
// stores that take only some of what is proposed to them. The settling after it wants all of it paid, acknowledged and
// written.
#include "tests/sim/world.hpp"

#include <algorithm>

namespace parley::sim {
namespace {

constexpr micros refusing_for = 2 * one_second;

} // namespace

void world::refuse_some() {
  ++judge_.count.refusals;
  for (auto& n : nodes_)
    n->refuse_one_in(static_cast<std::uint64_t>(sim_.luck.between(2, 4)));
  for (const auto& [a, b] : judge_.pairs()) {
    // The other one speaks than in `expect_promptness`.
    const auto who = std::find_if(clients_.rbegin(), clients_.rend(), [&](const auto& c) {
      return c->is_member() && (c->user() == a || c->user() == b);
    });
    if (who != clients_.rend())
      (*who)->send(core::direct_conversation(a, b), 30);
  }
  until(refusing_for, [] { return false; });
  for (auto& n : nodes_)
    n->refuse_one_in(0);
}

} // namespace parley::sim

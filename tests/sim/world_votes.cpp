// Faults that are aimed at elections, and the rules that they could break; and who may be members of a generation.
#include "tests/sim/world.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace parley::sim {

/// Two nodes that do not hear each other both ask a third one for its vote, and that one dies as soon as it
/// has given it. What it has promised must be on its disk.
void world::duel() {
  ++judge_.count.duels;
  const auto voter = sim_.luck.below(nodes_.size());
  const auto shift = 1 + sim_.luck.below(nodes_.size() - 1);
  const auto a = nodes_[(voter + shift) % nodes_.size()]->id();
  for (auto& b : nodes_)
    if (b->id() != a && b->id() != nodes_[voter]->id()) {
      net_.block(a, b->id(), fuzz::blocked::drops);
      net_.block(b->id(), a, fuzz::blocked::drops);
    }
  sim_.time.in(sim_.luck.between(2 * one_second, 4 * one_second), [this, a] {
    for (auto& b : nodes_)
      if (b->id() != a) {
        net_.block(a, b->id(), fuzz::blocked::no);
        net_.block(b->id(), a, fuzz::blocked::no);
      }
  });
  // Away for long enough that nobody leads any more.
  take_down(*nodes_[voter], sim_.luck.between(500 * one_ms, 1500 * one_ms));
  nodes_[voter]->die_after_vote();
}

void world::voted(node_id n) {
  sim_.time.in(sim_.luck.between(0, 2 * one_ms), [this, n, life = at(n).life()] {
    if (storming_ && at(n).life() == life)
      take_down(at(n), sim_.luck.between(5 * one_ms, 60 * one_ms));
  });
}

void world::seal_wished(const seal_request& wish) {
  auto next = wish.next;
  std::ranges::sort(next);
  wished_.emplace(wish.shard, wish.of, std::move(next));
}

void world::turn_ended(node_id n) {
  for (const auto& r : at(n).status()) {
    if (left_behind_.node == n)
      note_left_behind(at(n), r);
    if (r.as != cluster::replica_status::role::leader)
      continue;
    if (r.gen > generation{1} && !judge_.has_rescues() &&
        !wished_.contains({r.shard, static_cast<generation>(number(r.gen) - 1), r.members}))
      return sim_.violate(fmt::format(
          "generation {} of shard {} has members that nobody wished for when generation {} had its own",
          number(r.gen), number(r.shard), number(r.gen) - 1));
    const auto [known, is_new] = led_.try_emplace({r.shard, r.gen, r.term}, n);
    if (!is_new && known->second != n)
      sim_.violate(fmt::format("node {} and node {} both lead shard {} in term {} of generation {}",
                               number(known->second), number(n), number(r.shard), r.term, number(r.gen)));
  }
}

} // namespace parley::sim

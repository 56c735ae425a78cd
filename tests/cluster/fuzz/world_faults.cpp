// The faults that a storm injects.
#include "tests/cluster/fuzz/world.hpp"

#include <algorithm>
#include <numeric>

namespace parley::fuzz {

void world::next_fault() {
  const auto total = std::accumulate(profile_.weights.begin(), profile_.weights.end(), 0);
  auto drawn = static_cast<int>(sim_.luck.below(static_cast<std::uint64_t>(total)));
  std::size_t kind = 0;
  while (drawn >= profile_.weights[kind])
    drawn -= profile_.weights[kind++];
  auto& one = any_node();
  switch (kind) {
  case 0: { // often the leader, which matters most
    auto* leader = leader_of(any_shard());
    return crash(leader && sim_.luck.percent(50) ? *leader : one, sim_.luck.between(0, profile_.down_max));
  }
  case 1:
    return power_loss();
  case 2:
    return partition();
  case 3:
    return isolate_leader();
  case 4:
    return cut_one_way();
  case 5:
    return flap();
  case 6: {
    auto& other = any_node();
    if (other.id() != one.id())
      net_.break_connection(one.id(), other.id());
    return;
  }
  case 7:
    return pause(one);
  case 8:
    ++sim_.count.jumps;
    sim_.note("jump", number(one.id()));
    return one.clock_jump(
        sim_.luck.between(one_ms, sim_.luck.one_in(4) ? 3600 * one_second : 2 * one_second));
  case 9:
    return fill_disk(one);
  case 10:
    return slow_disk(one);
  case 11:
    return transfer();
  case 12:
    return operator_seals(any_shard());
  default:
    return sim_.luck.one_in(2) ? lose_disk() : burst(one);
  }
}

void world::crash(virtual_node& node, micros down, test::unsynced what) {
  if (!node.is_up())
    return;
  node.crash(what);
  net_.break_all_of(node.id(), nodes_.size());
  sim_.time.in(down, [this, &node, storm = storm_] {
    if (storming_ && storm == storm_ && !node.is_up() && !sim_.failed())
      node.start();
  });
}

// All nodes lose power at once, so the data in unsynced batches is lost everywhere.
void world::power_loss() {
  for (auto& n : nodes_)
    crash(*n, sim_.luck.between(0, profile_.down_max));
}

void world::partition() {
  net_.unblock_all();
  ++sim_.count.partitions;
  const auto sides = static_cast<std::uint64_t>(sim_.luck.between(2, 3));
  std::vector<std::uint64_t> side;
  for (std::size_t n = 0; n < nodes_.size(); ++n)
    side.push_back(sim_.luck.below(sides));
  const auto how = sim_.luck.percent(50) ? blocked::drops : blocked::stalls;
  for (std::size_t a = 0; a < nodes_.size(); ++a)
    for (std::size_t b = 0; b < nodes_.size(); ++b)
      if (side[a] != side[b])
        net_.block(node_id{a + 1}, node_id{b + 1}, how);
  sim_.time.in(sim_.luck.between(50 * one_ms, 3 * one_second), [this, storm = storm_] {
    if (storm == storm_)
      net_.unblock_all();
  });
}

void world::isolate_leader() {
  auto* leader = leader_of(any_shard());
  if (!leader)
    return;
  net_.unblock_all();
  ++sim_.count.partitions;
  const auto how = sim_.luck.percent(50) ? blocked::drops : blocked::stalls;
  const bool hears = sim_.luck.one_in(4);
  const bool speaks = !hears && sim_.luck.one_in(4);
  for (auto& n : nodes_)
    if (n->id() != leader->id()) {
      if (!speaks)
        net_.block(leader->id(), n->id(), how);
      if (!hears)
        net_.block(n->id(), leader->id(), how);
    }
  sim_.time.in(sim_.luck.between(100 * one_ms, 3 * one_second), [this, storm = storm_] {
    if (storm == storm_)
      net_.unblock_all();
  });
}

void world::cut_one_way() {
  const auto from = any_node().id();
  const auto to = any_node().id();
  if (from == to)
    return;
  ++sim_.count.partitions;
  net_.block(from, to, sim_.luck.percent(50) ? blocked::drops : blocked::stalls);
  sim_.time.in(sim_.luck.between(50 * one_ms, 2 * one_second),
               [this, from, to] { net_.block(from, to, blocked::no); });
}

// One link breaks and recovers repeatedly.
void world::flap() {
  const auto a = any_node().id();
  const auto b = any_node().id();
  if (a == b)
    return;
  ++sim_.count.partitions;
  micros when = 0;
  for (auto times = sim_.luck.between(3, 10); times > 0; --times) {
    when += sim_.luck.between(10 * one_ms, 200 * one_ms);
    const auto how = sim_.luck.percent(50) ? blocked::drops : blocked::stalls;
    sim_.time.in(when, [this, a, b, how, storm = storm_] {
      if (storm == storm_ && storming_)
        net_.block(a, b, how);
    });
    when += sim_.luck.between(10 * one_ms, 200 * one_ms);
    sim_.time.in(when, [this, a, b] { net_.block(a, b, blocked::no); });
  }
}

void world::pause(virtual_node& node) {
  ++sim_.count.pauses;
  sim_.note("pause", number(node.id()));
  node.pause(sim_.time.now() + sim_.luck.between(50 * one_ms, 3 * one_second));
}

void world::fill_disk(virtual_node& node) {
  ++sim_.count.full_disks;
  sim_.note("disk-full", number(node.id()));
  node.set_room({4096, false});
  sim_.time.in(sim_.luck.between(100 * one_ms, 2 * one_second), [&node] {
    node.set_room({std::uint64_t{1} << 40, true});
  });
}

void world::slow_disk(virtual_node& node) {
  node.set_slow(true);
  sim_.time.in(sim_.luck.between(100 * one_ms, 2 * one_second), [&node] { node.set_slow(false); });
}

void world::transfer() {
  const auto shard = any_shard();
  auto* leader = leader_of(shard);
  if (!leader)
    return;
  const auto members = leader->status(shard)->members;
  const auto to = sim_.luck.one_in(8) ? any_node().id() : sim_.luck.pick(members).node;
  ++sim_.count.transfers;
  leader->give({input::kind::transfer, to, shard});
}

void world::burst(virtual_node& node) {
  const auto shard = any_shard();
  auto* leader = leader_of(shard);
  auto& on = leader && sim_.luck.percent(80) ? *leader : node;
  for (auto n = sim_.luck.between(5, 150); n > 0; --n)
    propose(on, shard, sim_.luck.below(profile_.command_bytes_max));
}

// A reader says that a row is damaged. The rows are in fact good, so the checks see whether those that replace them are
// the same.
void world::keep_damaging() {
  sim_.time.in(damage_luck_.between(0, 600 * one_ms), [this, storm = storm_] {
    if (!storming_ || storm != storm_)
      return;
    auto& node = *nodes_[damage_luck_.below(nodes_.size())];
    node.give(
        {input::kind::damage, {}, shard_id{static_cast<std::uint16_t>(damage_luck_.below(profile_.shards))}});
    keep_damaging();
  });
}

// The promise holds for the loss of any minority of a shard's replicas, so the fuzzer destroys no
// more than that: a minority of the newest generation that served, and of each generation that a seal
// may have begun since.
bool world::may_lose(const virtual_node& node) const {
  for (std::uint16_t s = 0; s < profile_.shards; ++s)
    for (const auto& members : judge_.members_that_matter(shard_id{s})) {
      std::size_t lost = 0;
      bool is_in = false;
      for (auto m : members) {
        const bool is_self = m == node.self();
        is_in = is_in || is_self;
        lost += is_self || this->node(m.node).self() != m || this->node(m.node).may_have_forgotten();
      }
      if (is_in && lost > (members.size() - 1) / 2)
        return false;
    }
  return true;
}

// Half of the time this happens right after a seal was requested, while a shard's state is moving.
void world::lose_disk() {
  std::vector<virtual_node*> candidates;
  for (auto& n : nodes_)
    if (may_lose(*n))
      candidates.push_back(n.get());
  if (candidates.empty())
    return operator_seals(any_shard());
  auto& node = *sim_.luck.pick(candidates);
  if (node.is_up()) {
    node.crash(test::unsynced::seeded);
    net_.break_all_of(node.id(), nodes_.size());
  }
  node.lose_disk(disk_id{++next_disk_});
  sim_.time.in(sim_.luck.between(0, profile_.down_max), [this, &node, storm = storm_] {
    if (storming_ && storm == storm_ && !node.is_up() && !sim_.failed())
      node.start();
  });
}

} // namespace parley::fuzz

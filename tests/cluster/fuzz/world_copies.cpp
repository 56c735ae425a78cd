// Disks that are put back to older copies.
#include "tests/cluster/fuzz/world.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace parley::fuzz {

// Tries again for a while: most of the time some commit is not synced.
void world::keep_a_copy(std::uint64_t storm) {
  if (sim_.failed() || storm != storm_ || !storming_)
    return;
  auto& node = *nodes_[copy_luck_.below(nodes_.size())];
  if (auto copy = node.copy_disk())
    copies_.insert_or_assign(node.id(), std::move(*copy));
  else
    sim_.time.in(one_ms, [this, storm] { keep_a_copy(storm); });
}

// The others are there, know each other and are quiet, so what the node had confirmed is known to them. Where they are
// not, nobody can recognise a copy (docs/decisions/0032), and what follows cannot be judged.
void world::put_an_old_copy_back() {
  std::vector<virtual_node*> candidates;
  for (auto& n : nodes_)
    if (auto copy = copies_.find(n->id());
        copy != copies_.end() && copy->second.disk == n->self().disk && may_lose(*n))
      candidates.push_back(n.get());
  if (candidates.empty())
    return;
  auto& node = *candidates[copy_luck_.below(candidates.size())];
  until(sim_.time.now() + 300 * one_ms, nullptr); // the last results arrive
  if (sim_.failed())
    return;
  std::map<shard_id, cluster::replica_status> had;
  for (std::uint16_t s = 0; s < profile_.shards; ++s) {
    const auto mine = node.status(shard_id{s});
    auto* leader = leader_of(shard_id{s});
    if (!mine || !leader || std::ranges::find(mine->members, node.self()) == mine->members.end())
      continue;
    if (const auto its = leader->status(shard_id{s}); its->gen == mine->gen && its->term == mine->term)
      had[shard_id{s}] = *mine;
  }
  node.crash(test::unsynced::lost);
  net_.break_all_of(node.id(), nodes_.size());
  node.put_back(copies_.at(node.id()));
  node.start();
  // One that takes part in the generation is told before it gets anything; only a frame of the session before may bring
  // it into the term that it had forgotten. Another one may get the state, and with it all that it had confirmed, from a
  // member that knows nothing of that, before it meets the one that does.
  bool forgot = false;
  for (const auto& [shard, then] : had)
    if (const auto now = node.status(shard);
        now && now->gen == then.gen && now->as != cluster::replica_status::role::waiting_for_state)
      forgot = forgot || now->last_index < then.applied_index ||
               (now->term < then.term && !profile_.network.late_frames_cross_over);
  storming_ = true; // proposals go on, as in a storm; faults do not
  ++storm_;
  for (std::uint16_t s = 0; s < profile_.shards; ++s)
    every(profile_.propose_every, [this, s] { client_proposes(shard_id{s}); });
  const auto replaced = [&, was = node.self()] { return node.self() != was; };
  until(sim_.time.now() + 10 * one_second, replaced);
  storming_ = false;
  if (sim_.failed() || replaced())
    return;
  for (const auto& [shard, then] : had)
    if (const auto now = node.status(shard);
        !now || now->gen < then.gen || (now->gen == then.gen && now->last_index < then.applied_index))
      forgot = true;
  if (forgot)
    sim_.violate(
        fmt::format("node {} has an older disk, and nobody noticed: {}", number(node.id()), node.describe()));
}

// It begins anew with an empty directory. It may be told late, by a node that was put back itself.
void world::recognised(node_id id) {
  sim_.time.in(one_ms, [this, id, disk = node(id).self().disk] {
    auto& one = node(id);
    if (sim_.failed() || one.self().disk != disk)
      return;
    one.crash(test::unsynced::lost);
    net_.break_all_of(id, nodes_.size());
    one.lose_disk(disk_id{++next_disk_});
    one.start();
  });
}

} // namespace parley::fuzz

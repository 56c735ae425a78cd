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
// not, nobody can recognise a copy (docs/decisions/0032), and what follows cannot be judged. Nor can anybody stop one
// that needs nobody else.
void world::put_an_old_copy_back() {
  std::vector<virtual_node*> candidates;
  for (auto& n : nodes_)
    if (auto copy = copies_.find(n->id()); copy != copies_.end() && copy->second.disk == n->self().disk &&
                                           !copy->second.leads_alone && may_lose(*n))
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
  put_back_ = true;
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
  until(sim_.time.now() + 10 * one_second, [&] { return node.is_fenced(); });
  storming_ = false;
  if (sim_.failed())
    return;
  for (const auto& [shard, then] : had)
    if (const auto now = node.status(shard);
        !now || now->gen < then.gen || (now->gen == then.gen && now->last_index < then.applied_index))
      forgot = true;
  if (forgot && !node.is_fenced())
    return sim_.violate(
        fmt::format("node {} has an older disk, and nobody noticed: {}", number(node.id()), node.describe()));
  if (node.is_fenced()) { // it begins anew with an empty directory
    node.crash(test::unsynced::lost);
    net_.break_all_of(node.id(), nodes_.size());
    node.lose_disk(disk_id{++next_disk_});
    node.start();
  }
  until(sim_.time.now() + one_second, nullptr); // its last refusals may be under way
  node.trust_disk();
  put_back_ = false;
}

} // namespace parley::fuzz

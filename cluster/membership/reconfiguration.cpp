#include "cluster/membership/reconfiguration.hpp"

#include <algorithm>

namespace parley::cluster {

std::optional<std::vector<member>> reconfigure(const reconfiguration_facts& f) {
  const auto reachable = [&](node_id n) { return n == f.self || f.reachable.contains(n); };
  auto nodes = f.nodes;
  std::sort(nodes.begin(), nodes.end(),
            [](const auto& a, const auto& b) { return number(a.id) < number(b.id); });
  auto next = f.members;
  std::sort(next.begin(), next.end());

  // Lost disks come first: until they are replaced, the shard has members that can never answer.
  for (auto& m : next) {
    const auto now = std::find_if(nodes.begin(), nodes.end(), [&](const auto& n) { return n.id == m.node; });
    if (now == nodes.end() || now->disk == m.disk || now->disk == disk_id::none || !reachable(m.node))
      continue;
    m.disk = now->disk;
    std::sort(next.begin(), next.end());
    return next;
  }

  // Then missing members are added, all at once, because each seal costs a transfer. The shard's number
  // decides with which node to begin, as at formation, so that shards spread over the nodes that joined.
  const auto wanted = std::min<std::size_t>(f.replicas, nodes.size());
  if (next.size() >= wanted)
    return std::nullopt;
  const auto before = next.size();
  for (std::size_t i = 0; i < nodes.size() && next.size() < wanted; ++i) {
    const auto& n = nodes[(number(f.shard) + i) % nodes.size()];
    const bool is_member =
        std::any_of(next.begin(), next.end(), [&](const auto& m) { return m.node == n.id; });
    if (!is_member && n.disk != disk_id::none && reachable(n.id))
      next.push_back({n.id, n.disk});
  }
  // Of an even number of members no more may fail than of one less, and one more can: it grows in odd steps.
  if (next.size() > before && next.size() % 2 == 0 && next.size() < f.replicas)
    next.pop_back();
  if (next.size() == before)
    return std::nullopt;
  std::sort(next.begin(), next.end());
  return next;
}

} // namespace parley::cluster

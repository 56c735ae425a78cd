#include "tests/sim/sim_membership.hpp"

#include "storage/data_directory.hpp"

#include <algorithm>

namespace parley::sim {

sim_membership::sim_membership(parts p) : parts_{std::move(p)}, book_{parts_.seen} {
  book_.kept_by([this](cluster::start_book::row row, std::function<void()> durable) {
    parts_.keep({storage::seen_key(row.first), std::move(row.second), std::move(durable)});
  });
}

std::optional<cluster::start_verdict> sim_membership::judge(node_id peer, const cluster::node_start& its) {
  const auto said = std::make_shared<std::optional<cluster::start_verdict>>();
  book_.judge(peer, its, [said](cluster::start_verdict v) { *said = v; });
  return *said;
}

bool sim_membership::lists(const core::node_record& who) const {
  return std::ranges::find(nodes_, who) != nodes_.end();
}

std::vector<std::uint16_t> sim_membership::whole_without(node_id node) {
  auto& last = wholes_[node];
  auto out = parts_.now() - last.at < 10 * fuzz::one_second ? last.shards : std::vector<std::uint16_t>{};
  parts_.ask_whole({node, [this, node](const std::vector<shard_id>& shards) {
                      auto& a = wholes_[node];
                      a.at = parts_.now();
                      a.shards.clear();
                      for (const auto s : shards)
                        a.shards.push_back(number(s));
                    }});
  return out;
}

} // namespace parley::sim

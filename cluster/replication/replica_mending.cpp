// Damaged rows and slow disks: whose state is replaced, who should lead, and what waits meanwhile.
#include "cluster/replication/replica.hpp"

#include <algorithm>

namespace parley::cluster {

/// One at a time: while a member is mended it acknowledges nothing. Others with damaged rows do, because their logs are
/// good.
std::uint64_t replica::to_mend() const {
  if (!was_leading_ || damaged_ || led_from_ == 0 || visible_ < led_from_)
    return 0;
  std::size_t go_on = 1; // this one
  std::uint64_t found = 0;
  for (std::size_t i = 0; i < ids_.size(); ++i) {
    const auto& f = followers_[i];
    if (!answers(i) || is_sent_state(ids_[i]))
      continue;
    if (found == 0 && f.damaged && f.has_room)
      found = ids_[i];
    else
      ++go_on;
  }
  return go_on >= majority() ? found : 0;
}

bool replica::is_sent_state(std::uint64_t id) const {
  return std::find(transfers_to_.begin(), transfers_to_.end(), id) != transfers_to_.end();
}

void replica::awaits_state(bool yes) {
  awaits_state_ = yes && damaged_ && !leads();
  mark();
}

void replica::begin_unreadable() {
  unreadable_ = damaged_ = true;
  host_.news.damaged.push_back(shard_);
}

std::vector<node_id> replica::quicker_members() const {
  auto out = fit_members();
  std::erase_if(out,
                [this](node_id n) { return !host_.pace.is_quicker(followers_[place_of(id_of(n))].sync_ms); });
  return out;
}

} // namespace parley::cluster

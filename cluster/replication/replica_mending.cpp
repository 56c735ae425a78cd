// Damaged rows and slow disks: whose state is replaced, who should lead, and what waits meanwhile.
#include "cluster/replication/replica.hpp"

#include <algorithm>
#include <utility>

namespace parley::cluster {

/// While a member is mended it acknowledges nothing, and so does one that cannot catch up by its log. One without room
/// is not asked to. Others with damaged rows do, because their logs are good.
bool replica::goes_on_without(std::uint64_t id) const {
  std::size_t n = 1; // this one
  for (std::size_t i = 0; i < ids_.size(); ++i)
    n += ids_[i] != id && answers(i) && followers_[i].has_room && !is_sent_state(ids_[i]) ? 1 : 0;
  return n >= majority();
}

std::uint64_t replica::to_mend() const {
  if (!was_leading_ || damaged_ || led_from_ == 0 || visible_ < led_from_)
    return 0;
  for (std::size_t i = 0; i < ids_.size(); ++i) {
    const auto& f = followers_[i];
    if (answers(i) && !is_sent_state(ids_[i]) && f.damaged && f.has_room)
      return goes_on_without(ids_[i]) ? ids_[i] : 0;
  }
  return 0;
}

/// One that cannot go on by its log would not be there sooner without the state.
bool replica::is_missed(std::uint64_t id) const {
  const auto place = place_of(id);
  return was_leading_ && place < followers_.size() && followers_[place].damaged &&
         raft_->match(id) >= lowest_previous() && !goes_on_without(id);
}

bool replica::is_sent_state(std::uint64_t id) const {
  return std::find(transfers_to_.begin(), transfers_to_.end(), id) != transfers_to_.end();
}

void replica::awaits_state(bool yes) {
  awaits_state_ = yes && damaged_ && !leads();
  mark();
}

void replica::begin_unreadable() {
  unreadable_ = true;
  if (record_.as == life::tombstone && !frozen_)
    return remember(); // there are no rows: the mark goes
  damaged_ = true;
  host_.news.damaged.push_back(shard_);
}

void replica::forget_damage() {
  if (!std::exchange(damaged_, false))
    return;
  constexpr std::int64_t late_words_ms = 10'000;
  mended_until_ = host_.now + late_words_ms;
  awaited_end_.reset(); // a replica that can apply does so up to the seal
  host_.news.mended.push_back(shard_);
}

/// As a sealed replica keeps its state until a majority of the successors has it, this one keeps its log: what
/// was committed would otherwise have fewer copies than were promised. If the others are no majority, all of them.
void replica::successors_have_state(std::size_t others) {
  if (!awaited_end_)
    return;
  const auto& next = awaited_end_->next;
  const member me{host_.config.node, host_.config.disk};
  const auto of_others = next.size() - static_cast<std::size_t>(std::count(next.begin(), next.end(), me));
  if (others < std::min(next.size() / 2 + 1, of_others))
    return;
  auto s = *std::exchange(awaited_end_, std::nullopt);
  end_generation(std::move(s), state_at_seal::missing);
}

bool replica::may_offer(node_id to) const {
  if (!was_leading_ || led_from_ == 0 || visible_ < led_from_ || seal_in_log_ != 0 || is_unfit())
    return false;
  for (std::size_t i = 0; i < ids_.size(); ++i)
    if (const auto& f = followers_[i];
        ids_[i] != self_ && (!answers(i) || !f.answered || !f.has_room || f.damaged || f.forgot))
      return false;
  const auto fit = fit_members();
  return std::find(fit.begin(), fit.end(), to) != fit.end() &&
         host_.pace.is_as_good(followers_[place_of(id_of(to))].sync_ms);
}

std::vector<node_id> replica::quicker_members() const {
  auto out = fit_members();
  std::erase_if(out,
                [this](node_id n) { return !host_.pace.is_quicker(followers_[place_of(id_of(n))].sync_ms); });
  return out;
}

} // namespace parley::cluster

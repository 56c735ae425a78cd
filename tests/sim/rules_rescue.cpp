// What a rescue may forget (docs/decisions/0049): what its survivor did not have. So a rescued shard begins with the entries
// that the survivor had, in their order, and no message of its state vanishes. Numbers go on far above, and none is given out
// twice: what is lost may still come from inboxes of other shards, and in answers that were under way, under its old number
// only. What an inbox of a rescued shard had told its devices may come again.
#include "actors/core/rescue_numbers.hpp"
#include "cluster/machine/shard_rows.hpp"
#include "tests/sim/judge.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace parley::sim {
namespace {

/// How many rescues there had been when it was given out.
std::uint64_t rescues_before(seq_no seq) {
  return seq == seq_no::none ? 0 : (number(seq) - 1) / core::numbers_per_rescue;
}

} // namespace

void judge::rescued(shard_id shard, survival what) {
  shards_ = what.shards;
  for (const auto& [at, command] : what.entries)
    log_[{shard, what.next, at.first, at.second}] = command;
  for (auto& [id, c] : conversations_)
    if (home_shard(id, shards_) == shard)
      c.acked = {};
  rescues_[shard].push_back({std::move(what), false, {}});
}

bool judge::is_counted_at(const cluster::log_position& at) const {
  const auto* all = rescues_of(at.shard);
  return all != nullptr && !all->back().is_counted && all->back().what.next == at.gen &&
         all->back().what.counted_at == at.index;
}

void judge::counted(const cluster::log_position& at, storage::shard_view& state) {
  namespace rows = cluster::rows;
  auto& r = rescues_[at.shard].back();
  r.is_counted = true;
  for (const auto& key : r.what.messages)
    if (!state.get(key))
      return sim_.violate(
          fmt::format("rule 3: seq {} of conversation {} is gone after the rescue of shard {}, and its "
                      "survivor had it",
                      number(rows::parse_message_key(key).seq),
                      name(rows::parse_message_key(key).conversation), number(at.shard)));
  std::map<std::pair<conversation_id, user_id>, seq_no> read;
  state.ascend(
      rows::row_key{'c'}, rows::row_key{'c'}.past(), [&](std::string_view key, std::string_view value) {
        const auto c = rows::parse_conversation_key(key);
        const auto progress = rows::progress_rows(c);
        if (key == std::string_view{rows::head_key(c)})
          r.kept[c] = rows::read<rows::conversation_head>(value).value_or(rows::conversation_head{}).last;
        else if (key.starts_with(std::string_view{progress}))
          read[{c, rows::parse_progress_key(key)}] =
              rows::read<core::progress>(value).value_or(core::progress{}).read;
        return storage::scan::more;
      });
  for (auto& [id, c] : conversations_)
    if (home_shard(id, shards_) == at.shard) {
      c.acked = kept(id);
      count.numbers_lost += static_cast<std::uint64_t>(
          std::ranges::count_if(c.at, [&, &c = id](const auto& m) { return is_lost(c, m.first); }));
      sim_.note("kept", id.hi, number(c.acked));
    }
  for (auto& [of, upto] : marked_)
    if (home_shard(of.first, shards_) == at.shard)
      upto = std::min(upto, read[of]);
}

const std::vector<judge::rescue>* judge::rescues_of(shard_id shard) const {
  const auto i = rescues_.find(shard);
  return i == rescues_.end() ? nullptr : &i->second;
}

const std::vector<judge::rescue>* judge::rescues_of(conversation_id c) const {
  return rescues_.empty() ? nullptr : rescues_of(home_shard(c, shards_));
}

bool judge::is_rescued(user_id user) const {
  return !rescues_.empty() && rescues_.contains(home_shard(user, shards_));
}

seq_no judge::what_is_left(conversation_id c, seq_no seq) const {
  if (const auto* all = rescues_of(c))
    for (auto n = rescues_before(seq); n < all->size(); ++n)
      if (const auto& r = (*all)[n]; r.is_counted) {
        const auto k = r.kept.find(c);
        seq = std::min(seq, k == r.kept.end() ? seq_no::none : k->second);
      }
  return seq;
}

void judge::passed_over(user_id user, device_id device, conversation_id c, seq_no after, seq_no upto) {
  sim_.note("passed", number(device), c.hi, number(after), number(upto));
  if (what_is_left(c, upto) > after)
    sim_.violate(fmt::format(
        "device {} of user {} cannot fetch what lies between seq {} and seq {} of conversation {}",
        number(device), number(user), number(after), number(upto), name(c)));
}

bool judge::follows(conversation_id c, seq_no before, seq_no seq) const {
  const auto* all = rescues_of(c);
  const auto n = rescues_before(seq);
  if (all == nullptr || n > all->size() || n <= rescues_before(before) || !core::follows(before, seq))
    return false;
  const auto& kept = (*all)[n - 1].kept;
  const auto k = kept.find(c);
  return k == kept.end() || before >= k->second;
}

seq_no judge::kept(conversation_id c) const {
  const auto* all = rescues_of(c);
  if (all == nullptr)
    return {};
  const auto k = all->back().kept.find(c);
  return k == all->back().kept.end() ? seq_no::none : k->second;
}

bool judge::is_from_before(conversation_id c, seq_no seq) const {
  const auto* all = rescues_of(c);
  return all != nullptr && rescues_before(seq) < all->size();
}

} // namespace parley::sim

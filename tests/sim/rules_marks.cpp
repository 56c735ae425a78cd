// How far a member has received and read a conversation: what was acknowledged to its device is kept, and
// in the end the other member's devices know it.
#include "cluster/machine/shard_rows.hpp"
#include "tests/sim/world.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace parley::sim {

void judge::marked(conversation_id c, user_id by, seq_no upto) {
  if (is_from_before(c, upto))
    return; // its message may be lost, and so may the mark, if the answer was on its way when the shard was rescued
  auto& m = marked_[{c, by}];
  m = std::max(m, upto);
}

void judge::told(device_id device, const core::watermark& mark) {
  sim_.note("told", number(device), mark.conversation.hi, number(mark.delivered), number(mark.read));
  auto& t = told_[{device, mark.conversation, mark.user}];
  if ((mark.delivered < t.delivered || mark.read < t.read) && !has_rescues())
    sim_.violate(fmt::format(
        "rule 12: device {} is told that user {} has received conversation {} up to seq {} and read "
        "it up to seq {}, which is less than before",
        number(device), number(mark.user), name(mark.conversation), number(mark.delivered),
        number(mark.read)));
  t.delivered = std::max(t.delivered, mark.delivered), t.read = std::max(t.read, mark.read);
}

std::string judge::unmarked(conversation_id c, user_id of, const core::progress& stored) const {
  const auto known = conversations_.find(c);
  if (known == conversations_.end())
    return {};
  if (const auto m = marked_.find({c, of}); m != marked_.end() && stored.read < m->second)
    return fmt::format("user {} has marked conversation {} as read up to seq {}, and seq {} is stored",
                       number(of), name(c), number(m->second), number(stored.read));
  const bool has_device = devices_.contains(of);
  for (const auto& [seq, message] : known->second.at)
    if (has_device && messages_.at(message).from != of && seq > stored.delivered && !is_from_before(c, seq))
      return fmt::format("user {} has received seq {} of conversation {}, and seq {} is stored as received",
                         number(of), number(seq), name(c), number(stored.delivered));
  for (const auto member : known->second.members) {
    const auto devices = devices_.find(member);
    if (devices == devices_.end())
      continue;
    // A later device has what came since it was added. A reader's own devices need to know only what it has
    // read.
    if (!is_first(member, devices->second.front()))
      continue; // the first one could not register in time
    const auto t = told_.find({devices->second.front(), c, of});
    const auto has = t == told_.end() ? core::progress{} : t->second;
    if (rescues_of(c) != nullptr && has.read >= stored.read &&
        (member == of || has.delivered >= stored.delivered))
      continue; // what it knows beyond that was lost
    if (has.read != stored.read || (member != of && has.delivered != stored.delivered))
      return fmt::format(
          "user {} has received conversation {} up to seq {} and read it up to seq {}, and device {} of "
          "user {} knows of seq {} and seq {}",
          number(of), name(c), number(stored.delivered), number(stored.read), number(devices->second.front()),
          number(member), number(has.delivered), number(has.read));
  }
  return {};
}

std::string world::unmarked() {
  namespace rows = cluster::rows;
  for (const auto& [a, b] : judge_.pairs()) {
    const auto c = core::direct_conversation(a, b);
    const auto shard = home_shard(c, profile_.shards);
    for (auto& n : nodes_) {
      auto txn = n->env().begin_read();
      const auto slot = cluster::replication::state_slot(*txn, shard);
      if (!n->is_up() || !slot ||
          std::ranges::none_of(n->status(), [&](const auto& r) { return r.shard == shard; }))
        continue;
      storage::shard_view state{*txn, shard, *slot};
      for (const auto user : {a, b}) {
        core::progress is;
        if (const auto row = state.get(rows::progress_key(c, user)))
          is = rows::read<core::progress>(*row).value_or(core::progress{});
        if (auto what = judge_.unmarked(c, user, is); !what.empty())
          return what;
      }
      break; // replicas are equal
    }
  }
  return {};
}

} // namespace parley::sim

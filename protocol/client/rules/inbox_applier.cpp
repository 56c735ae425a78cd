#include "protocol/client/rules/inbox_applier.hpp"

#include <algorithm>

namespace parley::client {

inbox_applier::plan inbox_applier::decide(std::span<const inbox_row> rows, holes policy) const {
  plan p;
  // A delivery touches few conversations: the newest positions are looked up from the back.
  const auto at = [&](conversation_id c) -> seq_no& {
    for (auto i = p.positions.rbegin(); i != p.positions.rend(); ++i)
      if (i->first == c)
        return i->second;
    return p.positions.emplace_back(c, position(c)).second;
  };
  for (std::size_t n = 0; n < rows.size(); ++n) {
    const auto* row = message_in(rows[n]);
    if (!row)
      continue;
    if (held_.contains(row->msg.conversation)) {
      p.held.emplace_back(row->msg.conversation, row->msg.seq);
      continue;
    }
    auto& reached = at(row->msg.conversation);
    if (row->msg.seq <= reached) {
      ++p.repeats;
      continue;
    }
    if (row->prev > reached && policy == holes::must_heal) {
      p.missing = hole{row->msg.conversation, reached, row->prev};
      return p;
    }
    reached = row->msg.seq;
    p.fresh.push_back(n);
  }
  return p;
}

inbox_applier::rise inbox_applier::raise(const watermark& mark) {
  auto& members = marks_[mark.conversation];
  auto i =
      std::find_if(members.begin(), members.end(), [&](const progress& p) { return p.user == mark.user; });
  if (i == members.end())
    i = members.insert(members.end(), {mark.user, {}, {}});
  rise r;
  const auto delivered = std::max(mark.delivered, mark.read); // who has read it has got it
  r.delivered = delivered > i->delivered;
  r.read = mark.read > i->read;
  i->delivered = std::max(i->delivered, delivered);
  i->read = std::max(i->read, mark.read);
  r.now = {mark.conversation, mark.user, i->delivered, i->read};
  return r;
}

void inbox_applier::fall(conversation_id c, seq_no upto) {
  if (const auto i = applied_.find(c); i != applied_.end())
    i->second = std::min(i->second, upto);
  if (const auto i = marks_.find(c); i != marks_.end())
    for (auto& p : i->second) {
      p.delivered = std::min(p.delivered, upto);
      p.read = std::min(p.read, upto);
    }
}

std::vector<watermark> inbox_applier::marks(conversation_id c) const {
  std::vector<watermark> out;
  if (const auto i = marks_.find(c); i != marks_.end())
    for (const auto& p : i->second)
      out.push_back({c, p.user, p.delivered, p.read});
  return out;
}

} // namespace parley::client

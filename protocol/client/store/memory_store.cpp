#include "protocol/client/store/memory_store.hpp"

#include <algorithm>
#include <tuple>

namespace parley::client {

outgoing memory_store::enqueue(conversation_id c, std::string body, const numbering& how) {
  counter_ = counter_after(counter_, how.clock);
  outgoing o{counter_, c, std::make_shared<const std::string>(std::move(body))};
  outbox_.emplace_hint(outbox_.end(), o.counter, o);
  if (how.at_once)
    trying(o.counter);
  return o;
}

std::uint64_t memory_store::renumber(std::uint64_t counter, unix_ms clock) {
  counter_ = counter_after(counter_, clock);
  outbox_.at(counter).renumbered = counter_;
  return counter_;
}

std::vector<outgoing> memory_store::waiting() {
  std::vector<outgoing> out;
  for (const auto& [counter, o] : outbox_) {
    out.push_back(o);
    out.back().tried = counter <= tried_;
  }
  return out;
}

void memory_store::keep(const message& m) {
  if (config_.history_messages_max == 0)
    return;
  auto& messages = history_[m.conversation];
  messages.try_emplace(m.seq, m);
  if (messages.size() > config_.history_messages_max)
    messages.erase(messages.begin());
}

void memory_store::sent(const message& placed) {
  if (outbox_.erase(placed.client_id.counter) == 0)
    std::erase_if(outbox_,
                  [&](const auto& entry) { return entry.second.renumbered == placed.client_id.counter; });
  keep(placed);
}

void memory_store::failed(std::uint64_t counter, ec why) {
  if (auto node = outbox_.extract(counter))
    failures_.push_back({std::move(node.mapped()), why});
}

void memory_store::forget(std::uint64_t counter) {
  std::erase_if(failures_, [&](const failed_message& f) { return f.it.counter == counter; });
}

void memory_store::apply(const applied_batch& batch) {
  for (const auto* m : batch.messages)
    keep(*m);
  for (const auto& [c, upto] : batch.positions)
    positions_[c] = std::max(positions_[c], upto);
  for (const auto& m : batch.marks) {
    auto& known = marks_[m.conversation].try_emplace(m.user, m).first->second;
    known.delivered = std::max(known.delivered, m.delivered);
    known.read = std::max(known.read, m.read);
  }
  for (const auto& c : batch.opened)
    conversations_.insert_or_assign(c.conversation, c);
  if (batch.upto)
    place_.applied = *batch.upto;
}

client_store::applied_state memory_store::applied() {
  applied_state out;
  out.positions.assign(positions_.begin(), positions_.end());
  for (const auto& [c, members] : marks_)
    for (const auto& [user, mark] : members)
      out.marks.push_back(mark);
  return out;
}

std::vector<message> memory_store::history(conversation_id c, seq_no after, std::size_t limit) {
  std::vector<message> out;
  const auto found = history_.find(c);
  if (found == history_.end())
    return out;
  for (auto i = found->second.upper_bound(after); i != found->second.end() && out.size() < limit; ++i)
    out.push_back(i->second);
  return out;
}

std::vector<message> memory_store::newest(conversation_id c, std::size_t limit) {
  std::vector<message> out;
  const auto found = history_.find(c);
  if (found == history_.end())
    return out;
  for (auto i = found->second.rbegin(); i != found->second.rend() && out.size() < limit; ++i)
    out.push_back(i->second);
  std::ranges::reverse(out);
  return out;
}

std::vector<message> memory_store::newest(conversation_id c, seq_no upto, std::size_t limit) {
  std::vector<message> out;
  const auto found = history_.find(c);
  if (found == history_.end())
    return out;
  for (auto i = found->second.upper_bound(upto); i != found->second.begin() && out.size() < limit;)
    out.push_back((--i)->second);
  std::reverse(out.begin(), out.end());
  return out;
}

void memory_store::roll_back(conversation_id c, seq_no upto) {
  if (const auto found = history_.find(c); found != history_.end()) {
    const auto first = found->second.upper_bound(upto);
    for (auto i = first; i != found->second.end(); ++i)
      lost_.push_back(std::move(i->second));
    found->second.erase(first, found->second.end());
  }
  if (const auto at = positions_.find(c); at != positions_.end())
    at->second = std::min(at->second, upto);
  if (const auto at = shown_.find(c); at != shown_.end())
    at->second = std::min(at->second, upto);
  if (const auto marks = marks_.find(c); marks != marks_.end())
    for (auto& [user, mark] : marks->second) {
      mark.delivered = std::min(mark.delivered, upto);
      mark.read = std::min(mark.read, upto);
    }
  if (const auto r = reads_.find(c); r != reads_.end()) {
    r->second.wanted = std::min(r->second.wanted, upto);
    r->second.known = std::min(r->second.known, upto);
  }
}

std::vector<conversation_info> memory_store::conversations() {
  std::vector<conversation_info> out;
  for (const auto& [id, c] : conversations_)
    out.push_back(c);
  return out;
}

std::size_t memory_store::unread_messages(conversation_id c, seq_no read, user_id me) {
  const auto& messages = history_[c];
  const auto from = messages.upper_bound(std::max(read, reads_[c].wanted));
  return static_cast<std::size_t>(
      std::count_if(from, messages.end(), [&](const auto& entry) { return entry.second.sender != me; }));
}

std::vector<message> memory_store::unshown(std::size_t limit) {
  std::vector<message> out;
  for (const auto& [c, messages] : history_)
    for (auto i = messages.upper_bound(shown_[c]); i != messages.end(); ++i)
      if (!who_ || i->second.client_id.device != who_->device)
        out.push_back(i->second);
  std::ranges::sort(out, {}, [](const message& m) { return std::tuple{m.at, m.conversation, m.seq}; });
  out.resize(std::min(out.size(), limit));
  return out;
}

void memory_store::shown(const std::map<conversation_id, seq_no>& upto) {
  for (const auto& [c, seq] : upto)
    shown_[c] = std::max(shown_[c], seq);
}

void memory_store::read(conversation_id c, seq_no upto) {
  auto& r = reads_[c];
  r.wanted = std::max(r.wanted, upto);
}

void memory_store::read_known(conversation_id c, seq_no upto) {
  auto& r = reads_[c];
  r.known = std::max(r.known, upto);
}

std::vector<client_store::unread> memory_store::reads_owed() {
  std::vector<unread> out;
  for (const auto& [c, r] : reads_)
    if (r.wanted > r.known)
      out.push_back({c, r.wanted});
  return out;
}

} // namespace parley::client

#include "protocol/client/rules/history_rules.hpp"

#include <algorithm>
#include <set>

namespace parley::client {
namespace {

/// So many conversations show whether the cluster has another history.
constexpr std::size_t conversations_looked_at = 8;

} // namespace

bool is_same(const message& a, const message& b) {
  return a.seq == b.seq && a.sender == b.sender && a.client_id == b.client_id && a.body == b.body;
}

finding found_in(const conversation_page& page, const message* mine) {
  return {mine != nullptr && !page.messages.empty() && is_same(page.messages.front(), *mine), page.last};
}

// --- is it another history? --------------------------------------------------------------------------------

std::vector<conversation_id> known_conversations(const client_store::applied_state& applied,
                                                 const std::vector<conversation_info>& opened) {
  std::set<conversation_id> all;
  for (const auto& [c, at] : applied.positions)
    all.insert(c);
  for (const auto& c : opened)
    all.insert(c.conversation);
  return {all.begin(), all.end()};
}

std::vector<message> telling_messages(std::vector<message> newest) {
  std::ranges::stable_sort(newest, std::greater{}, &message::at);
  if (newest.size() > conversations_looked_at)
    newest.resize(conversations_looked_at);
  return newest;
}

history_verdict judge_history(std::span<const std::optional<finding>> found) {
  if (std::ranges::any_of(found, [](const auto& f) { return f && !f->same; }))
    return history_verdict::other;
  if (found.empty())
    return history_verdict::nothing;
  const bool told = std::ranges::all_of(found, [](const auto& f) { return f.has_value(); });
  return told ? history_verdict::same : history_verdict::unknown;
}

judgement judge_history(std::span<const doubt> telling, std::span<const std::optional<finding>> found) {
  judgement j{judge_history(found), {}};
  if (j.history == history_verdict::unknown)
    for (std::size_t i = 0; i < telling.size(); ++i)
      if (!found[i])
        j.doubts.push_back(telling[i]);
  return j;
}

bool is_number_taken(const std::vector<message>& newest, const message& placed) {
  return !newest.empty() && newest.back().seq == placed.seq && newest.back().client_id != placed.client_id;
}

// --- what goes, and what is fetched ------------------------------------------------------------------------

history_comparison::repair history_comparison::outcome(seq_no position, seq_no newest) const {
  repair r;
  r.wanted = std::max(last_, newest);
  if (newest_ > search_.same_upto())
    r.falls_to = search_.same_upto();
  else if (position > last_)
    r.falls_to = last_;
  return r;
}

std::vector<conversation_info> not_opened_yet(const conversation_list& there,
                                              const std::vector<conversation_info>& here) {
  std::set<conversation_id> known;
  for (const auto& c : here)
    known.insert(c.conversation);
  std::vector<conversation_info> out;
  std::ranges::copy_if(there.items, std::back_inserter(out),
                       [&](const conversation_info& c) { return !known.contains(c.conversation); });
  return out;
}

} // namespace parley::client

#include "protocol/client/rules/receipt_rules.hpp"

#include "protocol/client/rules/session_rules.hpp"

#include <algorithm>

namespace parley::client {

delivery_acks::decision delivery_acks::next(std::size_t messages, instant now) {
  if (under_way_)
    return {};
  const auto due = last_ ? *last_ + every_ : now;
  if ((messages > 0 && due <= now) || unacknowledged_ >= items_max_)
    return {step::now, now};
  if (timer_set_)
    return {};
  timer_set_ = true;
  return {step::at_due, std::max(due, now + every_)};
}

std::optional<cursor> delivery_acks::begin(instant now) {
  if (under_way_ || idle())
    return std::nullopt;
  under_way_ = true;
  unacknowledged_ = 0;
  last_ = now;
  return applied_;
}

bool read_marks::news(conversation_id c, seq_no upto) const {
  const auto i = conversations_.find(c);
  return upto > (i == conversations_.end() ? seq_no::none : i->second.wanted);
}

void read_marks::want(conversation_id c, seq_no upto) {
  auto& r = conversations_[c];
  r.wanted = std::max(r.wanted, upto);
}

std::vector<read_marks::mark> read_marks::take() {
  std::vector<mark> out;
  for (auto& [c, r] : conversations_)
    if (!r.under_way && r.wanted > r.known) {
      r.under_way = true;
      out.push_back({c, r.wanted});
    }
  return out;
}

read_marks::verdict read_marks::judge(const failure& answer, std::chrono::milliseconds every) {
  if (answer.code == ec::none || !may_help_to_repeat(answer))
    return {fate::settled, {}};
  if (speaks_of_the_session(answer.code))
    return {fate::next_session, {}};
  return {fate::again, std::max(every, answer.retry_after)};
}

void read_marks::settled(const mark& told) {
  auto& r = conversations_[told.conversation];
  r.under_way = false;
  r.known = std::max(r.known, told.upto);
}

void read_marks::fall(conversation_id c, seq_no upto) {
  const auto i = conversations_.find(c);
  if (i == conversations_.end())
    return;
  i->second.wanted = std::min(i->second.wanted, upto);
  i->second.known = std::min(i->second.known, upto);
}

void read_marks::lost() {
  for (auto& [c, r] : conversations_)
    r.under_way = false;
}

bool read_marks::idle() const {
  return std::all_of(conversations_.begin(), conversations_.end(),
                     [](const auto& entry) { return entry.second.wanted <= entry.second.known; });
}

} // namespace parley::client

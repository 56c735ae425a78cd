#include "protocol/client/rules/delivery_rules.hpp"

#include <algorithm>

namespace parley::client {

void delivery_rules::restore(const client_store::applied_state& applied, client_store::place place) {
  for (const auto& [c, upto] : applied.positions)
    applier_.advance(c, upto);
  for (const auto& mark : applied.marks)
    applier_.raise(mark);
  acks_.restore(std::move(place.applied), std::move(place.acknowledged));
}

// --- a delivery --------------------------------------------------------------------------------------------

delivery_rules::step delivery_rules::next(std::span<const inbox_row> rows, heal_tries& tries) {
  for (;;) {
    auto plan = applier_.decide(rows);
    if (!plan.missing)
      return {step::kind::keep, std::move(plan), {}};
    const auto hole = *plan.missing;
    if (!held_.empty()) { // one wait for the cluster is enough; what else is missing is fetched after it
      hold(hole);
      tries = new_tries();
      continue;
    }
    if (tries.another())
      return {step::kind::fetch, {}, hole};
    // One conversation's gap must not hold up the others for ever. It is reported, not hidden.
    return {step::kind::pass_over, {}, hole};
  }
}

void delivery_rules::passed_over(const inbox_applier::hole& hole, heal_tries& tries) {
  applier_.advance(hole.conversation, hole.upto);
  tries = new_tries();
}

bool delivery_rules::fetched(const inbox_applier::hole& hole, reply got, heal_tries& tries) {
  if (got == reply::not_now)
    return hold(hole);
  tries.tried(applier_.position(hole.conversation) > hole.after);
  return false;
}

delivery_rules::batch delivery_rules::to_keep(const std::vector<inbox_row>& rows,
                                              const inbox_applier::plan& plan, const cursor& upto) const {
  batch b;
  auto& to = b.to_apply;
  to.messages.reserve(plan.fresh.size());
  to.positions = plan.positions;
  auto fresh = plan.fresh.begin();
  for (std::size_t n = 0; n < rows.size(); ++n)
    std::visit(overloaded{
                   [&](const message_row& row) {
                     ++b.messages;
                     if (fresh == plan.fresh.end() || *fresh != n)
                       return;
                     to.messages.push_back(&row.msg);
                     ++fresh;
                   },
                   [&](const conversation_info& opened) { to.opened.push_back(opened); },
                   [&](const watermark& mark) { to.marks.push_back(mark); },
                   [](const device_added&) {}, // told, not kept
               },
               rows[n]);
  b.moves = held_.empty(); // else the place stays behind what is held
  if (b.moves)
    to.upto = upto;
  return b;
}

void delivery_rules::kept(const batch& b, const inbox_applier::plan& plan, cursor upto) {
  for (const auto& [c, at] : plan.positions)
    applier_.advance(c, at);
  for (const auto& [c, at] : plan.held)
    if (const auto held = held_.find(c); held != held_.end())
      held->second.upto = std::max(held->second.upto, at);
  if (b.moves)
    acks_.advance(std::move(upto), b.messages);
  else
    held_upto_ = std::move(upto);
}

applied_batch delivery_rules::to_keep(const conversation_page& page, conversation_id c, seq_no position) {
  applied_batch batch;
  for (const auto& m : page.messages) {
    if (m.seq <= position)
      continue;
    position = m.seq;
    batch.messages.push_back(&m);
  }
  batch.positions.emplace_back(c, position);
  batch.marks = page.marks;
  return batch;
}

// --- what is held ------------------------------------------------------------------------------------------

bool delivery_rules::hold(const inbox_applier::hole& hole) {
  const bool first = held_.empty();
  if (first)
    held_upto_ = acks_.applied();
  held_.try_emplace(hole.conversation, held_conversation{hole.upto, hole.upto, new_tries()});
  applier_.hold(hole.conversation);
  return first;
}

bool delivery_rules::doubt(std::span<const client::doubt> of, cursor known) {
  bool first = false;
  for (const auto& d : of) {
    const auto at = applier_.position(d.conversation);
    first = hold({d.conversation, at, at}) || first;
    held_.at(d.conversation).doubted = d.seq;
  }
  forgotten_ = std::move(known);
  return first;
}

seq_no delivery_rules::doubted(conversation_id c) const {
  const auto i = held_.find(c);
  return i == held_.end() ? seq_no::none : i->second.doubted;
}

void delivery_rules::confirmed(conversation_id c) {
  if (const auto i = held_.find(c); i != held_.end())
    i->second.doubted = {};
}

void delivery_rules::place_kept(cursor upto) {
  acks_.advance(std::move(upto), 0);
  if (const auto known = std::exchange(forgotten_, {}))
    acks_.forgotten(*known);
}

std::optional<inbox_applier::hole> delivery_rules::next_held(std::optional<conversation_id> after) const {
  const auto next = after ? held_.upper_bound(*after) : held_.begin();
  if (next == held_.end())
    return std::nullopt;
  return inbox_applier::hole{next->first, applier_.position(next->first), next->second.upto};
}

delivery_rules::held_step delivery_rules::held_fetched(const inbox_applier::hole& hole, reply got) {
  using kind = held_step::kind;
  const auto i = held_.find(hole.conversation);
  if (i == held_.end())
    return {kind::stop, {}, {}};
  if (got == reply::not_now)
    return {kind::another, {}, {}};
  auto& held = i->second;
  const auto at = applier_.position(hole.conversation);
  held.tries.tried(at > hole.after);
  if (at >= held.upto) {
    held_.erase(i);
    applier_.release(hole.conversation);
    if (!held_.empty())
      return {kind::complete, {}, {}};
    return {kind::complete, {}, std::exchange(held_upto_, {})};
  }
  if (held.tries.another())
    return {kind::restart, {}, {}};
  return {kind::give_up, {hole.conversation, at, held.hole_upto}, {}};
}

void delivery_rules::given_up(const inbox_applier::hole& hole) {
  applier_.advance(hole.conversation, hole.upto);
  release_all();
}

void delivery_rules::release_all() {
  for (const auto& [c, held] : held_)
    applier_.release(c);
  held_.clear();
  forgotten_.reset();
}

} // namespace parley::client

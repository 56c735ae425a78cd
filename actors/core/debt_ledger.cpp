#include "actors/core/debt_ledger.hpp"

#include "protocol/values/overloaded.hpp"

#include <algorithm>
#include <utility>

namespace parley::core {

namespace {

/// The inboxes to which a debt is owed; null if it is owed to a conversation.
const std::vector<fan_out_target>* inboxes_of(const owed& what) {
  using inboxes = const std::vector<fan_out_target>*;
  return std::visit(overloaded{
                        [](const owed_message& x) -> inboxes { return &x.to; },
                        [](const owed_opening& x) -> inboxes { return &x.to; },
                        [](const owed_receipt& x) -> inboxes { return &x.to; },
                        [](const owed_watermark&) -> inboxes { return nullptr; },
                        [](const owed_copies&) -> inboxes { return nullptr; },
                    },
                    what);
}

/// The approximate size of a part in a command, in bytes.
std::size_t weight(const inbox_append& part) {
  constexpr std::size_t fixed = 96; // of the part, and of each piece of news
  std::size_t bytes = fixed;
  for (const auto& item : part.items)
    bytes += fixed + std::visit(overloaded{
                                    [](const message_news& m) { return m.msg.body.size(); },
                                    [](const opened_news& o) { return o.members.size() * sizeof(user_id); },
                                    [](const watermark&) { return std::size_t{0}; },
                                },
                                item);
  return bytes;
}

/// What applying a call said of its part number `i`.
inbox_outcome outcome_of(const outcome& what, std::size_t i, std::size_t parts, bool to_inboxes) {
  constexpr inbox_outcome not_understood{ec::internal, {}};
  return std::visit(overloaded{
                        [&](const inbox_outcomes& x) {
                          return to_inboxes && x.parts.size() == parts ? x.parts[i] : not_understood;
                        },
                        [&](const done& x) {
                          return to_inboxes ? not_understood : inbox_outcome{x.error, {}};
                        },
                        [&](const placement&) { return not_understood; },
                        [&](const redeemed&) { return not_understood; },
                    },
                    what);
}

} // namespace

part_verdict judge_part(ec error) {
  if (error == ec::none)
    return part_verdict::settled;
  if (error == ec::gap)
    return part_verdict::lacks;
  const auto& what = describe(error);
  switch (what.stored) {
  case was_stored::yes:
    return part_verdict::settled;
  case was_stored::no:
    return what.retryable ? part_verdict::owed : part_verdict::settled;
  case was_stored::unknown:
    break;
  }
  return part_verdict::owed;
}

bool debt_ledger::add(incurred debt_in, source from) {
  const bool follows = debts_.empty() ? debt_in.number > last_ : debt_in.number == last_ + 1;
  const bool next =
      from == source::stored ? follows : !behind_ && (last_ == 0 || debt_in.number == last_ + 1);
  if (!next || debts_.size() >= debts_max_) {
    behind_ = behind_ || debt_in.number > last_;
    return false;
  }
  if (debts_.empty())
    confirmed_ = debt_in.number - 1;
  if (last_ == 0)
    begun_ = confirmed_;
  last_ = debt_in.number;
  debt d{std::move(debt_in), {}, 0};
  if (const auto* to = inboxes_of(d.it.what)) {
    for (const auto& t : *to)
      d.targets.push_back({progress::unsent, t.prev, false});
  } else {
    d.targets.push_back({});
  }
  d.open = d.targets.size();
  unsent_ += d.open;
  debts_.push_back(std::move(d));
  drop_settled();
  return true;
}

std::optional<std::uint64_t> debt_ledger::load_from() const {
  if (!behind_ || debts_.size() >= debts_max_)
    return std::nullopt;
  return last_ + 1;
}

void debt_ledger::loaded(std::uint64_t highest) {
  behind_ = highest > last_;
}

debt_ledger::debt* debt_ledger::find(std::uint64_t n) {
  if (debts_.empty() || n < debts_.front().it.number || n > debts_.back().it.number)
    return nullptr;
  return &debts_[n - debts_.front().it.number];
}

inbox_append debt_ledger::part(const debt& d, const owed_message& m, std::uint32_t index) const {
  const auto& to = m.to[index];
  const auto prev = d.targets[index].prev;
  inbox_append a{to.user, m.conversation, to.membership, prev, m.seq, {}};
  if (d.it.full)
    a.items.emplace_back(message_news{prev, *d.it.full});
  return a;
}

debt_ledger::share debt_ledger::share_of(const debt& d, std::uint32_t index) const {
  // An opening and a receipt cover no seqs: they leave the stream where it is.
  const auto beside = [](const fan_out_target& to, conversation_id c, news what) -> share {
    inbox_append a{to.user, c, to.membership, to.prev, to.prev, {}};
    a.items.push_back(std::move(what));
    return a;
  };
  return std::visit(
      overloaded{
          [&](const owed_message& x) -> share {
            if (d.targets[index].repair)
              if (const auto fixes = repaired_.find(d.it.number); fixes != repaired_.end())
                for (const auto& [target, fix] : fixes->second)
                  if (target == index)
                    return fix;
            return part(d, x, index);
          },
          [&](const owed_opening& x) { return beside(x.to[index], x.what.conversation, x.what); },
          [&](const owed_receipt& x) { return beside(x.to[index], x.mark.conversation, x.mark); },
          [](const owed_watermark& x) -> share { return x.mark; },
          [](const owed_copies& x) -> share { return x.who; },
      },
      d.it.what);
}

std::vector<debt_ledger::call_out> debt_ledger::send(time_point now) {
  std::vector<call_out> out;
  wake(now);
  if (unsent_ == 0)
    return out;
  struct open_batch {
    append_inbox appends;
    raise_watermarks marks;
    want_copies copies;
    under_way append_refs, mark_refs, copies_refs;
    std::size_t append_bytes = 0;
  };
  std::unordered_map<std::uint16_t, open_batch> batches;
  const auto close = [&](std::uint16_t shard, auto& command_of, under_way& refs) {
    if (refs.refs.empty())
      return;
    refs.at = now;
    calls_.emplace(++last_call_, std::exchange(refs, {}));
    out.push_back(
        {last_call_, make_propose(shard_id{shard}, format_, command{std::exchange(command_of, {})})});
  };
  const auto at = [&](auto whose) { return static_cast<std::uint16_t>(number(home_shard(whose, shards_))); };
  for (auto& d : debts_) {
    if (d.open == 0)
      continue;
    for (std::uint32_t i = 0; i < d.targets.size(); ++i) {
      auto& t = d.targets[i];
      if (t.at != progress::unsent)
        continue;
      t.at = progress::sent;
      const ref who{d.it.number, i};
      std::visit(overloaded{
                     [&](inbox_append&& part) {
                       const auto shard = at(part.user);
                       const auto bytes = weight(part);
                       auto& b = batches[shard];
                       if (b.append_bytes + bytes > parts_bytes_max_ ||
                           b.appends.parts.size() >= parts_max_) {
                         close(shard, b.appends, b.append_refs);
                         b.append_bytes = 0;
                       }
                       b.appends.parts.push_back(std::move(part));
                       b.append_refs.refs.push_back(who);
                       b.append_bytes += bytes;
                     },
                     [&](watermark&& mark) {
                       auto& b = batches[at(mark.conversation)];
                       b.marks.marks.push_back(mark);
                       b.mark_refs.refs.push_back(who);
                     },
                     [&](member_ref&& member) {
                       auto& b = batches[at(member.conversation)];
                       b.copies.of.push_back(member);
                       b.copies_refs.refs.push_back(who);
                     },
                 },
                 share_of(d, i));
    }
  }
  unsent_ = 0;
  for (auto& [shard, b] : batches) {
    close(shard, b.appends, b.append_refs);
    close(shard, b.marks, b.mark_refs);
    close(shard, b.copies, b.copies_refs);
  }
  return out;
}

void debt_ledger::settle(const ref& r) {
  auto* d = find(r.debt);
  if (!d || d->targets[r.target].at == progress::done)
    return;
  if (d->targets[r.target].at == progress::unsent)
    --unsent_;
  d->targets[r.target].at = progress::done;
  --d->open;
}

void debt_ledger::reopen(const ref& r) {
  auto* d = find(r.debt);
  if (!d || d->targets[r.target].at != progress::sent)
    return;
  d->targets[r.target].at = progress::unsent;
  ++unsent_;
}

std::chrono::milliseconds debt_ledger::postpone(const ref& r, time_point now) {
  auto* d = find(r.debt);
  if (!d || d->targets[r.target].at != progress::sent)
    return {};
  auto& t = d->targets[r.target];
  constexpr std::uint8_t doublings_max = 16;
  const auto pause = std::min<std::chrono::milliseconds>(retry_.min * (1 << t.waits), retry_.max);
  t.waits = std::min<std::uint8_t>(t.waits + 1, doublings_max);
  t.at = progress::waiting;
  later_.emplace(now + pause, r);
  return pause;
}

/// Whoever has waited long enough is sent again.
void debt_ledger::wake(time_point now) {
  while (!later_.empty() && later_.begin()->first <= now) {
    const auto r = later_.begin()->second;
    later_.erase(later_.begin());
    if (auto* d = find(r.debt); d && d->targets[r.target].at == progress::waiting) {
      d->targets[r.target].at = progress::unsent;
      ++unsent_;
    }
  }
}

debt_ledger::refusals debt_ledger::answered(std::uint64_t call, ec error, const outcome& what, time_point now,
                                            const history& log) {
  refusals refused;
  auto node = calls_.extract(call);
  if (node.empty())
    return refused;
  const auto& refs = node.mapped().refs;
  if (error != ec::none) {
    const bool elsewhere = error == ec::not_leader || error == ec::timed_out;
    for (const auto& r : refs) {
      if (elsewhere)
        reopen(r);
      else
        postpone(r, now);
    }
    if (band_of(error) != error_band::condition)
      refused = {refs.size(), error};
    return refused;
  }
  for (std::size_t i = 0; i < refs.size(); ++i) {
    auto* d = find(refs[i].debt);
    if (!d || d->targets[refs[i].target].at != progress::sent)
      continue;
    const auto got = outcome_of(what, i, refs.size(), inboxes_of(d->it.what) != nullptr);
    auto verdict = judge_part(got.error);
    if (verdict == part_verdict::settled && got.error == ec::none && d->targets[refs[i].target].partly)
      verdict = part_verdict::lacks;
    if (verdict != part_verdict::lacks && got.error != ec::none && got.error != ec::stale)
      refused = {refused.count + 1, got.error};
    switch (verdict) {
    case part_verdict::settled: // `stale`: the membership this was for has ended
      settle(refs[i]);
      break;
    case part_verdict::owed:
      postpone(refs[i], now);
      break;
    case part_verdict::lacks: {
      // The inbox has less than this stream's previous append said, or its user has several devices by now
      // and wants what one of them sent. Earlier debts that are still open will fill some of it; what is
      // missing beyond them comes from the conversation's log.
      const bool further = std::visit(
          overloaded{
              [&](const owed_message& m) { return repair(*d, m, refs[i].target, got.covered, log); },
              // These fill nothing: they wait until a message before them has filled the gap.
              [](const owed_opening&) { return false; },
              [](const owed_receipt&) { return false; },
              [](const owed_watermark&) { return false; },
              [](const owed_copies&) { return false; },
          },
          d->it.what);
      if (further)
        reopen(refs[i]);
      else if (postpone(refs[i], now) >= retry_.max) // not a step of paying any more
        refused = {refused.count + 1, ec::gap};
      break;
    }
    }
  }
  drop_settled();
  return refused;
}

bool debt_ledger::repair(debt& d, const owed_message& m, std::uint32_t index, seq_no covered,
                         const history& log) {
  auto p = part(d, m, index);
  p.prev = covered;
  p.items.clear();
  auto last = covered;
  for (auto& msg : log(m.conversation, covered, m.seq)) {
    if (msg.seq != next(last)) // readers do not see all of the log yet, and an append must never cover a gap
      break;
    p.items.emplace_back(message_news{last, msg});
    last = msg.seq;
  }
  if (last == covered)
    return false;
  p.upto = last;
  auto& t = d.targets[index];
  t.repair = true;
  t.partly = last < m.seq;
  auto& fixes = repaired_[d.it.number];
  const auto earlier =
      std::find_if(fixes.begin(), fixes.end(), [&](const auto& x) { return x.first == index; });
  if (earlier == fixes.end()) {
    t.waits = 0;
    fixes.emplace_back(index, std::move(p));
    return true;
  }
  const bool further = earlier->second.prev != p.prev || earlier->second.upto != p.upto;
  if (further)
    t.waits = 0;
  earlier->second = std::move(p);
  return further;
}

void debt_ledger::expire(time_point deadline) {
  for (auto i = calls_.begin(); i != calls_.end();) {
    if (i->second.at > deadline) {
      ++i;
      continue;
    }
    for (const auto& r : i->second.refs)
      reopen(r);
    i = calls_.erase(i);
  }
}

void debt_ledger::drop_settled() {
  while (!debts_.empty() && debts_.front().open == 0) {
    confirmed_ = debts_.front().it.number;
    repaired_.erase(confirmed_);
    debts_.pop_front();
  }
}

} // namespace parley::core

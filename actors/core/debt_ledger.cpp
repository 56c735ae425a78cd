#include "actors/core/debt_ledger.hpp"

#include <algorithm>

namespace parley::core {

const std::vector<fan_out_target>* debt_ledger::targets_of(const owed& what) const {
  if (auto* m = std::get_if<owed_message>(&what))
    return &m->to;
  if (auto* o = std::get_if<owed_opening>(&what))
    return &o->to;
  if (auto* r = std::get_if<owed_receipt>(&what))
    return &r->to;
  return nullptr; // the others go to their conversation
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
  if (const auto* to = targets_of(d.it.what)) {
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

inbox_append debt_ledger::part(const debt& d, std::uint32_t index) const {
  inbox_append a;
  if (const auto* m = std::get_if<owed_message>(&d.it.what)) {
    const auto& to = m->to[index];
    a = {to.user, m->conversation, to.membership, d.targets[index].prev, m->seq, {}};
    if (d.it.full)
      a.items.emplace_back(message_news{a.prev, *d.it.full});
  } else if (const auto* o = std::get_if<owed_opening>(&d.it.what)) {
    const auto& to = o->to[index];
    a = {to.user, o->what.conversation, to.membership, to.prev, to.prev, {o->what}};
  } else if (const auto* r = std::get_if<owed_receipt>(&d.it.what)) {
    const auto& to = r->to[index];
    a = {to.user, r->mark.conversation, to.membership, to.prev, to.prev, {r->mark}};
  }
  return a;
}

std::vector<debt_ledger::call_out> debt_ledger::send(time_point now) {
  std::vector<call_out> out;
  if (unsent_ == 0)
    return out;
  struct open_batch {
    append_inbox appends;
    raise_watermarks marks;
    want_copies copies;
    under_way append_refs, mark_refs, copies_refs;
  };
  std::unordered_map<std::uint16_t, open_batch> batches;
  const auto close_appends = [&](std::uint16_t shard, open_batch& b) {
    if (b.appends.parts.empty())
      return;
    b.append_refs.at = now;
    calls_.emplace(++last_call_, std::move(b.append_refs));
    out.push_back({last_call_, {shard_id{shard}, command{std::move(b.appends)}}});
    b.appends = {};
    b.append_refs = {};
  };
  for (auto& d : debts_) {
    if (d.open == 0)
      continue;
    for (std::uint32_t i = 0; i < d.targets.size(); ++i) {
      auto& t = d.targets[i];
      if (t.at != progress::unsent)
        continue;
      t.at = progress::sent;
      if (const auto* w = std::get_if<owed_watermark>(&d.it.what)) {
        auto& b = batches[static_cast<std::uint16_t>(number(home_shard(w->mark.conversation, shards_)))];
        b.marks.marks.push_back(w->mark);
        b.mark_refs.refs.push_back({d.it.number, i});
        continue;
      }
      if (const auto* o = std::get_if<owed_copies>(&d.it.what)) {
        auto& b = batches[static_cast<std::uint16_t>(number(home_shard(o->who.conversation, shards_)))];
        b.copies.of.push_back(o->who);
        b.copies_refs.refs.push_back({d.it.number, i});
        continue;
      }
      auto p = part(d, i);
      if (t.repair) {
        auto& fixes = repaired_[d.it.number];
        auto f = std::find_if(fixes.begin(), fixes.end(), [&](const auto& x) { return x.first == i; });
        if (f != fixes.end())
          p = f->second;
      }
      const auto shard = static_cast<std::uint16_t>(number(home_shard(p.user, shards_)));
      auto& b = batches[shard];
      b.appends.parts.push_back(std::move(p));
      b.append_refs.refs.push_back({d.it.number, i});
      if (b.appends.parts.size() >= parts_max_)
        close_appends(shard, b);
    }
  }
  unsent_ = 0;
  for (auto& [shard, b] : batches) {
    close_appends(shard, b);
    if (!b.marks.marks.empty()) {
      b.mark_refs.at = now;
      calls_.emplace(++last_call_, std::move(b.mark_refs));
      out.push_back({last_call_, {shard_id{shard}, command{std::move(b.marks)}}});
    }
    if (!b.copies.of.empty()) {
      b.copies_refs.at = now;
      calls_.emplace(++last_call_, std::move(b.copies_refs));
      out.push_back({last_call_, {shard_id{shard}, command{std::move(b.copies)}}});
    }
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

void debt_ledger::answered(std::uint64_t call, ec error, const outcome& what, const history& log) {
  auto node = calls_.extract(call);
  if (node.empty())
    return;
  const auto& refs = node.mapped().refs;
  const auto* outcomes = std::get_if<inbox_outcomes>(&what);
  if (error != ec::none || (outcomes && outcomes->parts.size() != refs.size())) {
    for (const auto& r : refs)
      reopen(r);
    return;
  }
  for (std::size_t i = 0; i < refs.size(); ++i) {
    auto* d = find(refs[i].debt);
    if (!d || d->targets[refs[i].target].at != progress::sent)
      continue;
    const auto got = outcomes ? outcomes->parts[i] : inbox_outcome{};
    const bool lacks = got.error == ec::gap || (got.error == ec::none && d->targets[refs[i].target].partly);
    if (!lacks) {
      settle(refs[i]); // `stale`: the membership this was for has ended
      continue;
    }
    // The inbox has less than this stream's previous append said, or its user has several devices by now and
    // wants what one of them sent. Earlier debts that are still open will fill some of it; what is missing
    // beyond them comes from the conversation's log.
    repair(*d, refs[i].target, got.covered, log);
    reopen(refs[i]);
  }
  drop_settled();
}

void debt_ledger::repair(debt& d, std::uint32_t index, seq_no covered, const history& log) {
  const auto* m = std::get_if<owed_message>(&d.it.what);
  if (!m)
    return;
  auto p = part(d, index);
  p.prev = covered;
  p.items.clear();
  auto last = covered;
  for (auto& msg : log(m->conversation, covered, m->seq)) {
    if (msg.seq != next(last)) // readers do not see all of it yet: an append must never cover a hole
      break;
    p.items.emplace_back(message_news{last, msg});
    last = msg.seq;
  }
  if (last == covered)
    return;
  p.upto = last;
  auto& t = d.targets[index];
  t.repair = true;
  t.partly = last < m->seq;
  auto& fixes = repaired_[d.it.number];
  std::erase_if(fixes, [&](const auto& x) { return x.first == index; });
  fixes.emplace_back(index, std::move(p));
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

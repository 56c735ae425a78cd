#include "actors/core/debt_ledger.hpp"

#include "actors/core/debt_targets.hpp"
#include "actors/core/rescue_numbers.hpp"
#include "protocol/values/overloaded.hpp"
#include "protocol/values/planted_bugs.hpp"

#include <algorithm>
#include <set>
#include <utility>

namespace parley::core {
namespace {

/// What a debt takes in memory, about.
std::size_t bytes_of(const incurred& debt) {
  constexpr std::size_t fixed = 256; // without its body
  return fixed + (debt.full ? debt.full->body.size() : 0);
}

} // namespace

config_check validate(const ledger_config& config) {
  if (config.shards < 1)
    return config_fault{"shards"};
  if (config.debts_max < 1)
    return config_fault{"debts_max"};
  if (config.bytes_max < 1)
    return config_fault{"bytes_max"};
  if (config.parts_max < 1)
    return config_fault{"parts_max"};
  if (config.parts_bytes_max < 1)
    return config_fault{"parts_bytes_max"};
  if (config.under_way_parts_max < 1)
    return config_fault{"under_way_parts_max"};
  if (config.under_way_bytes_max < 1)
    return config_fault{"under_way_bytes_max"};
  if (config.retry.min.count() < 1)
    return config_fault{"retry.min"};
  if (config.retry.max < config.retry.min)
    return config_fault{"retry.max"};
  if (config.probes_max < 1 || config.probes_max >= config.debts_max)
    return config_fault{"probes_max"};
  return std::nullopt;
}

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

// --- what is in memory -------------------------------------------------------------------------------------

std::uint16_t debt_ledger::shard_of(const owed& what, std::uint32_t index) const {
  const auto at = [&](auto whose) {
    return static_cast<std::uint16_t>(number(home_shard(whose, config_.shards)));
  };
  return std::visit(overloaded{
                        [&](const owed_message& x) { return at(x.to[index].user); },
                        [&](const owed_opening& x) { return at(x.to[index].user); },
                        [&](const owed_receipt& x) { return at(x.to[index].user); },
                        [&](const owed_watermark& x) { return at(x.mark.conversation); },
                        [&](const owed_copies& x) { return at(x.who.conversation); },
                        [](const owed_renewal& x) { return static_cast<std::uint16_t>(x.to); },
                    },
                    what);
}

bool debt_ledger::add(incurred debt, source from) {
  if (from == source::live)
    return add_live(std::move(debt));
  if (debt.number <= last_)
    return add_again(std::move(debt));
  if (full()) {
    behind_ = true;
    return false;
  }
  take(std::move(debt));
  return true;
}

bool debt_ledger::add_live(incurred debt) {
  const auto n = debt.number;
  heard_ = std::max(heard_, n);
  if (n <= last_)
    return false;
  if (!ahead_.empty() && ahead_.back().number + 1 != n) {
    ahead_.clear();
    ahead_bytes_ = 0;
  }
  ahead_bytes_ += bytes_of(debt);
  ahead_.push_back(std::move(debt));
  admit();
  while (ahead_.size() > config_.ahead_max || ahead_bytes_ > config_.ahead_bytes_max) {
    leave_ahead(); // the oldest: storage shows it before the others
    behind_ = true;
  }
  return n <= last_;
}

void debt_ledger::leave_ahead() {
  ahead_bytes_ -= bytes_of(ahead_.front());
  ahead_.pop_front();
}

void debt_ledger::admit() {
  while (!ahead_.empty() && ahead_.front().number <= last_)
    leave_ahead();
  if (!ahead_.empty() && last_ != 0 && ahead_.front().number != last_ + 1)
    behind_ = true;
  while (!behind_ && !ahead_.empty() && !full()) {
    auto next = std::move(ahead_.front());
    ahead_bytes_ -= bytes_of(next);
    ahead_.pop_front();
    take(std::move(next));
  }
}

void debt_ledger::take(incurred debt_in) {
  last_ = debt_in.number;
  debt d{std::move(debt_in), {}};
  d.targets = targets_of(d.it.what);
  for (std::uint32_t i = 0; i < d.targets.size() && !stalled_.empty(); ++i)
    if (const auto s = stalled_.find(shard_of(d.it.what, i)); s != stalled_.end()) {
      d.targets[i].at = progress::stored; // behind what is stored for this shard already
      s->second.upto = last_;
    }
  insert(std::move(d));
  note_confirmed();
}

std::vector<debt_ledger::target> debt_ledger::targets_of(const owed& what) {
  const auto* to = inboxes_of(what);
  std::vector<target> out(to ? to->size() : 1);
  for (std::size_t i = 0; to && i < to->size(); ++i)
    out[i].prev = (*to)[i].prev;
  return out;
}

std::map<std::uint64_t, debt_ledger::debt>::iterator
debt_ledger::drop(std::map<std::uint64_t, debt>::iterator i) {
  bytes_ -= i->second.bytes;
  repaired_.erase(i->first);
  return debts_.erase(i);
}

void debt_ledger::insert(debt d) {
  d.open = static_cast<std::size_t>(std::count_if(d.targets.begin(), d.targets.end(),
                                                  [](const target& t) { return t.at == progress::unsent; }));
  if (d.open == 0)
    return;
  d.bytes = bytes_of(d.it) + d.targets.size() * sizeof(target);
  bytes_ += d.bytes;
  unsent_ += d.open;
  debts_.emplace(d.it.number, std::move(d));
}

/// A debt that was added before, for shards that confirm again.
bool debt_ledger::add_again(incurred debt_in) {
  const auto n = debt_in.number;
  const auto left_to_storage = [&](const owed& what, std::uint32_t index) {
    const auto s = stalled_.find(shard_of(what, index));
    if (s == stalled_.end() || n < s->second.from || n > s->second.upto)
      return progress::done;
    return s->second.recovers ? progress::unsent : progress::stored;
  };
  if (auto* known = find(n)) {
    for (std::uint32_t i = 0; i < known->targets.size(); ++i)
      if (auto& t = known->targets[i];
          t.at == progress::stored && left_to_storage(known->it.what, i) == progress::unsent) {
        t.at = progress::unsent;
        ++known->open;
        ++unsent_;
      }
  } else {
    if (full())
      return false;
    debt d{std::move(debt_in), {}};
    d.targets = targets_of(d.it.what);
    for (std::uint32_t i = 0; i < d.targets.size(); ++i)
      d.targets[i].at = left_to_storage(d.it.what, i);
    insert(std::move(d));
  }
  for (auto s = stalled_.begin(); s != stalled_.end();) {
    auto& it = s->second;
    if (it.recovers && it.from <= n)
      it.from = n + 1;
    s = it.from > it.upto ? stalled_.erase(s) : std::next(s);
  }
  note_confirmed();
  return true;
}

/// If there is no room and the oldest debts wait for shards that do not confirm, these are stalled.
void debt_ledger::relieve(time_point now) {
  if (!full())
    return;
  std::set<std::uint16_t> silent;
  for (const auto& [n, d] : debts_) {
    if (!d.sent_at || now - *d.sent_at < config_.stalled_after)
      break;
    for (std::uint32_t i = 0; i < d.targets.size(); ++i)
      if (d.targets[i].at == progress::sent || d.targets[i].at == progress::waiting)
        silent.insert(shard_of(d.it.what, i)); // what is unsent yet waits for the answers before it
  }
  for (const auto shard : silent)
    stall(shard);
  note_confirmed();
}

void debt_ledger::stall(std::uint16_t shard) {
  stalled range;
  std::set<std::pair<std::uint64_t, std::uint64_t>> probed; // streams: a stream that is stuck keeps one probe
  for (auto i = debts_.begin(); i != debts_.end();) {
    auto& [n, d] = *i;
    for (std::uint32_t index = 0; index < d.targets.size(); ++index) {
      auto& t = d.targets[index];
      if (t.at == progress::done || t.at == progress::stored || shard_of(d.it.what, index) != shard)
        continue;
      const auto* to = inboxes_of(d.it.what);
      const auto stream = to ? std::pair{number((*to)[index].user), std::uint64_t{0}} : std::pair{n, n};
      if (probed.size() < config_.probes_max && probed.insert(stream).second)
        continue;
      if (t.at == progress::unsent)
        --unsent_;
      t.at = progress::stored;
      --d.open;
      range.from = std::min(range.from, n);
      range.upto = n;
    }
    if (d.open != 0) {
      ++i;
      continue;
    }
    i = drop(i);
  }
  if (range.upto == 0)
    return; // all that is left are probes
  auto& s = stalled_[shard];
  s.from = std::min(s.from, range.from);
  s.upto = std::max(s.upto, range.upto);
  s.recovers = false;
}

std::optional<std::uint64_t> debt_ledger::load_from() const {
  if (full())
    return std::nullopt;
  if (behind_)
    return last_ + 1;
  auto from = UINT64_MAX;
  for (const auto& [shard, s] : stalled_)
    if (s.recovers)
      from = std::min(from, s.from);
  return from == UINT64_MAX ? std::nullopt : std::optional{from};
}

void debt_ledger::loaded(std::uint64_t newest) {
  last_ = std::max(last_, newest);
  note_confirmed();
  behind_ = false;
  admit();
  behind_ = behind_ || (ahead_.empty() && heard_ > last_);
}

debt_ledger::debt* debt_ledger::find(std::uint64_t n) {
  const auto i = debts_.find(n);
  return i == debts_.end() ? nullptr : &i->second;
}

// --- what is sent ------------------------------------------------------------------------------------------

inbox_append debt_ledger::part(const debt& d, const owed_message& m, std::uint32_t index) const {
  const auto& to = m.to[index];
  const auto prev = d.targets[index].prev;
  inbox_append a{to.user, m.conversation, to.membership, prev, m.seq, {}};
  if (d.it.full)
    a.items.emplace_back(message_news{prev, *d.it.full});
  return a;
}

debt_ledger::share debt_ledger::share_of(const debt& d, std::uint32_t index) const {
  if (d.targets[index].repair)
    if (const auto fixes = repaired_.find(d.it.number); fixes != repaired_.end())
      for (const auto& [target, fix] : fixes->second)
        if (target == index)
          return fix;
  // An opening and a receipt cover no seqs: they leave the stream where it is.
  const auto beside = [](const fan_out_target& to, conversation_id c, news what) -> share {
    inbox_append a{to.user, c, to.membership, to.prev, to.prev, {}};
    a.items.push_back(std::move(what));
    return a;
  };
  return std::visit(
      overloaded{
          [&](const owed_message& x) -> share { return part(d, x, index); },
          [&](const owed_opening& x) { return beside(x.to[index], x.what.conversation, x.what); },
          [&](const owed_receipt& x) { return beside(x.to[index], x.mark.conversation, x.mark); },
          [](const owed_watermark& x) -> share { return x.mark; },
          [](const owed_copies& x) -> share { return x.who; },
          [](const owed_renewal& x) -> share {
            return renew_streams{x.of, x.rescues, x.shards};
          },
      },
      d.it.what);
}

std::vector<debt_ledger::call_out> debt_ledger::send(time_point now) {
  std::vector<call_out> out;
  wake(now);
  relieve(now);
  admit();
  if (unsent_ == 0)
    return out;
  struct open_batch {
    append_inbox appends;
    raise_watermarks marks;
    want_copies copies;
    under_way append_refs, mark_refs, copies_refs;
  };
  std::unordered_map<std::uint16_t, open_batch> batches;
  const auto close = [&](std::uint16_t shard, auto& command_of, under_way& refs) {
    if (refs.refs.empty())
      return;
    refs.at = now;
    refs.to = shard;
    calls_.emplace(++last_call_, std::exchange(refs, {}));
    out.push_back(
        {last_call_, make_propose(shard_id{shard}, format_, command{std::exchange(command_of, {})})});
  };
  std::size_t left = 0; // for later
  for (auto& [n, d] : debts_) {
    for (std::uint32_t i = 0; i < d.targets.size(); ++i) {
      auto& t = d.targets[i];
      if (t.at != progress::unsent)
        continue;
      const auto shard = shard_of(d.it.what, i);
      if (!takes_more(shard)) { // nor what comes behind it: a shard is sent its parts in order
        ++left;
        continue;
      }
      if (!d.sent_at)
        d.sent_at = now;
      t.at = progress::sent;
      auto& b = batches[shard];
      const auto add = [&](auto& command_of, auto& parts, under_way& refs, auto&& part, std::size_t bytes) {
        const bool too_large = refs.bytes + bytes > config_.parts_bytes_max && !planted("batch-by-count");
        if (too_large || parts.size() >= config_.parts_max)
          close(shard, command_of, refs);
        parts.push_back(std::forward<decltype(part)>(part));
        refs.refs.push_back({n, i});
        refs.bytes += bytes;
        auto& all = to_[shard];
        ++all.parts;
        all.bytes += bytes;
      };
      std::visit(
          overloaded{
              [&](inbox_append&& part) {
                const auto bytes = weight(part);
                add(b.appends, b.appends.parts, b.append_refs, std::move(part), bytes);
              },
              [&](watermark&& mark) { add(b.marks, b.marks.marks, b.mark_refs, mark, sizeof mark); },
              [&](member_ref&& member) { add(b.copies, b.copies.of, b.copies_refs, member, sizeof member); },
              [&](renew_streams&& renewal) {
                under_way only{{{n, i}}, now, shard, sizeof renewal};
                auto& all = to_[shard];
                ++all.parts;
                all.bytes += only.bytes;
                close(shard, renewal, only);
              },
          },
          share_of(d, i));
    }
  }
  unsent_ = left;
  for (auto& [shard, b] : batches) {
    close(shard, b.appends, b.append_refs);
    close(shard, b.marks, b.mark_refs);
    close(shard, b.copies, b.copies_refs);
  }
  return out;
}

bool debt_ledger::takes_more(std::uint16_t shard) const {
  const auto all = to_.find(shard);
  return all == to_.end() ||
         (all->second.parts < config_.under_way_parts_max && all->second.bytes < config_.under_way_bytes_max);
}

void debt_ledger::has_left(const under_way& call) {
  const auto all = to_.find(call.to);
  all->second.parts -= call.refs.size();
  all->second.bytes -= call.bytes;
  if (all->second.parts == 0)
    to_.erase(all);
}

void debt_ledger::settle(const ref& r) {
  auto* d = find(r.debt);
  if (!d || d->targets[r.target].at == progress::done)
    return;
  if (d->targets[r.target].at == progress::unsent)
    --unsent_;
  d->targets[r.target].at = progress::done;
  const bool delivered = std::all_of(d->targets.begin(), d->targets.end(),
                                     [](const target& t) { return t.at == progress::done; });
  if (delivered)
    delivered_.add({r.debt, r.debt});
  if (!stalled_.empty())
    if (const auto s = stalled_.find(shard_of(d->it.what, r.target)); s != stalled_.end())
      s->second.recovers = true;
  if (--d->open == 0)
    drop(debts_.find(r.debt));
}

void debt_ledger::reopen(const ref& r) {
  auto* d = find(r.debt);
  if (!d || d->targets[r.target].at != progress::sent)
    return;
  d->targets[r.target].at = progress::unsent;
  ++unsent_;
}

std::chrono::milliseconds debt_ledger::pause_of(const target& t) const {
  return std::min<std::chrono::milliseconds>(config_.retry.min * (1 << t.waits), config_.retry.max);
}

std::chrono::milliseconds debt_ledger::postpone(const ref& r, time_point now, pauses how) {
  auto* d = find(r.debt);
  if (!d || d->targets[r.target].at != progress::sent)
    return {};
  auto& t = d->targets[r.target];
  constexpr std::uint8_t doublings_max = 16;
  const auto pause = how == pauses::grow ? pause_of(t) : config_.retry.min;
  if (how == pauses::grow)
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
  has_left(node.mapped());
  const auto& refs = node.mapped().refs;
  if (error != ec::none) {
    const bool elsewhere = error == ec::not_leader || error == ec::timed_out;
    for (const auto& r : refs) {
      if (elsewhere && planted("paid-when-timed-out"))
        settle(r);
      else if (error == ec::timed_out)
        reopen(r); // it has waited
      else
        postpone(r, now, error == ec::not_leader ? pauses::stay : pauses::grow);
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
    if (const auto* renewed = std::get_if<streams_renewed>(&what); renewed && renewed->more != 0) {
      if (renewed->more == streams_renewed::at_once) { // the rest follows
        d->targets[refs[i].target].waits = 0;
        reopen(refs[i]);
      } else {
        postpone(refs[i], now);
      }
      continue;
    }
    auto verdict = judge_part(got.error);
    // A piece of a repair was taken. What follows it may have arrived with the repair of a later message.
    if (const auto all = reach_of(d->it.what, refs[i].target);
        got.error == ec::none && all && d->targets[refs[i].target].partly && got.covered < all->upto)
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
      // missing beyond them comes from the conversation's log. An opening or a receipt first waits for those. If the
      // inbox lacks something still when it is asked as seldom as ever, its shard forgot what it had confirmed.
      const bool waits_first =
          waits_for_others(d->it.what) && !d->targets[refs[i].target].repair &&
          (pause_of(d->targets[refs[i].target]) < config_.retry.max || planted("receipt-waits-for-ever"));
      if (!waits_first && repair(*d, refs[i].target, got.covered, log))
        reopen(refs[i]);
      else if (postpone(refs[i], now) >= config_.retry.max) // not a step of paying any more
        refused = {refused.count + 1, ec::gap};
      break;
    }
    }
  }
  note_confirmed();
  return refused;
}

bool debt_ledger::repair(debt& d, std::uint32_t index, seq_no covered, const history& log) {
  const auto* to = inboxes_of(d.it.what);
  const auto all = reach_of(d.it.what, index);
  if (!to || !all)
    return false;
  const auto& who = (*to)[index];
  inbox_append p{who.user, all->conversation, who.membership, covered, covered, {}};
  auto last = covered;
  for (auto& msg : log(all->conversation, covered, all->upto)) {
    // Readers do not see all of the log yet, and an append must never cover a gap.
    if (!follows(last, msg.seq))
      break;
    p.items.emplace_back(message_news{last, msg});
    last = msg.seq;
  }
  if (last == covered)
    return false;
  p.upto = last;
  auto& t = d.targets[index];
  t.repair = true;
  t.partly = last < all->upto;
  // Each piece may say what the debt says beside the messages: an inbox takes it once.
  if (const auto* opening = std::get_if<owed_opening>(&d.it.what))
    p.items.insert(p.items.begin(), opening->what);
  if (const auto* receipt = std::get_if<owed_receipt>(&d.it.what))
    p.items.emplace_back(receipt->mark);
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
    has_left(i->second);
    i = calls_.erase(i);
  }
}

/// What is neither in memory nor left to storage is with those it concerns.
void debt_ledger::note_confirmed() {
  auto first = debts_.empty() ? last_ + 1 : debts_.begin()->first;
  for (const auto& [shard, s] : stalled_)
    first = std::min(first, s.from);
  confirmed_ = std::max(confirmed_, first - 1);
}

} // namespace parley::core

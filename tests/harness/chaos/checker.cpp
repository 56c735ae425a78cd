#include "tests/harness/chaos/checker_state.hpp"

namespace parley::chaos {

/// Rules 1, 2, 4 and 6, applied whenever message `m` was seen at `seq`. Returns false if
/// the observation is impossible.
bool checker::impl::observe(std::uint32_t c, std::uint32_t m, std::uint64_t seq, message_id msg,
                            const body_hash* hash, const char* where) {
  auto& it = messages_[m];
  const auto& key = message_ids_.key(m);
  const auto device = parley::number(key.id.device);
  const auto say = [&](int rule, harm h, const char* why) {
    if (!it.reported)
      report(rule, h, "%s: message %llu/%llu at seq %llu of %s %s", where,
             static_cast<unsigned long long>(device), static_cast<unsigned long long>(key.id.counter),
             static_cast<unsigned long long>(seq), name(c), why);
    it.reported = true;
    return false;
  };
  it.seen = true;
  const bool possible = seq > 0 && seq <= seq_max;
  auto& places = conversations_[c].places;
  if (possible && places.size() < seq)
    places.resize(seq);
  // Even if it breaks a rule, a message is stored at this position: that is one violation, not also a gap.
  if (possible && places[seq - 1].holder == none)
    places[seq - 1] = {m, msg};
  if (!it.invoked)
    return say(4, harm::none, "was never sent");
  if (hash && *hash != it.hash)
    return say(4, harm::none, "has another body than was sent");
  if (!possible)
    return say(1, harm::reordered, "has no possible place");
  if (it.seq != 0 && it.seq != seq)
    return say(2, harm::duplicated, "has another place already");
  const auto& here = places[seq - 1];
  if (here.holder != m)
    return say(1, harm::reordered, "stands where another message stands");
  if (here.msg != msg)
    return say(1, harm::reordered, "has two msg_ids");
  const bool is_first_sight = it.seq == 0;
  it.seq = seq;
  if (is_first_sight && seq <= it.acked_before)
    return say(6, harm::reordered, "stands below what was acknowledged before it was sent");
  return true;
}

void checker::impl::take_send(const event& e) {
  const auto c = conversation_of(e.conversation);
  const auto m = message_of(c, e.sender, e.counter);
  auto& it = messages_[m];
  if (e.is == phase::invoke) {
    if (!it.invoked) {
      it.invoked = true;
      it.hash = e.hash;
      it.acked_before = conversations_[c].highest_acked;
      ++v_.messages;
    }
    it.attempt_ns = e.t_mono_ns;
    ++it.attempts;
    ++it.open;
    ++v_.attempts;
    if (healed_ns_ != 0 && open_attempts_ == 0)
      healed_ns_ = e.t_mono_ns; // no client waited for an answer until now
    ++open_attempts_;
    return;
  }
  if (it.open > 0) {
    --it.open;
    --open_attempts_;
  }
  if (e.is == phase::fail) {
    ++it.failed;
    return;
  }
  if (e.is == phase::info) {
    ++v_.unanswered;
    return;
  }
  const auto waited = [&](std::int64_t since) { return static_cast<double>(e.t_mono_ns - since) / 1e6; };
  if (healed_ns_ != 0) {
    v_.first_ack_max_ms = std::max(v_.first_ack_max_ms, waited(healed_ns_));
    healed_ns_ = 0;
  }
  // The kill that disturbed the send: the first one that is not long before the attempt, provided that
  // it came before the answer.
  const auto window = std::chrono::nanoseconds{config_.failover_window}.count();
  if (const auto kill = std::lower_bound(kills_ns_.begin(), kills_ns_.end(), it.attempt_ns - window);
      kill != kills_ns_.end() && *kill < e.t_mono_ns)
    failovers_ms_.push_back(waited(std::max(*kill, it.attempt_ns)));

  auto& conversation = conversations_[c];
  if (!it.acked)
    ++v_.acked;
  it.acked = true;
  if (observe(c, m, parley::number(e.seq), e.msg, nullptr, "ack"))
    conversation.highest_acked = std::max(conversation.highest_acked, parley::number(e.seq));
}

/// Takes one message of an inbox's stream: rules 7 (pages) and 8 (pushes).
void checker::impl::take_item(const event& e, int rule, number_interner& keys, std::vector<run_record>& runs,
                              std::uint32_t epoch, const char* where) {
  const auto c = conversation_of(e.conversation);
  const auto m = message_of(c, e.sender, e.counter);
  const auto seq = parley::number(e.seq);
  const auto prev = parley::number(e.prev);
  observe(c, m, seq, e.msg, &e.hash, where);
  const auto& reader = processes_[e.process];
  const auto r = keys.of(pair_key(e.process, c));
  if (r == runs.size())
    runs.emplace_back();
  auto& run = runs[r];
  if (run.epoch != epoch)
    run = {0, epoch};
  const auto d = devices_.find(parley::number(reader.device));
  const auto k = covered_keys_.of(pair_key(d, c));
  if (k == covered_.size())
    covered_.push_back(0);
  auto& covered = covered_[k];

  const auto complain = [&](harm h, const char* why) {
    report(rule, h, "%s: process %u got (%llu, %llu] of %s %s %llu", where, e.process,
           static_cast<unsigned long long>(prev), static_cast<unsigned long long>(seq), name(c), why,
           static_cast<unsigned long long>(run.last != 0 ? run.last : covered));
  };
  if (run.last != 0 && seq <= run.last)
    complain(seq == run.last ? harm::duplicated : harm::reordered, "after it had got");
  else if (prev >= seq || prev > (run.last != 0 ? run.last : covered))
    complain(harm::gap, "though it had got up to");
  else if (seq - prev > 1)
    skips_.push_back({c, reader.user, prev + 1, seq - 1, rule});
  run.last = std::max(run.last, seq);
  covered = std::max(covered, seq);
}

/// Takes a message that was shown to a person: never twice and never backwards, across all connections.
void checker::impl::take_applied(const event& e) {
  const auto c = conversation_of(e.conversation);
  const auto seq = parley::number(e.seq);
  observe(c, message_of(c, e.sender, e.counter), seq, e.msg, &e.hash, "client");
  const auto d = devices_.find(parley::number(process_of(e.process).device));
  const auto k = applied_keys_.of(pair_key(d, c));
  if (k == applied_.size())
    applied_.push_back(0);
  auto& last = applied_[k];
  if (seq <= last)
    report(8, seq == last ? harm::duplicated : harm::reordered,
           "client: process %u showed seq %llu of %s after %llu", e.process,
           static_cast<unsigned long long>(seq), name(c), static_cast<unsigned long long>(last));
  last = std::max(last, seq);
}

/// Rule 7 for the sync of one conversation, and the data that rule 3 needs from it.
void checker::impl::take_read(const event& e) {
  const auto c = conversation_of(e.conversation);
  // A client may run two syncs of one conversation at the same time, one for the caller and one to fill
  // a gap. The position where a sync began identifies the sync that an answer belongs to.
  const auto who = reader_keys_.of(pair_key(e.process, c));
  const auto r = reading_keys_.of(pair_key(who, static_cast<std::uint32_t>(parley::number(e.prev))));
  if (r == readings_.size())
    readings_.emplace_back();
  auto& it = readings_[r];
  if (e.f == action::read && e.is == phase::invoke) {
    const auto after = parley::number(e.prev);
    it = {after, after + 1, conversations_[c].highest_acked, true};
    return;
  }
  if (e.f == action::read_item) {
    const auto m = message_of(c, e.sender, e.counter);
    const auto seq = parley::number(e.seq);
    observe(c, m, seq, e.msg, &e.hash, "sync");
    if (it.open && seq != it.next)
      report(7, seq < it.next ? harm::reordered : harm::gap, "sync: process %u got seq %llu of %s, not %llu",
             e.process, static_cast<unsigned long long>(seq), name(c),
             static_cast<unsigned long long>(it.next));
    it.next = std::max(it.next, seq + 1);
    return;
  }
  if (!it.open)
    return;
  it.open = false;
  const auto reached = it.next - 1;
  if (e.is == phase::ok && reached < it.must_reach)
    report(7, harm::gap, "sync: process %u reached seq %llu of %s; %llu was acknowledged before it asked",
           e.process, static_cast<unsigned long long>(reached), name(c),
           static_cast<unsigned long long>(it.must_reach));
  const auto u = users_.of(parley::number(process_of(e.process).user));
  const auto s = synced_keys_.of(pair_key(u, c));
  if (s == synced_.size())
    synced_.push_back(0);
  if (it.after <= synced_[s])
    synced_[s] = std::max(synced_[s], reached);
}

void checker::impl::take(const event& e) {
  ++v_.events;
  auto& process = process_of(e.process);
  switch (e.f) {
  case action::member:
    conversations_[conversation_of(e.conversation)].members.push_back(e.reader);
    break;
  case action::connect: {
    process.user = e.reader;
    process.device = e.sender;
    if (devices_.of(parley::number(e.sender)) == device_users_.size())
      device_users_.push_back(e.reader);
    ++process.push_epoch;
    break;
  }
  case action::send:
    take_send(e);
    break;
  case action::push:
    take_item(e, 8, push_keys_, pushes_, process.push_epoch, "push");
    break;
  case action::resync:
    ++process.push_epoch;
    break;
  case action::inbox_begin:
    ++process.inbox_epoch;
    break;
  case action::inbox:
    take_item(e, 7, inbox_keys_, inboxes_, process.inbox_epoch, "inbox");
    break;
  case action::applied:
    take_applied(e);
    break;
  case action::read:
  case action::read_item:
    take_read(e);
    break;
  case action::caught_up:
    caught_up_seen_ = true;
    check_inboxes();
    break;
  case action::kill:
    ++v_.kills;
    kills_ns_.push_back(e.t_mono_ns);
    break;
  case action::pause:
    ++v_.pauses;
    break;
  case action::disk_loss:
    ++v_.disk_losses;
    break;
  case action::client_kill:
    ++v_.client_kills;
    break;
  case action::healed:
    healed_ns_ = e.t_mono_ns;
    break;
  }
}

checker::checker(checker_config config) : impl_{std::make_unique<impl>(config)} {}
checker::~checker() = default;
checker::checker(checker&&) noexcept = default;
void checker::take(const event& e) {
  impl_->take(e);
}
void checker::take(std::size_t replica, const replica_head& head) {
  impl_->take(replica, head);
}
void checker::take(std::size_t replica, const replica_message& message) {
  impl_->take(replica, message);
}
verdict checker::finish() {
  return impl_->finish();
}

} // namespace parley::chaos

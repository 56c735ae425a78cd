#include "tests/harness/chaos/checker_state.hpp"

namespace parley::chaos {

bool verdict::clean() const {
  return std::all_of(by_rule.begin(), by_rule.end(), [](auto n) { return n == 0; });
}

/// Rule 7 at the end of an inbox: a message that a device has not received is its user's own, or has
/// not been acknowledged yet.
void checker::impl::check_inboxes() {
  std::vector<std::vector<std::uint32_t>> devices_of(users_.size());
  for (std::uint32_t d = 0; d < devices_.size(); ++d) {
    const auto u = users_.of(parley::number(device_users_[d]));
    if (u >= devices_of.size())
      devices_of.resize(u + 1);
    devices_of[u].push_back(d);
  }
  for (std::uint32_t c = 0; c < conversations_.size(); ++c) {
    const auto& it = conversations_[c];
    for (const auto member : it.members) {
      const auto u = users_.find(parley::number(member));
      if (u == none || u >= devices_of.size())
        continue;
      for (const auto d : devices_of[u]) {
        const auto k = covered_keys_.find(pair_key(d, c));
        for (auto seq = k == none ? 0 : covered_[k]; seq < it.highest_acked; ++seq) {
          const auto m = it.places[seq].holder;
          if (m == none || !messages_[m].acked || sender_of(m) == member)
            continue;
          report(7, harm::gap, "inbox: device %llu of a member has not got seq %llu of %s, long acknowledged",
                 static_cast<unsigned long long>(devices_.key(d)), static_cast<unsigned long long>(seq + 1),
                 name(c));
          break; // the rest of this stream has the same cause
        }
      }
    }
  }
}

void checker::impl::check_places() {
  for (std::uint32_t c = 0; c < conversations_.size(); ++c) {
    const auto& places = conversations_[c].places;
    for (std::size_t i = 0; i < places.size(); ++i) {
      if (places[i].holder == none)
        report(5, harm::gap, "no message was ever seen at seq %llu of %s, though there are later ones",
               static_cast<unsigned long long>(i + 1), name(c));
    }
  }
  for (std::uint32_t m = 0; m < messages_.size(); ++m) {
    const auto& it = messages_[m];
    if (it.seen && !it.acked && !it.reported && it.attempts > 0 && it.failed == it.attempts)
      report(4, harm::none, "message %llu/%llu of %s was refused as not stored, and yet it was read",
             static_cast<unsigned long long>(parley::number(message_ids_.key(m).id.device)),
             static_cast<unsigned long long>(message_ids_.key(m).id.counter),
             name(message_ids_.key(m).conversation));
  }
}

void checker::impl::check_skips() {
  for (const auto& s : skips_) {
    const auto& places = conversations_[s.conversation].places;
    for (auto seq = s.first; seq <= s.last; ++seq) {
      const auto m = places[seq - 1].holder;
      if (m == none || sender_of(m) == s.reader) // no message is stored there: rule 5 reports it
        continue;
      report(s.rule, harm::gap, "user %llu's stream of %s left out seq %llu, which another user sent",
             static_cast<unsigned long long>(parley::number(s.reader)), name(s.conversation),
             static_cast<unsigned long long>(seq));
      break;
    }
  }
}

void checker::impl::check_syncs() {
  for (std::uint32_t c = 0; c < conversations_.size(); ++c) {
    const auto& it = conversations_[c];
    for (const auto member : it.members) {
      const auto u = users_.find(parley::number(member));
      const auto s = u == none ? none : synced_keys_.find(pair_key(u, c));
      const auto reached = s == none ? 0 : synced_[s];
      if (reached < it.highest_acked)
        report(3, harm::lost, "user %llu's syncs of %s end at seq %llu; %llu was acknowledged",
               static_cast<unsigned long long>(parley::number(member)), name(c),
               static_cast<unsigned long long>(reached), static_cast<unsigned long long>(it.highest_acked));
    }
  }
}

void checker::impl::take(std::size_t replica, const replica_head& head) {
  heads_.push_back({replica, head});
}

void checker::impl::take(std::size_t replica, const replica_message& m) {
  ++v_.replica_rows;
  const auto c = conversation_of(m.conversation);
  auto& conversation = conversations_[c];
  conversation.shard = m.shard;
  char where[32];
  std::snprintf(where, sizeof where, "replica %zu", replica + 1);
  const auto seq = parley::number(m.seq);
  observe(c, message_of(c, m.sender, m.counter), seq, m.msg, &m.hash, where);
  const auto k = replica_keys_.of(pair_key(static_cast<std::uint32_t>(replica), c));
  if (k == replica_conversations_.size())
    replica_conversations_.push_back({{}, static_cast<std::uint32_t>(replica), c});
  auto& has = replica_conversations_[k].has;
  if (seq == 0 || seq > seq_max)
    return;
  if (has.size() < seq)
    has.resize(seq);
  if (has[seq - 1])
    report(1, harm::duplicated, "replica %zu holds seq %llu of %s twice", replica + 1,
           static_cast<unsigned long long>(seq), name(c));
  has[seq - 1] = true;
}

/// Rules 3 and 5 for every replica of a shard's newest generation, and rule 11.
void checker::impl::check_replicas() {
  std::size_t shards = 0;
  for (const auto& h : heads_)
    shards = std::max<std::size_t>(shards, h.head.shard + std::size_t{1});
  std::vector<std::vector<const head_record*>> live(shards);
  for (const auto& h : heads_) {
    auto& here = live[h.head.shard];
    if (!here.empty() && h.head.gen > here.front()->head.gen)
      here.clear();
    if (here.empty() || h.head.gen == here.front()->head.gen)
      here.push_back(&h);
  }
  for (std::size_t s = 0; s < shards; ++s) {
    if (live[s].size() < config_.replicas)
      report(3, harm::none, "shard %zu has %zu replicas of its newest generation, not %zu", s, live[s].size(),
             config_.replicas);
    for (auto a = live[s].begin(); a != live[s].end(); ++a) {
      const auto* it = *a;
      const auto b = std::find_if(live[s].begin(), a, [it](const head_record* other) {
        return it->head.applied_index == other->head.applied_index &&
               it->head.applied_commands == other->head.applied_commands;
      });
      if (b != a && it->head.state_hash != (*b)->head.state_hash)
        report(11, harm::none, "shard %zu: replicas %zu and %zu applied the same and hold different states",
               s, (*b)->replica + 1, it->replica + 1);
    }
  }
  for (std::uint32_t c = 0; c < conversations_.size(); ++c) {
    const auto& it = conversations_[c];
    if (it.places.empty())
      continue;
    const auto shard = it.shard != none || shards == 0
                           ? std::size_t{it.shard}
                           : std::size_t{parley::number(
                                 home_shard(conversation_ids_.key(c), static_cast<std::uint16_t>(shards)))};
    if (shard >= shards) {
      report(3, it.highest_acked != 0 ? harm::lost : harm::none, "no dump knows the shard of %s", name(c));
      continue;
    }
    for (const auto* h : live[shard]) {
      const auto k = replica_keys_.find(pair_key(static_cast<std::uint32_t>(h->replica), c));
      static const std::vector<bool> nothing;
      const auto& has = k == none ? nothing : replica_conversations_[k].has;
      for (std::size_t i = 0; i < it.places.size(); ++i) {
        if (i < has.size() && has[i])
          continue;
        const auto m = it.places[i].holder;
        if (m != none && messages_[m].acked && !messages_[m].reported)
          report(3, harm::lost, "replica %zu has not seq %llu of %s, which was acknowledged", h->replica + 1,
                 static_cast<unsigned long long>(i + 1), name(c));
        else if (m != none && i < has.size())
          report(5, harm::gap, "replica %zu has a hole at seq %llu of %s", h->replica + 1,
                 static_cast<unsigned long long>(i + 1), name(c));
      }
    }
  }
}

void checker::impl::check_run() {
  if (healed_ns_ != 0 && open_attempts_ != 0)
    report(13, harm::none, "%s", "after healing no send was ever acknowledged");
  const auto limit = static_cast<double>(config_.first_ack_max.count());
  if (v_.first_ack_max_ms > limit)
    report(13, harm::none, "the first ack after a healing took %.0f ms, not %.0f", v_.first_ack_max_ms,
           limit);
  for (const auto& it : messages_)
    v_.info += it.invoked && !it.acked && !it.seen && it.failed < it.attempts;
  if (static_cast<double>(v_.info) > config_.info_share_max * static_cast<double>(v_.messages))
    report(13, harm::none, "the run is void: %llu of %llu messages have no known outcome",
           static_cast<unsigned long long>(v_.info), static_cast<unsigned long long>(v_.messages));
  const auto proved = [this](const char* what, std::uint64_t seen, std::uint64_t wanted) {
    if (seen < wanted)
      report(13, harm::none, "the run is void: %llu %s happened, %llu were to",
             static_cast<unsigned long long>(seen), what, static_cast<unsigned long long>(wanted));
  };
  proved("kills", v_.kills, config_.kills_min);
  proved("pauses", v_.pauses, config_.pauses_min);
  proved("losses of a disk", v_.disk_losses, config_.disk_losses_min);
  proved("kills of clients", v_.client_kills, config_.client_kills_min);
}

verdict checker::impl::finish() {
  if (config_.replicas > 0)
    check_replicas();
  check_places();
  check_skips();
  if (config_.expects_syncs)
    check_syncs();
  if (config_.expects_inboxes && !caught_up_seen_)
    check_inboxes();
  check_run();
  if (!failovers_ms_.empty()) {
    std::sort(failovers_ms_.begin(), failovers_ms_.end());
    v_.failover_p99_ms = failovers_ms_[(failovers_ms_.size() - 1) * 99 / 100];
    v_.failover_max_ms = failovers_ms_.back();
  }
  return std::move(v_);
}

} // namespace parley::chaos

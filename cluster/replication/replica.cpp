#include "cluster/replication/replica.hpp"

#include "protocol/values/planted_bugs.hpp"

#include <algorithm>
#include <utility>

namespace parley::cluster {

replica::replica(replica_host& host, shard_id shard, replica_record record)
    : host_{host}, shard_{shard}, record_{std::move(record)} {
  visible_ = record_.applied_index;
  log_.clear(record_.first_index);
  told_.shard = shard_;
  become_member();
}

void replica::become_member() {
  self_ = raft_id(shard_, record_.gen, {host_.config.node, host_.config.disk});
  ids_.clear();
  for (const auto& m : record_.members)
    ids_.push_back(raft_id(shard_, record_.gen, m));
  record_.known.resize(ids_.size());
}

// --- what a step asks for ----------------------------------------------------------------------------------

void replica::absorb(const raft_group::update& u) {
  // `u` lives until the next step, and messages are read from it: they come first where no step is nested.
  if (u.persist_term) {
    note_last();
    record_.term = raft_->term();
    record_.vote = raft_->vote();
    if (planted("vote-not-persisted"))
      record_.vote = 0;
    record_dirty_ = true;
    if (!planted("message-before-persist"))
      hold_ = true;
    mark();
  }
  const bool leads_now = raft_->leads();
  if (was_leading_ && (!leads_now || u.persist_term))
    step_down();
  if (u.has_snapshot) {
    if (u.snapshot_index <= record_.applied_index)
      broken("a snapshot goes back", shard_, record_.gen, u.snapshot_index, record_.applied_index);
    mark();
  }
  if (u.has_entries && u.entries_index + u.entries_n > log_.last() + 1) {
    // A new leader with uncommitted entries appends one of its own by itself. Its callers wrote all others.
    if (!leads_now || u.entries_n != 1 || u.entries_index != log_.last() + 1)
      broken("entries nobody handed in", shard_, record_.gen, u.entries_index, u.entries_n);
    led_from_ = u.entries_index;
    log_.append(shard_, record_.gen, entry_kind::barrier, raft_->term(), begin_row());
    mark();
  }
  if (leads_now && !was_leading_)
    followers_.assign(ids_.size(), follower{host_.now});
  if (u.messages_n != 0)
    send_messages(u.messages_n);
  if (raft_->commit() > record_.applied_index || u.state_changed || leader_node() != told_.leader)
    mark();
  if (leads_now && !was_leading_)
    lead();
}

void replica::lead() {
  was_leading_ = true;
  awaits_state_ = false; // a leader has to apply; whoever sends the state leads no more
  mark();
  if (led_from_ != 0)
    return;
  // Only an entry of the new term proves what is committed: libraft adds one only if something is open.
  led_from_ = log_.last() + 1;
  submit_one(entry_kind::barrier, begin_row(), 0);
}

void replica::step_down() {
  was_leading_ = false;
  led_from_ = 0;
  refuse_all(ec::not_leader, ec::timed_out);
  mark();
}

void replica::submit_one(entry_kind kind, std::string row, std::uint64_t ticket) {
  const auto* u =
      raft_->submit(host_.now, kind == entry_kind::barrier ? RAFT_CORE_BARRIER : RAFT_CORE_COMMAND, 1);
  if (!u) {
    if (kind == entry_kind::barrier)
      broken("a new leader cannot append", shard_, record_.gen, raft_->term());
    if (ticket != 0)
      refuse(ticket, ec::overloaded);
    return;
  }
  if (!u->has_entries || u->entries_index != log_.last() + 1)
    broken("an entry was appended elsewhere", shard_, record_.gen, u->entries_index, log_.last());
  if (kind == entry_kind::seal) {
    seal_in_log_ = log_.last() + 1;
    seal_ticket_ = ticket;
  }
  log_.append(shard_, record_.gen, kind, raft_->term(), std::move(row));
  mark();
  absorb(*u);
}

void replica::truncate(std::uint64_t from) {
  if (from <= record_.applied_index)
    broken("an applied entry would be overwritten", shard_, record_.gen, from, record_.applied_index);
  note_last(); // of the term that it is in: it may have confirmed what goes now
  log_.truncate(from, [this](std::uint64_t sequence) { erase_now_.push_back(sequence); });
  if (seal_in_log_ >= from)
    seal_in_log_ = 0;
  mark();
}

// --- inputs ------------------------------------------------------------------------------------------------

bool replica::sane(const raft_group::message& m, std::size_t entries) const {
  constexpr std::uint64_t index_max = std::uint64_t{1} << 60;
  constexpr std::uint64_t term_jump_max = std::uint64_t{1} << 20; // pre-votes keep real terms close together
  if (m.term == 0 || m.term > raft_->term() + term_jump_max || m.log_index > index_max ||
      m.rejected > index_max || m.log_term > m.term || entries > index_max)
    return false;
  // There cannot be two leaders of one term, and no member receives entries of itself.
  const bool from_leader = m.type == RAFT_CORE_APPEND || m.type == RAFT_CORE_SNAPSHOT;
  return !(from_leader && m.term == raft_->term() && raft_->leads());
}

void replica::receive_raft(const message_header& h, std::string_view body) {
  if ((h.type == message_type::vote || h.type == message_type::timeout_now) && !may_vote())
    return; // its sender asks again
  static thread_local std::vector<raft_group::entry> entries;
  static thread_local std::vector<std::pair<entry_kind, std::string_view>> payloads;
  entries.clear();
  payloads.clear();
  raft_group::message m{};
  std::uint8_t flags = 0;
  std::uint32_t sync_ms = 0;
  m.peer = h.from;
  m.type = static_cast<std::uint8_t>(h.type);
  std::uint64_t leader_stored = 0;
  reader in{body};
  if (h.type == message_type::append) {
    const auto a = get_body<append_body>(in);
    m.term = a.term;
    m.log_index = a.previous;
    m.log_term = a.previous_term;
    m.commit = a.commit;
    auto previous_term = m.log_term;
    for (std::uint32_t i = 0; i < a.entries && in.ok(); ++i) {
      const auto [kind, term, payload] = get_entry(in);
      if (kind < entry_kind::commands || term < previous_term || term > m.term)
        return refuse_message();
      // What a newer version wrote is stored as it came: the replica halts when it would have to apply it.
      if (kind == entry_kind::seal && decode_seal(payload).why == core::format_fault::damaged)
        return refuse_message();
      previous_term = term;
      entries.push_back({term, static_cast<std::uint8_t>(kind == entry_kind::barrier ? RAFT_CORE_BARRIER
                                                                                     : RAFT_CORE_COMMAND)});
      payloads.emplace_back(kind, payload);
    }
    leader_stored = get_body<append_tail>(in).stored;
  } else {
    const auto b = get_body<raft_body>(in);
    m.term = b.term;
    m.log_index = b.log_index;
    m.log_term = b.log_term;
    m.rejected = b.rejected;
    m.features = b.features;
    m.capacity = b.capacity;
    m.pre_vote = (b.flags & raft_body::pre_vote) != 0;
    m.disrupt = (b.flags & raft_body::disrupt) != 0;
    m.granted = (b.flags & raft_body::granted) != 0;
    flags = b.flags;
    sync_ms = b.sync_ms;
  }
  if (!in.ok() || h.type == message_type::install || !sane(m, entries.size()))
    return refuse_message();

  std::size_t known = 0;
  if (h.type == message_type::append) {
    if (installing_)
      return; // nothing is appended meanwhile; the leader tries again
    if (m.log_index < record_.snapshot_index && m.log_index < log_.first()) {
      // What our snapshot covers is committed; only the rest is new.
      known = std::min<std::uint64_t>(entries.size(), record_.snapshot_index - m.log_index);
      m.log_index = record_.snapshot_index;
      m.log_term = record_.snapshot_term;
      if (known < entries.size() && entries[known].term < m.log_term)
        return;
    }
    // A sender that contradicts committed entries is not a leader; or something that was acknowledged is lost.
    const auto committed = commit_index();
    if (m.log_index <= committed && term_at(m.log_index) != 0 && term_at(m.log_index) != m.log_term)
      return contradicted(h, m, m.log_index);
    for (auto i = known; i < entries.size() && m.log_index + 1 + (i - known) <= committed; ++i) {
      const auto mine = term_at(m.log_index + 1 + (i - known));
      if (mine != 0 && mine != entries[i].term)
        return contradicted(h, m, m.log_index + 1 + (i - known));
    }
  }
  note_position(h, m, leader_stored);
  if (h.type == message_type::append)
    stands_from_ = 0;
  if (h.type == message_type::append_result && was_leading_) {
    auto& f = followers_[place_of(h.from)];
    f.heard_at = host_.now;
    f.cursor.answered();
    f.answered = true;
    f.has_room = (flags & raft_body::no_room) == 0;
    f.damaged = (flags & raft_body::damaged) != 0;
    f.sync_ms = sync_ms;
  }
  // libraft takes such a refusal for a late one, and the follower would never catch up. But results arrive in order.
  if (const auto& k = record_.known[place_of(h.from)];
      h.type == message_type::append_result && was_leading_ && m.rejected != 0 && m.term == raft_->term() &&
      m.term == k.term && m.log_index < k.index &&
      !std::exchange(followers_[place_of(h.from)].forgot, true)) {
    ++host_.news.followers_forgot;
    tell_position(node_of(h.from));
  }
  if (h.type == message_type::append_result && m.rejected != 0 && is_sent_state(h.from)) {
    m.rejected = 0; // its state is being sent: it only shows that it is alive
    m.log_index = 0;
  }
  if (h.type == message_type::append)
    previous_term_ = m.log_term;
  // No entry of ours that is of a later term than the follower's can be the one that it has there.
  if (h.type == message_type::append_result && was_leading_ && m.rejected != 0 && m.term == raft_->term() &&
      m.log_term != 0 && !planted("refused-one-by-one"))
    m.log_index = log_.last_within(m.log_index, m.log_term);
  if (!host_.takes_entries && entries.size() > known) {
    // Without its reserve this process could not even note a term. So the message is taken for a heartbeat; its answer
    // makes the leader ask again. What lies behind `log_index` here need not be what the leader has committed.
    entries.resize(known);
    m.commit = std::min(m.commit, m.log_index);
  }
  const std::span<const raft_group::entry> news{entries.data() + known, entries.size() - known};
  const auto* u = raft_->receive(host_.now, m, news);
  if (!u)
    return;
  note_position(h, m, leader_stored);
  if (h.type == message_type::append_result && was_leading_ && raft_->leads() && m.term == raft_->term()) {
    auto& cursor = followers_[place_of(h.from)].cursor; // before libraft's next message to it
    cursor.acknowledged(raft_->match(h.from));
    if (auto& f = followers_[place_of(h.from)]; raft_->match(h.from) >= f.state_at)
      f.state_at = 0;
    if (m.rejected != 0) {
      cursor.refused(m.rejected);
      if (!planted("refused-one-by-one")) // what follows is an answer, and no heartbeat that may wait
        followers_[place_of(h.from)].sent_at = never;
    }
    queue_sending();
  }
  if (u->has_entries && h.type == message_type::append) {
    if (u->entries_skipped + u->entries_n != news.size())
      broken("the library took other entries", shard_, record_.gen, u->entries_n, news.size());
    if (u->entries_index > log_.last() + 1)
      broken("a hole in the log", shard_, record_.gen, u->entries_index, log_.last());
    if (u->entries_index <= log_.last())
      truncate(u->entries_index);
    for (std::uint32_t i = 0; i < u->entries_n; ++i) {
      const auto at = known + u->entries_skipped + i;
      auto row = begin_row(payloads[at].second.size());
      row.append(payloads[at].second);
      if (payloads[at].first == entry_kind::seal && seal_in_log_ == 0)
        seal_in_log_ = log_.last() + 1;
      log_.append(shard_, record_.gen, payloads[at].first, entries[at].term, std::move(row));
    }
    mark();
    absorb(*u);
    if (planted("ack-before-sync") && raft_->stored() < log_.last())
      absorb(raft_->persisted_entries(host_.now, log_.last()));
    return;
  }
  absorb(*u);
}

void replica::receive_read(node_id from, const message_header& h, std::string_view body) {
  const auto asked = get_body<read_body>(body);
  if (!asked || asked->term == 0)
    return refuse_message();
  const auto [term, round] = *asked;
  if (!raft_)
    return;
  if (h.type == message_type::read_ask) {
    // We answer with our current term. Until now we have voted for nobody in a higher term, so the asker is
    // still the leader as far as our vote decides.
    auto& out = host_.out.start(from, leaving(), header(message_type::read_answer, h.from));
    put_body(out, read_body{raft_->term(), round});
    host_.out.finish();
    return;
  }
  if (!was_leading_ || term != raft_->term())
    return;
  reads_.answered(place_of(h.from), round);
  mark();
}

void replica::propose(std::uint64_t ticket, std::string_view command) {
  if (record_.as == life::sealed || record_.as == life::tombstone ||
      (seal_in_log_ != 0 && !planted("apply-after-seal")))
    return refuse(ticket, ec::sealed);
  if (!was_leading_)
    return refuse(ticket, ec::not_leader);
  const auto bytes = command.size() + sizeof(std::uint32_t);
  if (bytes > host_.config.entry_bytes_max)
    return refuse(ticket, ec::too_large);
  if (tickets_.size() >= host_.config.pending_proposals_max)
    return refuse(ticket, ec::overloaded);
  if (built_.empty() || row_payload(built_.back()).size() + bytes > host_.config.entry_bytes_max) {
    built_.push_back(begin_row(bytes));
    built_tickets_.push_back(0);
  }
  auto& row = built_.back();
  append_number(row, static_cast<std::uint32_t>(command.size()));
  row.append(command);
  ++built_tickets_.back();
  ++tickets_built_;
  tickets_.push_back(ticket);
  mark();
}

void replica::read(std::uint64_t ticket) {
  if (record_.as == life::sealed || record_.as == life::tombstone)
    return refuse(ticket, ec::sealed);
  if (!was_leading_)
    return refuse(ticket, ec::not_leader);
  if (reads_.size() >= host_.config.pending_proposals_max)
    return refuse(ticket, ec::overloaded);
  reads_.add(ticket, host_.now);
  mark();
}

bool replica::transfer_leadership(node_id to) {
  const auto id = was_leading_ ? id_of(to) : 0;
  if (id == 0 || id == self_)
    return false;
  submit_built(); // earlier proposals come first
  const auto* u = raft_->transfer(host_.now, id);
  if (u)
    absorb(*u);
  return u != nullptr;
}

bool replica::answers(std::size_t place) const {
  return ids_[place] != self_ &&
         followers_[place].heard_at > host_.now - host_.config.election_timeout.count();
}

std::vector<node_id> replica::answering() const {
  std::vector<node_id> out;
  for (std::size_t i = 0; was_leading_ && i < ids_.size(); ++i)
    if (answers(i))
      out.push_back(record_.members[i].node);
  return out;
}

std::vector<member> replica::silent() const {
  std::vector<member> out;
  for (std::size_t i = 0; was_leading_ && i < ids_.size(); ++i)
    if (ids_[i] != self_ && (!answers(i) || !followers_[i].answered))
      out.push_back(record_.members[i]);
  return out;
}

void replica::add_lagging(std::vector<lagging_member>& to) const {
  for (std::size_t i = 0; was_leading_ && i < ids_.size(); ++i) {
    const auto& f = followers_[i];
    if (!answers(i) || !f.answered)
      continue;
    const auto committed = commit_index();
    const auto behind = committed - std::min(raft_->match(ids_[i]), committed);
    if (behind > 0 || f.forgot)
      to.push_back({shard_, record_.members[i], behind, f.forgot});
  }
}

std::vector<node_id> replica::fit_members(reach how_far) const {
  std::vector<node_id> out;
  for (std::size_t i = 0; was_leading_ && i < ids_.size(); ++i)
    if (answers(i) && followers_[i].has_room && !followers_[i].damaged &&
        (how_far == reach::any || raft_->match(ids_[i]) >= commit_index()))
      out.push_back(record_.members[i].node);
  return out;
}

bool replica::is_whole_without(node_id node) const {
  if (!was_leading_ || led_from_ == 0 || visible_ < led_from_ || node == host_.config.node)
    return false;
  std::size_t whole = 1; // this one
  for (std::size_t i = 0; i < ids_.size(); ++i)
    whole += ids_[i] != self_ && record_.members[i].node != node && raft_->match(ids_[i]) >= commit_index();
  return whole > ids_.size() / 2;
}

std::size_t replica::with_room() const {
  std::size_t n = 1; // this one: without room it takes no proposals anyway
  for (std::size_t i = 0; i < ids_.size(); ++i)
    n += answers(i) && followers_[i].has_room && !is_sent_state(ids_[i]) ? 1 : 0;
  return n;
}

bool replica::lacks_room() const {
  bool any_full = false;
  for (std::size_t i = 0; was_leading_ && i < ids_.size(); ++i)
    any_full |= answers(i) && !followers_[i].has_room;
  return any_full && with_room() < majority();
}

void replica::seal(std::vector<member> next, std::uint64_t ticket, std::optional<generation> of) {
  if (record_.as == life::sealed || record_.as == life::tombstone || seal_in_log_ != 0)
    return refuse(ticket, ec::sealed);
  // Who decided on `next` knew other members: a disk that is lost since could come back by it.
  if (of && *of != record_.gen && !planted("seal-without-generation"))
    return refuse(ticket, ec::sealed);
  if (!was_leading_)
    return refuse(ticket, ec::not_leader);
  std::sort(next.begin(), next.end());
  const bool twice = std::adjacent_find(next.begin(), next.end()) != next.end();
  if (next.empty() || next.size() > members_max || twice)
    return refuse(ticket, ec::bad_request);
  submit_built();
  if (!was_leading_)
    return refuse(ticket, ec::not_leader);
  auto row = begin_row();
  row.append(core::encode(cluster::seal{std::move(next)}));
  submit_one(entry_kind::seal, std::move(row), ticket);
}

void replica::timeout() {
  if (std::exchange(waits_alone_, false))
    return begin_group();
  if (!raft_)
    return;
  // A leader without room takes no proposals, and one with a damaged row cannot answer. So the others are given the
  // time to stand first. This one becomes a candidate all the same, because a follower that believes in its leader
  // would give them no vote; it only does not ask for votes (`send_messages`).
  if (is_unfit() && !raft_->leads() && stands_from_ == 0)
    stands_from_ = host_.now + 4 * host_.config.election_timeout.count();
  absorb(raft_->timeout(host_.now));
}

/// At each time-out libraft sends heartbeats to followers that were sent nothing for a while, and considers a
/// follower lost that was silent since the last time-out: it then gets new entries only with heartbeats, for
/// up to 100 ms. So time-outs happen when heartbeats are due, which makes all followers answer before the
/// next one, and otherwise only if a follower is silent for long.
bool replica::wants_timeout() const {
  const auto heartbeat_due = host_.now - host_.config.heartbeat_every.count() * 4 / 5;
  const auto long_ago = host_.now - host_.config.election_timeout.count();
  bool silent = false;
  for (std::size_t i = 0; i < ids_.size(); ++i) {
    if (ids_[i] == self_)
      continue;
    if (followers_[i].sent_at <= heartbeat_due)
      return true;
    silent |= followers_[i].heard_at <= long_ago;
  }
  return silent && timed_out_at_ <= long_ago;
}

void replica::mark() {
  if (dirty_)
    return;
  dirty_ = true;
  host_.dirty.push_back(this);
}

// --- small things ------------------------------------------------------------------------------------------

void replica::refuse(std::uint64_t ticket, ec why) {
  if (ticket != 0)
    host_.news.refusals.push_back({ticket, why, leader_node()});
}

void replica::refuse_message() {
  ++host_.news.refused_messages;
}

void replica::refuse_all(ec built, ec logged) {
  const auto in_log = tickets_.size() - tickets_built_;
  for (std::size_t i = 0; i < tickets_.size(); ++i)
    refuse(tickets_[i], i < in_log ? logged : built);
  tickets_.clear();
  tickets_built_ = 0;
  pending_.clear();
  built_.clear();
  built_tickets_.clear();
  refuse(std::exchange(seal_ticket_, 0), logged);
  reads_.take_all([&](std::uint64_t ticket) { refuse(ticket, built); });
}

message_header replica::header(message_type type, std::uint64_t to) const {
  return {type, shard_, record_.gen, self_, to};
}

frame_batcher::leaves replica::leaving() const {
  return hold_ || host_.ending_turn ? frame_batcher::leaves::late : frame_batcher::leaves::early;
}

std::uint64_t replica::commit_index() const {
  return std::max({record_.applied_index, raft_ ? raft_->commit() : 0, commit_by_seal_});
}

std::uint64_t replica::term_at(std::uint64_t index) const {
  if (log_.has(index))
    return log_.at(index).term;
  return index == record_.snapshot_index ? record_.snapshot_term : 0;
}

std::size_t replica::place_of(std::uint64_t id) const {
  return static_cast<std::size_t>(std::find(ids_.begin(), ids_.end(), id) - ids_.begin());
}

node_id replica::node_of(std::uint64_t id) const {
  const auto i = place_of(id);
  return i < ids_.size() ? record_.members[i].node : node_id::none;
}

std::uint64_t replica::id_of(node_id node) const {
  for (std::size_t i = 0; i < ids_.size(); ++i)
    if (record_.members[i].node == node)
      return ids_[i];
  return 0;
}

node_id replica::leader_node() const {
  if (record_.ending)
    return record_.ending->next.front().node;
  if (!raft_)
    return node_id::none;
  const auto id = raft_->leads() ? self_ : raft_->leader();
  return id == 0 ? node_id::none : node_of(id);
}

void replica::transfer_begun(std::uint64_t to, std::uint64_t index) {
  transfers_to_.push_back(to);
  if (was_leading_)
    followers_[place_of(to)].state_at = index;
}

void replica::transfer_ended(std::uint64_t to, bool arrived) {
  std::erase(transfers_to_, to);
  if (!was_leading_)
    return;
  auto& f = followers_[place_of(to)];
  if (arrived)
    f.damaged = false; // until a result says otherwise
  else
    f.state_at = 0;
  queue_sending(); // what was held back
}

replica_status replica::status() const {
  replica_status s;
  s.shard = shard_;
  s.gen = record_.gen;
  s.members = record_.members;
  s.term = record_.term;
  s.commit_index = commit_index();
  s.applied_index = record_.applied_index;
  s.last_index = log_.last();
  s.leader = leader_node();
  using role = replica_status::role;
  if (halted_) {
    s.as = role::halted;
    s.halted_because = *halted_;
    return s;
  }
  switch (record_.as) {
  case life::live:
    s.as = !raft_                                  ? role::follower
           : raft_->leads()                        ? role::leader
           : raft_->state() == RAFT_CORE_CANDIDATE ? role::candidate
           : installing_ || awaits_state_          ? role::installing
                                                   : role::follower;
    break;
  case life::waiting:
    s.as = role::waiting_for_state;
    break;
  case life::sealed:
  case life::tombstone:
    s.as = role::sealed;
    break;
  }
  return s;
}

} // namespace parley::cluster

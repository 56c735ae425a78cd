#include "cluster/replication/replication.hpp"

#include "cluster/replication/replica.hpp"
#include "cluster/replication/replication_impl.hpp"
#include "protocol/values/planted_bugs.hpp"

#include <algorithm>

namespace parley::cluster {

config_check validate(const replication_config& c) {
  if (c.node == node_id::none)
    return config_fault{"node"};
  if (c.disk == disk_id::none)
    return config_fault{"disk"};
  if (c.heartbeat_every.count() < 1)
    return config_fault{"heartbeat_every"};
  if (c.election_timeout < 2 * c.heartbeat_every || c.election_timeout.count() > 600'000)
    return config_fault{"election_timeout"};
  if (c.votes_after.count() < 0)
    return config_fault{"votes_after"};
  if (c.read_round_timeout < c.heartbeat_every)
    return config_fault{"read_round_timeout"};
  if (c.snapshot_retry_after < c.heartbeat_every)
    return config_fault{"snapshot_retry_after"};
  if (c.inflight_entries_max < 1)
    return config_fault{"inflight_entries_max"};
  if (c.frame_bytes_max < 1024)
    return config_fault{"frame_bytes_max"};
  if (c.link_bytes_max < 1)
    return config_fault{"link_bytes_max"};
  if (c.flight_bytes_max < 1)
    return config_fault{"flight_bytes_max"};
  if (c.snapshot_chunk_bytes < 64 || c.snapshot_chunk_bytes > c.frame_bytes_max)
    return config_fault{"snapshot_chunk_bytes"};
  if (c.pending_proposals_max < 1)
    return config_fault{"pending_proposals_max"};
  if (c.entry_bytes_max < 64)
    return config_fault{"entry_bytes_max"};
  if (c.log_entries_kept < 1)
    return config_fault{"log_entries_kept"};
  if (c.trim_rows_max < 1)
    return config_fault{"trim_rows_max"};
  if (c.apply_entries_max < 1)
    return config_fault{"apply_entries_max"};
  if (c.apply_bytes_max < 1)
    return config_fault{"apply_bytes_max"};
  if (c.log_cache_time.count() < 1)
    return config_fault{"log_cache_time"};
  if (c.transfers_max < 1)
    return config_fault{"transfers_max"};
  if (c.transfer_chunks_max < 1)
    return config_fault{"transfer_chunks_max"};
  if (c.announce_every.count() < 1)
    return config_fault{"announce_every"};
  return std::nullopt;
}

replication_parts::replication_parts(replication_config config, state_machine& machine)
    : host{config, machine}, transfers{*this}, successions{*this} {}

replica* replication_parts::find(shard_id shard) {
  const auto i = replicas.find(shard);
  return i == replicas.end() ? nullptr : i->second.get();
}

void replication_parts::advance(mono_ms now) {
  host.now = std::max(host.now, static_cast<std::int64_t>(now));
}

void replication_parts::add(shard_id shard, replica_record record) {
  auto r = std::make_unique<replica>(host, shard, std::move(record));
  r->remember();
  replicas.insert_or_assign(shard, std::move(r));
}

void replication_parts::requeue(replica& r) {
  if (r.leads()) { // the common tick's
    r.queued_deadline = INT64_MAX;
    return;
  }
  const auto deadline = r.deadline();
  if (deadline >= r.queued_deadline)
    return; // looked at again when the earlier one comes
  r.queued_deadline = deadline;
  if (deadline == INT64_MAX)
    return;
  timers.push_back({deadline, r.shard()});
  std::push_heap(timers.begin(), timers.end(), std::greater{});
}

replication::replication(replication_config config, state_machine& machine)
    : impl_{std::make_unique<impl>(std::move(config), machine)} {}
replication::~replication() = default;

/// A row that fails its checksum is skipped, and so it cannot say whose it is: a record is looked for by its key, and a row
/// of the log leaves a hole, unless it was the last one of its shard.
storage::disk_fault replication_parts::not_loaded(ec why, std::string reason) {
  const auto add = [&](const std::string& text) { reason += (reason.empty() ? "" : "; ") + text; };
  if (why == ec::corrupt) {
    for (std::uint16_t s = 0; s < settings::shards.within.most; ++s) {
      const auto txn = host.env->begin_read();
      if (!txn->get(storage::table::node, record_key(shard_id{s})) && txn->status() == ec::corrupt)
        add("the record of the replica of shard " + std::to_string(s) + " fails its checksum");
    }
    for (const auto& [shard, r] : replicas)
      if (const auto s = r->status(); s.as == replica_status::role::halted)
        add("of the replica of shard " + std::to_string(number(shard)) + ", " + s.halted_because);
    if (reason.empty())
      add("a row of a shard's log fails its checksum; it was the last one of that log, so it is not known "
          "which shard's");
  } else if (reason.empty()) {
    add(std::string{describe(why).name});
  }
  return {why, "the replicas in " + host.config.data_file + " cannot be loaded: " + reason};
}

std::optional<storage::disk_fault> replication::open(storage::environment& env, const peer_links& links,
                                                     mono_ms now) {
  auto& h = impl_->host;
  h.env = &env;
  h.links = &links;
  impl_->advance(now);
  impl_->next_common = h.now;
  h.votes_from = h.now + h.config.votes_after.count();
  const auto txn = env.begin_read();
  each_record(*txn, [&](shard_id shard, std::string_view bytes) {
    auto record = decode_record(bytes);
    auto& r = *impl_->replicas
                   .emplace(shard, std::make_unique<replica>(
                                       h, shard, record.it ? std::move(*record.it) : replica_record{}))
                   .first->second;
    if (!record.it)
      r.refuse_to_start(std::string{"its record "}.append(core::describe(record.why)));
  });
  std::string stray; // a row that nobody here takes
  txn->ascend(storage::table::log, {}, {}, [&](std::string_view key, std::string_view row) {
    key_reader in{key};
    const auto sequence = in.get<std::uint64_t>();
    const auto header = get_row_header(row, core::reading::whole);
    const auto shard = shard_of_row(row);
    auto* r = shard ? impl_->find(*shard) : nullptr;
    if (!in.ok() || !r)
      stray = shard ? "a row of the log is of shard " + std::to_string(number(*shard)) +
                          ", of which there is no replica here"
                    : "a row of the log names no shard";
    else if (header.it)
      r->load(*header.it, sequence, row);
    else
      r->refuse_to_start(std::string{"a row of its log "}.append(core::describe(header.why)));
    h.next_sequence = sequence + 1;
    return stray.empty() ? storage::scan::more : storage::scan::stop;
  });
  if (txn->status() != ec::none)
    return impl_->not_loaded(txn->status(), {});
  if (!stray.empty())
    return impl_->not_loaded(ec::corrupt, stray);
  for (auto& [shard, r] : impl_->replicas) {
    if (txn->get(storage::table::node, damage_key(shard)))
      r->begin_unreadable();
    r->start();
    r->mark();
    impl_->requeue(*r);
  }
  h.succession_changed = true;
  return std::nullopt;
}

void replication::found(storage::write_txn& txn, shard_id shard, const std::vector<member>& members,
                        member self) {
  if (txn.get(storage::table::node, record_key(shard)))
    return;
  if (std::find(members.begin(), members.end(), self) == members.end())
    return;
  replica_record record;
  record.gen = generation{1};
  record.members = members;
  std::sort(record.members.begin(), record.members.end());
  txn.put(storage::table::node, record_key(shard), encode(record));
}

std::optional<std::uint8_t> replication::state_slot(storage::read_txn& txn, shard_id shard) {
  const auto bytes = txn.get(storage::table::node, record_key(shard));
  const auto record = bytes ? decode_record(*bytes).it : std::nullopt;
  if (!record || (record->as != replica_record::life::live && record->as != replica_record::life::sealed))
    return std::nullopt;
  return record->slot;
}

// --- inputs ------------------------------------------------------------------------------------------------

void replication::tick(mono_ms now) {
  auto& i = *impl_;
  i.advance(now);
  i.run_timers();
  i.run_common();
}

/// Followers' deadlines are extended by each message of their leader. A deadline is queued again only when it
/// is the first, so the clock does not wake the node for each one that was queued, sixty times a second.
void replication_parts::run_timers() {
  while (!timers.empty()) {
    const auto [due, shard] = timers.front();
    auto* r = find(shard);
    const bool counts = r && r->queued_deadline == due; // or it is an older one of a replica that has another
    if (counts && due > host.now && !r->leads() && r->deadline() <= due)
      return;
    std::pop_heap(timers.begin(), timers.end(), std::greater{});
    timers.pop_back();
    if (!counts)
      continue;
    r->queued_deadline = INT64_MAX;
    if (due <= host.now && !r->leads() && r->deadline() <= host.now + 1)
      r->timeout();
    requeue(*r);
  }
}

void replication_parts::look_at_room() {
  take_room(host.env->room());
}

void replication_parts::take_room(const storage::space& room) {
  if (std::exchange(host.has_room, room.accepts_proposals) != room.accepts_proposals)
    host.news.has_room = room.accepts_proposals;
  host.bytes_free = room.bytes_free;
  host.takes_entries = planted("reserve-used-up") || room.accepts_proposals ||
                       room.bytes_free >= host.config.reserve_bytes / 2;
}

/// A node without room leads nothing that a fit member could lead, because what it leads takes no proposals; nor
/// does it lead a shard of which it cannot read a row. What it leads with a slow disk takes long (disk_pace.hpp).
void replication_parts::hand_over_unfit() {
  if (host.now < next_hand_over)
    return;
  const bool is_slow = host.pace.is_slow(host.now);
  if (std::exchange(slow, is_slow) != is_slow)
    host.news.disk_slow = is_slow;
  bool any = false;
  const auto attempt = hand_overs;
  for (auto& [shard, r] : replicas) {
    const bool unfit = !host.has_room || r->damaged();
    if (!r->leads() || (!unfit && !is_slow))
      continue;
    if (!host.has_room && !r->damaged() && !r->others_could_commit())
      continue; // what is stored stays readable here
    hand_over(*r, unfit ? receivers::fit : receivers::quicker, attempt);
    any = true;
  }
  if (!any)
    return;
  ++hand_overs;
  next_hand_over = host.now + host.config.election_timeout.count(); // a transfer may fail
}

void replication_parts::hand_over(replica& r, receivers to, std::size_t attempt) {
  const auto level = planted("hand-over-to-any") ? replica::reach::any : replica::reach::level;
  auto targets = to == receivers::quicker ? r.quicker_members() : r.fit_members(level);
  if (targets.empty() && to == receivers::anybody)
    targets = r.fit_members(replica::reach::any);
  if (targets.empty() && to == receivers::anybody)
    targets = r.answering();
  if (targets.empty())
    return;
  r.transfer_leadership(targets[(number(r.shard()) + attempt) % targets.size()]); // spread, too
  requeue(r);
}

void replication_parts::damaged(replica& r) {
  if (!r.is_damaged())
    return;
  host.news.damaged.push_back(r.shard());
  next_hand_over = host.now;
  hand_over_unfit();
}

void replication_parts::run_common() {
  if (host.now < next_common)
    return;
  look_at_room(); // also while nothing is written: a disk fills up, and is freed, by others
  hand_over_unfit();
  const auto every = host.config.heartbeat_every.count();
  next_common += every;
  if (next_common <= host.now)
    next_common = host.now + every;
  host.full_backlogs.clear();
  for (auto& [shard, r] : replicas)
    r->count_full_backlogs();
  for (auto& [shard, r] : replicas) {
    r->common_tick();
    requeue(*r);
  }
  transfers.tick();
  successions.tick();
}

void replication::receive(node_id from, std::string_view bytes, mono_ms now) {
  impl_->advance(now);
  frame_reader frame{bytes};
  message_view m;
  while (frame.next(m))
    impl_->dispatch(from, m);
  impl_->host.news.refused_messages += frame.refused();
}

/// A replica that waits for the state of its generation, or does not know of that generation, has never said anything in
/// it. So whoever knows of a term that it was in knows that this disk forgot the generation.
bool replication_parts::forgot_generation(node_id from, const message_view& m) {
  const auto& h = m.header;
  auto* r = find(h.shard);
  if (h.type != message_type::position ||
      h.to != raft_id(h.shard, h.gen, {host.config.node, host.config.disk}))
    return false;
  if (r && (r->halted() || h.gen < r->record().gen ||
            (h.gen == r->record().gen && r->record().as != replica_record::life::waiting)))
    return false;
  const auto known = get_body<position_body>(m.body);
  if (!known || known->term == 0 || planted("rollback-unnoticed"))
    return false;
  if (r)
    r->forgot(from, known->term, known->index);
  else
    host.news.forgets.push_back({{h.shard, generation::none, 0, 0}, from, known->term, known->index});
  return true;
}

void replication_parts::dispatch(node_id from, const message_view& m) {
  const auto& h = m.header;
  switch (h.type) {
  case message_type::transfer_begin:
  case message_type::transfer_chunk:
  case message_type::transfer_ack:
  case message_type::transfer_stop:
  case message_type::fetch:
    return transfers.receive(from, h, m.body);
  case message_type::sealed:
  case message_type::confirmed:
    return successions.receive(from, h, m.body);
  default:
    break;
  }
  auto* r = find(h.shard);
  if (forgot_generation(from, m) || !r)
    return;
  if (h.gen < r->record().gen || (h.gen == r->record().gen && r->record().ending))
    return successions.answer_old(from, *r, h.gen);
  // A Raft id names a disk in a generation: messages for another one are not for this replica.
  if (h.gen != r->record().gen || h.to != r->self() || h.from == h.to || !r->raft() ||
      r->node_of(h.from) != from)
    return;
  switch (h.type) {
  case message_type::append:
  case message_type::append_result:
  case message_type::vote:
  case message_type::vote_result:
  case message_type::timeout_now:
  case message_type::install: // no program sends it: the state is transferred
    r->receive_raft(h, m.body);
    successions.heard(from, *r, h.from);
    break;
  case message_type::position:
    r->receive_position(h, m.body);
    break;
  case message_type::read_ask:
  case message_type::read_answer:
    r->receive_read(from, h, m.body);
    return;
  default:
    return;
  }
  requeue(*r);
}

void replication::peer_begun(node_id peer) {
  for (auto& [shard, r] : impl_->replicas)
    r->tell_position(peer);
  impl_->successions.session_begun(peer);
}

void replication::peer_reset(node_id peer) {
  impl_->host.out.drop(peer);
  impl_->transfers.peer_reset(peer);
  for (auto& [shard, r] : impl_->replicas)
    r->peer_reset(peer);
}

void replication::propose(shard_id shard, std::uint64_t ticket, std::string command, bool frees_room) {
  auto* r = impl_->find(shard);
  if (!r)
    impl_->host.news.refusals.push_back({ticket, ec::not_leader, node_id::none});
  else if (!frees_room && (!impl_->host.has_room || r->lacks_room()))
    impl_->host.news.refusals.push_back({ticket, ec::disk_full, r->leader_node()});
  else
    r->propose(ticket, command);
}

void replication::read(shard_id shard, std::uint64_t ticket) {
  if (auto* r = impl_->find(shard))
    r->read(ticket);
  else
    impl_->host.news.refusals.push_back({ticket, ec::not_leader, node_id::none});
}

void replication::transfer_leadership(shard_id shard, node_id to) {
  if (auto* r = impl_->find(shard)) {
    r->transfer_leadership(to);
    impl_->requeue(*r);
  }
}

bool replication::offer_leadership(shard_id shard, node_id to) {
  auto& i = *impl_;
  auto* r = i.find(shard);
  const bool amiss = i.host.pace.is_slow(i.host.now) || !i.transfers.idle() ||
                     std::any_of(i.replicas.begin(), i.replicas.end(),
                                 [](const auto& each) { return !each.second->silent().empty(); });
  if (!r || amiss || !r->may_offer(to))
    return false;
  const bool begun = r->transfer_leadership(to);
  i.requeue(*r);
  return begun;
}

void replication::hand_over_all() {
  const auto attempt = impl_->hand_overs++;
  for (auto& [shard, r] : impl_->replicas)
    if (r->leads())
      impl_->hand_over(*r, impl::receivers::anybody, attempt);
}

void replication::synced(milliseconds took, mono_ms now) {
  impl_->advance(now);
  impl_->host.pace.synced(took.count(), impl_->host.now);
}

void replication::damaged(shard_id shard) {
  if (auto* r = impl_->find(shard))
    impl_->damaged(*r);
}

void replication::seal(shard_id shard, std::vector<member> next, std::uint64_t ticket,
                       std::optional<generation> of) {
  if (auto* r = impl_->find(shard))
    r->seal(std::move(next), ticket, of);
  else
    impl_->host.news.refusals.push_back({ticket, ec::not_leader, node_id::none});
}

// --- one turn ----------------------------------------------------------------------------------------------

bool replication::wants_write() const {
  return impl_->transfers.wants_write() || std::any_of(impl_->host.dirty.begin(), impl_->host.dirty.end(),
                                                       [](const replica* r) { return r->wants_write(); });
}

/// All shards share the links: each sends one frame to a follower, then the next shard does. Those for which a
/// link has no credit stay in the queue, in their order, so the next credit is for those that got none.
void replication_parts::send_entries() {
  for (std::size_t in_vain = 0; in_vain < host.senders.size();) {
    const auto shard = host.senders.front();
    host.senders.pop_front();
    auto* r = find(shard);
    if (!r)
      continue;
    const bool sent = r->send_entries();
    in_vain = sent ? 0 : in_vain + 1;
    if (r->wants_to_send())
      host.senders.push_back(shard);
    else
      r->left_senders();
  }
  host.view.reset();
}

turn replication::begin_turn(mono_ms now) {
  auto& i = *impl_;
  i.advance(now);
  // While proposals are refused nothing needs writing, and `write` would never learn that there is room.
  if (!i.host.has_room)
    i.look_at_room();
  // By index: what one replica does here may make another dirty.
  for (std::size_t n = 0; n < i.host.dirty.size(); ++n)
    i.host.dirty[n]->begin_turn();
  i.transfers.begin_turn();
  i.send_entries();
  turn t;
  i.host.out.take(frame_batcher::leaves::early, t.frames);
  t.news.forgets = std::exchange(i.host.news.forgets, {});
  return t;
}

storage::durable replication::write(storage::write_txn& txn, const storage::space& room) {
  auto& i = *impl_;
  i.take_room(room);
  bool promises = i.transfers.wants_write();
  i.transfers.write(txn);
  // Many shards may have to clean up at once, after a seal of all, and a turn that takes long delays every heartbeat.
  const auto cleaners = static_cast<std::size_t>(std::count_if(
      i.host.dirty.begin(), i.host.dirty.end(), [](const replica* r) { return r->has_left_overs(); }));
  i.host.apply_bytes_left = i.host.config.apply_bytes_max;
  i.host.trim_share =
      std::max<std::size_t>(1, i.host.config.trim_rows_max / std::max<std::size_t>(1, cleaners));
  for (std::size_t n = 0; n < i.host.dirty.size(); ++n)
    promises |= i.host.dirty[n]->write(txn);
  i.wrote = true;
  return promises ? storage::durable::now : storage::durable::with_next;
}

turn replication::end_turn(mono_ms now) {
  auto& i = *impl_;
  i.advance(now);
  const bool committed = std::exchange(i.wrote, false);
  i.host.ending_turn = true;
  auto done = std::exchange(i.host.dirty, {});
  for (auto* r : done) {
    r->end_turn(committed);
    i.requeue(*r);
  }
  i.transfers.end_turn(committed);
  i.successions.end_turn(committed);
  if (committed || !wants_write()) // or they would be overtaken by frames that leave early in the next turn
    i.send_entries();
  i.host.ending_turn = false;
  turn t;
  i.host.out.take(frame_batcher::leaves::early, t.frames);
  if (committed || !wants_write())
    i.host.out.take(frame_batcher::leaves::late, t.frames);
  t.news = std::exchange(i.host.news, {});
  return t;
}

mono_ms replication::next_tick() const {
  const auto& i = *impl_;
  return mono_ms{i.timers.empty() ? i.next_common : std::min(i.next_common, i.timers.front().first)};
}

std::optional<shard_id> replication::unreadable() const {
  return impl_->host.unreadable;
}

void replication::remember_unreadable(storage::write_txn& txn, shard_id shard) {
  txn.put(storage::table::node, damage_key(shard), "1");
}

std::vector<replica_status> replication::status() const {
  std::vector<replica_status> all;
  for (const auto& [shard, r] : impl_->replicas)
    all.push_back(r->status());
  return all;
}

std::vector<shard_id> replication::whole_without(node_id node) const {
  std::vector<shard_id> out;
  for (const auto& [shard, r] : impl_->replicas)
    if (r->is_whole_without(node))
      out.push_back(shard);
  return out;
}

std::vector<silent_member> replication::silent_members() const {
  std::vector<silent_member> all;
  for (const auto& [shard, r] : impl_->replicas)
    for (const auto& who : r->silent())
      all.push_back({shard, who});
  return all;
}

std::vector<lagging_member> replication::lagging_members() const {
  std::vector<lagging_member> all;
  for (const auto& [shard, r] : impl_->replicas)
    r->add_lagging(all);
  return all;
}

std::optional<replica_status> replication::status(shard_id shard) const {
  const auto* r = impl_->find(shard);
  return r ? std::optional{r->status()} : std::nullopt;
}

} // namespace parley::cluster

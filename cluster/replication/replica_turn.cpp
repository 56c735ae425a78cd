// A replica's part in a turn: what is submitted, written, applied, and reported after the sync.
#include "cluster/replication/replica.hpp"
#include "protocol/values/planted_bugs.hpp"

#include <algorithm>
#include <utility>

namespace parley::cluster {

bool replica::wants_write() const {
  return record_dirty_ || hold_ || !built_.empty() || !log_.all_written() || installing_ || cleaning_ ||
         !erase_now_.empty() || !erase_later_.empty() || wants_apply();
}

void replica::submit_built() {
  if (built_.empty())
    return;
  auto rows = std::exchange(built_, {});
  auto counts = std::exchange(built_tickets_, {});
  const auto* u = raft_->submit(host_.now, RAFT_CORE_COMMAND, static_cast<std::uint32_t>(rows.size()));
  if (!u) { // handing over: whoever leads next has not seen them
    const auto kept = tickets_.size() - std::exchange(tickets_built_, 0);
    for (auto i = kept; i < tickets_.size(); ++i)
      refuse(tickets_[i], ec::not_leader);
    tickets_.resize(kept);
    return;
  }
  if (!u->has_entries || u->entries_index != log_.last() + 1 || u->entries_n != rows.size())
    broken("entries were appended elsewhere", shard_, record_.gen, u->entries_index, log_.last());
  tickets_built_ = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    pending_.push_back({log_.last() + 1, counts[i]});
    log_.append(shard_, record_.gen, entry_kind::commands, raft_->term(), std::move(rows[i]));
  }
  absorb(*u);
}

void replica::ask_round() {
  for (std::size_t i = 0; i < ids_.size(); ++i) {
    if (ids_[i] == self_)
      continue;
    auto& out = host_.out.start(record_.members[i].node, leaving(), header(message_type::read_ask, ids_[i]));
    put_body(out, read_body{raft_->term(), reads_.round()});
    host_.out.finish();
  }
}

void replica::common_tick() {
  if (was_leading_ && wants_timeout()) {
    timed_out_at_ = host_.now;
    timeout();
  }
  if (host_.now - aged_at_ >= host_.config.log_cache_time.count()) {
    aged_at_ = host_.now;
    log_.age(std::min(visible_, log_.first_unwritten() - 1)); // who lacks it still is sent it from the disk
  }
  const auto since = host_.now - host_.config.read_round_timeout.count();
  if (reads_.size() != 0)
    reads_.take_late(since, [this](std::uint64_t ticket) { refuse(ticket, ec::unavailable); });
  if (was_leading_ && reads_.asking())
    ask_round(); // its messages may be lost
}

void replica::begin_turn() {
  submit_built();
  // Only an applied entry of this leadership proves that everything before it is known to be committed.
  if (was_leading_ && reads_.has_fresh() && led_from_ != 0 && visible_ >= led_from_) {
    reads_.begin(commit_index(), ids_.size());
    ask_round();
  }
}

bool replica::write(storage::write_txn& txn) {
  wrote_ = true;
  const bool appends = !log_.all_written();
  const bool promised = record_dirty_ || hold_ || restart_ || installing_ || appends;
  if (installing_)
    install_staged();
  if (unreadable_ && !damaged_) {
    unreadable_ = false;
    txn.erase(storage::table::node, damage_key(shard_));
  }
  for (const auto sequence : erase_now_)
    txn.erase(storage::table::log, log_key(sequence));
  erase_now_.clear();
  for (auto i = log_.first_unwritten(); i <= log_.last(); ++i) {
    const auto sequence = host_.next_sequence++;
    txn.append(storage::table::log, log_key(sequence), log_.at(i).row);
    log_.written(i, sequence);
  }
  if (record_.as == life::live && !restart_ && !halted_) {
    if (may_apply())
      apply_committed(txn);
    maybe_mark_snapshot();
  }
  erase_left_overs(txn);
  if (std::exchange(record_dirty_, false))
    txn.put(storage::table::node, record_key(shard_), encode(record_));
  return promised || hold_ || restart_; // an applied seal has to be announced to others
}

void replica::apply_committed(storage::write_txn& txn) {
  const auto commit = commit_index();
  const auto until = std::min<std::uint64_t>(commit, record_.applied_index + host_.config.apply_entries_max);
  std::string key;
  for (bool first = true; record_.as == life::live && !restart_ && !halted_ &&
                          record_.applied_index < until && (first || host_.apply_bytes_left != 0);
       first = false) {
    const auto index = record_.applied_index + 1;
    if (!log_.has(index))
      broken("a committed entry is not here", shard_, record_.gen, index, log_.last());
    std::string_view row = log_.at(index).row;
    if (row.empty()) {
      key = log_key(log_.at(index).sequence);
      const auto found = txn.get(storage::table::log, key);
      if (!found || found->size() != log_.at(index).bytes)
        stop_unreadable(index);
      row = *found;
    }
    host_.apply_bytes_left -= std::min(host_.apply_bytes_left, row.size());
    apply_entry(txn, index, row_payload(row));
  }
}

void replica::apply_entry(storage::write_txn& txn, std::uint64_t index, std::string_view payload) {
  const auto kind = log_.at(index).kind;
  const auto term = log_.at(index).term;
  const log_position at{shard_, record_.gen, term, index};
  const auto applied = [&] {
    record_.applied_index = index;
    record_.applied_term = term;
    record_.applied_commands = 0;
    record_dirty_ = true;
  };
  switch (kind) {
  case entry_kind::barrier:
    return applied();
  case entry_kind::seal:
    if (auto seal = decode_seal(payload); seal.it) {
      applied();
      return apply_seal(txn, std::move(seal.it->next), index);
    } else {
      return halt(at, std::string{"a seal in its log "}.append(core::describe(seal.why)));
    }
  case entry_kind::commands:
    break;
  default:
    return halt(at, "its log holds an entry of kind " + std::to_string(static_cast<int>(kind)) +
                        ", which this program does not know");
  }
  std::uint32_t tickets = 0;
  if (!pending_.empty() && pending_.front().index <= index) {
    if (pending_.front().index < index)
      broken("a proposal was passed over", shard_, record_.gen, pending_.front().index, index);
    tickets = pending_.front().tickets;
    pending_.pop_front();
  }
  storage::shard_txn state{txn, shard_, record_.slot};
  const auto before = record_.applied_commands; // of this entry, when the replica halted in it
  std::uint32_t n = 0;
  reader in{payload};
  while (in.ok() && !in.rest().empty()) {
    const auto command = in.get_bytes();
    if (!in.ok())
      break;
    std::uint64_t ticket = 0;
    if (tickets != 0) {
      ticket = tickets_.front();
      tickets_.pop_front();
      --tickets;
    }
    if (n++ < before)
      continue;
    if (auto why = host_.machine.apply(state, at, command, ticket)) {
      record_.applied_commands = n - 1;
      record_dirty_ = true;
      refuse(ticket, ec::timed_out); // it is stored; a replica that can will apply it
      if (state.status() == ec::corrupt)
        host_.unreadable = shard_;
      return halt(at, std::move(*why));
    }
  }
  if (tickets != 0)
    broken("an entry is not what was proposed", shard_, record_.gen, index, tickets);
  if (!in.ok()) {
    record_.applied_commands = std::max(n, before);
    record_dirty_ = true;
    return halt(at, "the commands of an entry in its log cannot be told apart: it is damaged");
  }
  applied();
}

void replica::apply_seal(storage::write_txn& txn, std::vector<member> next, std::uint64_t index) {
  succession s;
  s.ended = record_.gen;
  s.seal_index = index;
  s.seal_term = record_.applied_term;
  s.before = record_.members;
  s.next = std::move(next);
  if (planted("apply-after-seal")) {
    seal_in_log_ = 0;
    for (auto i = index + 1; i <= commit_index() && log_.has(i) && !log_.at(i).row.empty(); ++i)
      if (log_.at(i).kind == entry_kind::commands)
        apply_entry(txn, i, row_payload(log_.at(i).row));
  }
  end_generation(std::move(s), state_at_seal::here);
}

/// The first entry that a follower needs which is alive, or to which the state is on its way. Were it trimmed,
/// the follower would need another transfer of state, and under load the next one would end like the first. The
/// last entry that it has is needed as well, because what follows names its term.
std::uint64_t replica::needed_from() const {
  auto from = log_.last() + 1;
  if (planted("log-trimmed-under-transfer"))
    return from;
  const auto alive = host_.now - 2 * host_.config.election_timeout.count();
  for (std::size_t i = 0; was_leading_ && i < ids_.size(); ++i) {
    const auto& f = followers_[i];
    if (ids_[i] == self_ || (is_full(ids_[i]) && held_back(ids_[i]) && !planted("log-kept-for-full")))
      continue; // a disk stays full for hours: it gets the state afterwards
    const bool sending =
        std::find(transfers_to_.begin(), transfers_to_.end(), ids_[i]) != transfers_to_.end();
    if (f.state_at != 0 && (sending || f.heard_at > alive || planted("log-kept-for-dead")))
      from = std::min(from, f.state_at);
    else if (const auto match = raft_->match(ids_[i]); f.heard_at > alive && match >= log_.first())
      from = std::min(from, match);
  }
  return from;
}

void replica::maybe_mark_snapshot() {
  const auto& c = host_.config;
  const auto applied = record_.applied_index;
  if (!raft_ || marker_ || installing_ || raft_->library_commit() < applied ||
      applied <= record_.snapshot_index || applied < log_.first() || restart_)
    return;
  if (applied - log_.first() + 1 <= c.log_entries_kept && log_.bytes() <= c.log_bytes_kept)
    return;
  const auto needed = log_.bytes() <= c.log_bytes_needed_max ? needed_from() : log_.last() + 1;
  if (needed <= log_.first())
    return;
  // Three quarters of what may be kept are kept, so that not every turn trims.
  const auto entries_max = c.log_entries_kept - c.log_entries_kept / 4;
  const auto bytes_max = c.log_bytes_kept - c.log_bytes_kept / 4;
  std::size_t bytes = 0;
  auto keep_from = applied + 1;
  while (keep_from > log_.first() && applied + 1 - keep_from < entries_max) {
    bytes += log_.at(keep_from - 1).bytes;
    if (bytes > bytes_max)
      break;
    --keep_from;
  }
  keep_from = std::min(keep_from, needed);
  if (keep_from <= log_.first())
    return;
  marker_ = marker{applied, record_.applied_term, static_cast<std::uint32_t>(applied + 1 - keep_from)};
  record_.snapshot_index = applied;
  record_.snapshot_term = record_.applied_term;
  record_.first_index = keep_from;
  record_dirty_ = true;
}

void replica::erase_left_overs(storage::write_txn& txn) {
  auto left = host_.trim_share;
  while (left != 0 && !erase_later_.empty()) {
    txn.erase(storage::table::log, log_key(erase_later_.front()));
    erase_later_.pop_front();
    --left;
  }
  if (!cleaning_)
    return;
  const auto empty_slot = [&](std::uint8_t slot) {
    storage::shard_txn state{txn, shard_, slot};
    const auto erased = left == 0 ? 0 : state.erase_range({}, {}, left);
    const bool done = left != 0 && erased < left;
    left -= erased;
    return done;
  };
  bool done = empty_slot(static_cast<std::uint8_t>(1 - record_.slot));
  if (done && record_.as == life::tombstone)
    done = empty_slot(record_.slot);
  if (done) {
    cleaning_ = false;
    record_.other_slot_dirty = 0;
    record_dirty_ = true;
  }
}

void replica::end_turn(bool committed) {
  dirty_ = false;
  if (committed && std::exchange(wrote_, false)) {
    hold_ = false;
    if (const auto m = std::exchange(marker_, std::nullopt); m && raft_) {
      absorb(raft_->snapshot(host_.now, m->index, m->term, m->trailing));
      log_.trim(record_.first_index - 1, [this](std::uint64_t s) { erase_later_.push_back(s); });
      if (raft_->first() != log_.first())
        broken("the logs begin differently", shard_, record_.gen, raft_->first(), log_.first());
    }
    if (const auto a = std::exchange(installing_, std::nullopt); a && raft_ && !a->rows_only)
      absorb(raft_->persisted_snapshot(host_.now, a->index, a->term));
    if (std::exchange(restart_, false))
      start();
    else if (const auto stored = log_.first_unwritten() - 1; raft_ && stored > raft_->stored())
      absorb(raft_->persisted_entries(host_.now, stored));
    visible_ = record_.applied_index;
    // What an unreadable replica cannot apply grows until the others are a majority without it.
    log_.evict(unreadable_ ? log_.first_unwritten() - 1 : visible_, host_.config.log_cache_bytes);
  }
  if (was_leading_)
    reads_.take_ready(visible_, ids_.size() / 2,
                      [this](std::uint64_t ticket) { host_.news.reads.push_back({ticket}); });
  report_leadership();
  if (wants_write() || (was_leading_ && reads_.has_fresh() && led_from_ != 0 && visible_ >= led_from_))
    mark();
}

void replica::report_leadership() {
  leadership now;
  now.shard = shard_;
  now.gen = record_.gen;
  now.term = record_.term;
  now.takes_part = raft_ != nullptr;
  now.leader = leader_node();
  // Without its Raft group this replica does not learn who leads. The last known leader is a better hint than
  // none, unless that was this replica.
  if (!now.takes_part && now.leader == node_id::none && told_.leader != host_.config.node)
    now.leader = told_.leader;
  now.ready = was_leading_ && led_from_ != 0 && visible_ >= led_from_;
  if (now.gen == told_.gen && now.term == told_.term && now.leader == told_.leader &&
      now.ready == told_.ready && now.takes_part == told_.takes_part)
    return;
  told_ = now;
  host_.news.leaderships.push_back(now);
}

// --- other state: snapshots and successions ----------------------------------------------------------------

void replica::soil_other_slot() {
  record_.other_slot_dirty = 1;
  record_dirty_ = true;
  mark();
}

void replica::clean_other_slot() {
  cleaning_ = record_.other_slot_dirty;
  mark();
}

bool replica::install(std::uint64_t from, std::uint64_t term, std::uint64_t index, std::uint64_t index_term) {
  raft_group::message m{};
  m.peer = from;
  m.type = RAFT_CORE_SNAPSHOT;
  m.term = term;
  m.log_index = index;
  m.log_term = index_term;
  if (!raft_ || installing_ || !wants_state_of(index) || index_term == 0 || !sane(m, 0))
    return false;
  if (damaged_ && term_at(index) == index_term) {
    // Its log has the entry, so it is the leader's log up to there, and Raft has nothing to install. What was damaged are
    // rows, and what these are as of that entry the leader knows.
    if (term != raft_->term() || raft_->leader() != from)
      return false;
    installing_ = arrival{index, index_term, true};
    mark();
    return true;
  }
  const auto* u = raft_->receive(host_.now, m, {});
  if (!u)
    return false;
  const bool wanted = u->has_snapshot;
  if (wanted)
    installing_ = arrival{u->snapshot_index, u->snapshot_term};
  absorb(*u);
  return wanted;
}

void replica::begin_with(std::uint64_t index, std::uint64_t index_term) {
  if (record_.as != life::waiting || installing_)
    return;
  installing_ = arrival{index, index_term};
  mark();
}

/// All rows are in the other slot: one record makes them the state, and the log continues after it.
void replica::install_staged() {
  if (!installing_->rows_only) {
    // What is above the state is of a log that ended. Its rows go with the record: after a crash `load` would take
    // those that still wait to be erased for entries behind this state. What is below, it knows for a left-over.
    log_.truncate(installing_->index + 1, [this](std::uint64_t s) { erase_now_.push_back(s); });
    log_.truncate(0, [this](std::uint64_t s) { erase_later_.push_back(s); });
    log_.clear(installing_->index + 1);
    seal_in_log_ = 0;
    record_.snapshot_index = installing_->index;
    record_.snapshot_term = installing_->term;
    record_.first_index = installing_->index + 1;
  }
  record_.slot = static_cast<std::uint8_t>(1 - record_.slot);
  record_.other_slot_dirty = 1;
  cleaning_ = true;
  record_.applied_index = installing_->index;
  record_.applied_term = installing_->term;
  record_.applied_commands = 0;
  if (record_.as == life::waiting) {
    record_.as = life::live;
    record_.term = std::max(record_.term, installing_->term);
    restart_ = true;
  }
  record_dirty_ = true;
  host_.machine.replaced(shard_);
  awaits_state_ = false;
  forget_damage();
}

void replica::learn_succession(const succession& s) {
  if (frozen_)
    return;
  if (record_.as == life::live && s.ended == record_.gen && s.seal_index > record_.applied_index &&
      log_.has(s.seal_index) && log_.at(s.seal_index).term == s.seal_term &&
      log_.at(s.seal_index).kind == entry_kind::seal && !installing_) {
    if (halted_)
      return; // the seal's majority counts on this log: a program that knows more applies it up to the seal
    if (unreadable_) {
      awaited_end_ = s;
      return successors_have_state(0);
    }
    commit_by_seal_ = s.seal_index; // by log matching everything up to it is committed
    mark();
    return;
  }
  end_generation(s, state_at_seal::missing);
}

void replica::end_generation(succession s, state_at_seal state) {
  const bool here = state == state_at_seal::here;
  const member me{host_.config.node, host_.config.disk};
  const bool goes_on = std::find(s.next.begin(), s.next.end(), me) != s.next.end();
  if (here)
    seal_ticket_ = 0; // the event answers it
  host_.news.seals.push_back({shard_, s.next_gen(), s.next});
  was_leading_ = waits_alone_ = false;
  led_from_ = 0;
  // Entries after an applied seal will never be applied; without the state this node cannot know of the seal.
  refuse_all(ec::sealed, here ? ec::sealed : ec::timed_out);
  raft_.reset();
  marker_.reset();
  installing_.reset();
  awaits_state_ = false;
  awaited_end_.reset();
  halted_.reset(); // what it halted at is of the generation that ended
  record_.applied_commands = 0;
  transfers_to_.clear();
  snapshot_wanted_.clear();
  commit_by_seal_ = seal_in_log_ = 0;
  log_.truncate(0, [this](std::uint64_t q) { erase_later_.push_back(q); });
  log_.clear(2);
  if (record_.as == life::live && !here) {
    cleaning_ = true;
    record_.other_slot_dirty = 1;
  }
  if (goes_on) {
    record_.as = here ? life::live : life::waiting;
    if (planted("successor-before-majority"))
      record_.as = life::live;
    record_.gen = s.next_gen();
    record_.members = s.next;
    record_.known.clear();
    record_.term = 1;
    record_.vote = 0;
    record_.snapshot_index = record_.applied_index = 1;
    record_.snapshot_term = record_.applied_term = 1;
    record_.first_index = 2;
    record_.origin = std::move(s);
    record_.ending.reset();
    restart_ = record_.as == life::live;
    if (restart_)
      host_.machine.replaced(shard_);
  } else {
    record_.as = here ? life::sealed : life::tombstone;
    if (!here) {
      record_.gen = s.ended; // perhaps a later one than it was in
      record_.members = s.before;
      record_.known.clear();
      cleaning_ = true;
      record_.other_slot_dirty = 1;
      host_.machine.replaced(shard_);
      forget_damage();
    }
    record_.ending = std::move(s);
  }
  become_member();
  hold_ = true;
  record_dirty_ = true;
  host_.succession_changed = true;
  mark();
}

void replica::bury() {
  if (frozen_ || record_.as != life::sealed)
    return;
  record_.as = life::tombstone;
  cleaning_ = record_dirty_ = true;
  record_.other_slot_dirty = 1;
  host_.machine.replaced(shard_);
  forget_damage();
  mark();
}

} // namespace parley::cluster

// What a replica sends: libraft's messages, and entries as the links have credit for them.
#include "cluster/replication/replica.hpp"
#include "protocol/values/planted_bugs.hpp"

#include <utility>

namespace parley::cluster {

bool replica_host::has_credit(node_id peer, std::size_t limit) const {
  if (planted("entries-without-credit"))
    return true;
  const auto waiting = links->waiting(peer);
  return waiting && *waiting + out.bytes_for(peer) < limit;
}

std::string_view replica_host::stored_row(std::uint64_t sequence) {
  if (!view)
    view = env->begin_read();
  return view->get(storage::table::log, log_key(sequence)).value_or(std::string_view{});
}

void replica::send_messages(std::uint32_t n) {
  for (std::uint32_t i = 0; i < n; ++i) {
    auto m = raft_->message_at(i);
    // libraft refuses a pre-vote with the asker's own term. A member with a longer log and a lower term would
    // never learn our term, and we would never get its vote: neither could ever lead.
    if (m.type == RAFT_CORE_VOTE_RESULT && m.pre_vote && !m.granted && m.term < raft_->term())
      m.term = raft_->term();
    // libraft's leader goes back one entry for each refusal. Its entries up to the one that was refused are of no
    // later term than that one: of ours, none of a later term is the same. It does the like with our term.
    if (m.type == RAFT_CORE_APPEND_RESULT && m.rejected != 0) {
      m.log_index = log_.last_within(m.log_index, previous_term_);
      m.log_term = term_at(m.log_index);
    }
    if (m.type == RAFT_CORE_VOTE && m.disrupt == 0 && is_unfit() && host_.now < stands_from_)
      continue;
    if (m.type == RAFT_CORE_APPEND) {
      if (m.n_entries != 0 && (!log_.has(m.log_index + 1) || !log_.has(m.log_index + m.n_entries)))
        broken("a message refers to entries that are not here", shard_, record_.gen, m.log_index,
               m.log_index + m.n_entries);
      auto& cursor = followers_[place_of(m.peer)].cursor;
      if (planted("probe-sends-again"))
        cursor.lost();
      cursor.want(m.log_index, m.n_entries, lowest_previous());
      queue_sending();
      continue;
    }
    if (m.type == RAFT_CORE_SNAPSHOT) {
      followers_[place_of(m.peer)].cursor.anchor();
      if (snapshot_wanted_.empty())
        host_.snapshot_wanted_by.push_back(this);
      snapshot_wanted_.push_back(m.peer);
      continue;
    }
    auto& out =
        host_.out.start(node_of(m.peer), leaving(), header(static_cast<message_type>(m.type), m.peer));
    const int flags = (m.pre_vote != 0 ? raft_body::pre_vote : 0) |
                      (m.disrupt != 0 ? raft_body::disrupt : 0) | (m.granted != 0 ? raft_body::granted : 0) |
                      (host_.has_room ? 0 : raft_body::no_room) | (damaged_ ? raft_body::damaged : 0);
    put_body(out, raft_body{m.term, m.log_index, m.log_term, m.rejected, m.features, m.capacity,
                            static_cast<std::uint8_t>(flags), host_.pace.typical_ms(host_.now)});
    host_.out.finish();
  }
}

bool replica::held_back(std::uint64_t id) const {
  const auto place = place_of(id);
  if (was_leading_ && place < followers_.size() && followers_[place].damaged && is_sent_state(id))
    return true;
  if (!is_full(id))
    return false;
  if (with_room() >= majority())
    return true;
  if (planted("full-member-flooded"))
    return false;
  const auto backlog = host_.full_backlogs.find(node_of(id));
  return backlog == host_.full_backlogs.end() || backlog->second > host_.config.full_backlog_bytes_max;
}

bool replica::is_full(std::uint64_t id) const {
  const auto place = place_of(id);
  return was_leading_ && place < followers_.size() && !followers_[place].has_room;
}

void replica::count_full_backlogs() {
  if (!lacks_room())
    return;
  const auto enough = host_.config.full_backlog_bytes_max;
  for (std::size_t i = 0; i < ids_.size(); ++i) {
    if (!answers(i) || followers_[i].has_room)
      continue;
    auto& bytes = host_.full_backlogs[record_.members[i].node];
    const auto match = raft_->match(ids_[i]);
    if (match + 1 < log_.first()) // not even the log has it any more
      bytes = enough + 1;
    for (auto at = log_.last(); at > match && bytes <= enough; --at)
      bytes += log_.at(at).bytes;
  }
}

std::uint64_t replica::lowest_previous() const {
  return term_at(log_.first() - 1) != 0 ? log_.first() - 1 : log_.first();
}

void replica::queue_sending() {
  if (!std::exchange(sending_queued_, true))
    host_.senders.push_back(shard_);
}

bool replica::send_entries() {
  bool any = false;
  const auto heartbeat_due = host_.now - host_.config.heartbeat_every.count() / 2;
  for (std::size_t i = 0; was_leading_ && i < ids_.size(); ++i) {
    auto& f = followers_[i];
    if (ids_[i] == self_)
      continue;
    f.cursor.trimmed(lowest_previous());
    if (planted("trim-sends-again"))
      f.cursor.answered();
    const bool asked = f.cursor.take_asked();
    if (f.cursor.may_send(host_.config.flight_bytes_max) && !held_back(ids_[i]) &&
        host_.has_credit(record_.members[i].node, host_.config.link_bytes_max)) {
      send_append(i, f.cursor.wanted());
      any = true;
    } else if (asked && f.sent_at <= heartbeat_due &&
               host_.has_credit(record_.members[i].node, 2 * host_.config.link_bytes_max)) {
      // Without credit it is a heartbeat. libraft asks with each proposal, but one in half an interval is
      // enough, and none is needed behind so much that the peer has not received.
      send_append(i, f.cursor.sent());
    }
  }
  return any;
}

bool replica::wants_to_send() const {
  for (std::size_t i = 0; was_leading_ && i < ids_.size(); ++i)
    if (followers_[i].cursor.may_send(host_.config.flight_bytes_max) && !held_back(ids_[i]) &&
        host_.links->waiting(record_.members[i].node))
      return true;
  return false;
}

/// Entries up to `last`, as many as fit into one frame.
void replica::send_append(std::size_t place, std::uint64_t last) {
  auto& f = followers_[place];
  const auto previous = f.cursor.sent();
  std::size_t bytes = 0;
  std::uint32_t n = 0;
  while (previous + n < last) {
    const auto size = log_.at(previous + n + 1).bytes;
    if (n != 0 && bytes + size > host_.config.frame_bytes_max)
      break;
    bytes += size;
    ++n;
  }
  auto& out = host_.out.start(record_.members[place].node, leaving(),
                              header(message_type::append, ids_[place]), bytes);
  put_body(out, append_body{raft_->term(), previous, term_at(previous), raft_->library_commit(), n});
  for (auto i = previous + 1; i <= previous + n; ++i) {
    const auto& e = log_.at(i);
    std::string_view row = e.row;
    if (row.empty())
      row = host_.stored_row(e.sequence);
    if (row.size() != e.bytes)
      stop_unreadable(i);
    put_body(out, append_entry{e.kind, e.term, row_payload(row)});
  }
  put_body(out, append_tail{raft_->stored()});
  host_.out.finish();
  f.sent_at = host_.now;
  if (n != 0)
    f.cursor.put(previous + n, bytes);
}

void replica::peer_reset(node_id peer) {
  for (std::size_t i = 0; was_leading_ && i < ids_.size(); ++i)
    if (record_.members[i].node == peer)
      followers_[i].cursor.lost();
}

} // namespace parley::cluster

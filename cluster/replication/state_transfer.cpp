#include "cluster/replication/state_transfer.hpp"

#include "cluster/replication/replication_impl.hpp"
#include "protocol/values/planted_bugs.hpp"

#include <algorithm>

namespace parley::cluster {
namespace {

using life = replica_record::life;

/// Doublings of `transfer_time_max`: 16 times, at most.
constexpr unsigned slowness_max = 4;
/// After the disk filled up under transfers, the next one waits `transfer_time_max`, then twice as long, up to this
/// many times: half an hour.
constexpr std::int64_t room_pauses_max = 64;

/// Rows of a chunk: length of the key u16, of the value u32, then both. False: not exactly that, or a key
/// that no table takes, with which the commit would fail.
template <class F>
bool each_row(std::string_view rows, F row) {
  reader in{rows};
  while (in.ok() && !in.rest().empty()) {
    const auto key_bytes = in.get<std::uint16_t>();
    const auto value_bytes = in.get<std::uint32_t>();
    const auto key = in.raw(key_bytes);
    const auto value = in.raw(value_bytes);
    if (!in.ok() || key.empty() || key.size() > storage::shard_view::key_bytes_max)
      return false;
    row(key, value);
  }
  return in.ok();
}

const member* find_member(const std::vector<member>& members, shard_id shard, generation gen,
                          std::uint64_t id) {
  for (const auto& m : members)
    if (raft_id(shard, gen, m) == id)
      return &m;
  return nullptr;
}

/// A tombstone still has the number of its generation, but no state: it empties both slots. A halted replica
/// keeps what it has.
bool takes_state(const replica& r) {
  return !r.halted() && (r.record().as == life::live || r.record().as == life::waiting);
}

} // namespace

void state_transfers::receive(node_id from, const message_header& h, std::string_view body) {
  if (h.type == message_type::fetch)
    return on_fetch(from, h);
  if (h.type == message_type::transfer_ack)
    return on_ack(from, h, body);
  auto* r = node_.find(h.shard);
  if (!r || h.gen != r->record().gen || h.to != r->self())
    return;
  if (h.type == message_type::transfer_begin) // refused by one that takes none, or its sender would wait
    return on_begin(*r, from, h, body);
  if (!takes_state(*r))
    return;
  if (h.type == message_type::transfer_chunk)
    return on_chunk(*r, from, h, body);
  on_stop(*r, from, body);
}

/// Of a peer: its body is not readable, or says what no program says.
void state_transfers::refuse_message() {
  ++node_.host.news.refused_messages;
}

// --- sending -----------------------------------------------------------------------------------------------

void state_transfers::begin(const replica& r, generation gen, node_id to, std::uint64_t to_id) {
  for (const auto& t : out_)
    if (t.header.shard == r.shard() && t.header.to == to_id)
      return; // on its way
  if (out_.size() >= node_.host.config.transfers_max || !node_.host.links->waiting(to))
    return; // asked again later; without a session it would only pin an old state, and the log behind it
  outgoing t;
  t.view = node_.host.env->begin_read();
  const auto bytes = t.view->get(storage::table::node, record_key(r.shard()));
  const auto record = bytes ? decode_record(*bytes).it : std::nullopt;
  if (!record || record->applied_commands != 0) // its rows are between two entries
    return;
  const bool as_successor = record->as == life::sealed && record->ending && record->ending->next_gen() == gen;
  if (!as_successor && !(record->as == life::live && record->gen == gen))
    return;
  t.id = ++ids_;
  t.to = to;
  t.header = {message_type::transfer_begin, r.shard(), gen,
              raft_id(r.shard(), gen, {node_.host.config.node, node_.host.config.disk}), to_id};
  t.slot = record->slot;
  t.index = as_successor ? 1 : record->applied_index;
  t.window_at = t.progress = node_.host.now;
  auto& out = node_.host.out.start(to, frame_batcher::leaves::early, t.header);
  put_body(out, transfer_begin_body{t.id, t.index, as_successor ? 1 : record->applied_term});
  node_.host.out.finish();
  out_.push_back(std::move(t));
}

/// Sends what the window allows. False if the transfer has to end.
bool state_transfers::pump(outgoing& t) {
  auto* r = node_.find(t.header.shard);
  if (!r || (t.to_follower && (!r->leads() || r->record().gen != t.header.gen || r->is_full(t.header.to))))
    return false;
  const auto& c = node_.host.config;
  // A little more than entries may fill of the link, so that those never keep the state away.
  const auto credit = c.link_bytes_max + 2 * c.snapshot_chunk_bytes;
  while (t.open && !t.done && t.chunks < t.acked + c.transfer_chunks_max &&
         node_.host.has_credit(t.to, credit)) {
    std::string rows;
    rows.reserve(c.snapshot_chunk_bytes + 1024);
    storage::shard_view state{*t.view, t.header.shard, t.slot};
    bool more = false;
    state.ascend(t.next_key, {}, [&](std::string_view key, std::string_view value) {
      if (!rows.empty() && rows.size() + key.size() + value.size() + 6 > c.snapshot_chunk_bytes) {
        t.next_key = key;
        more = true;
        return storage::scan::stop;
      }
      append_number(rows, static_cast<std::uint16_t>(key.size()));
      append_number(rows, static_cast<std::uint32_t>(value.size()));
      rows.append(key).append(value);
      return storage::scan::more;
    });
    if (state.status() != ec::none) { // rows that fail their checksum are never sent
      if (state.status() == ec::corrupt)
        node_.damaged(*r);
      return false;
    }
    t.done = !more;
    auto header = t.header;
    header.type = message_type::transfer_chunk;
    auto& out = node_.host.out.start(t.to, frame_batcher::leaves::early, header, rows.size());
    put_body(out, transfer_chunk_body{t.id, t.chunks++, static_cast<std::uint8_t>(t.done),
                                      t.to_follower ? r->raft()->term() : 0, rows});
    node_.host.out.finish();
  }
  return true;
}

void state_transfers::drop(std::size_t i, bool arrived) {
  auto& t = out_[i];
  if (t.to_follower)
    if (auto* r = node_.find(t.header.shard))
      r->transfer_ended(t.header.to, arrived);
  out_.erase(out_.begin() + static_cast<std::ptrdiff_t>(i));
}

void state_transfers::on_ack(node_id from, const message_header& h, std::string_view body) {
  const auto ack = get_body<transfer_ack_body>(body);
  if (!ack || ack->id == 0 || ack->what > verdict::finished)
    return refuse_message();
  const auto [id, next, what] = *ack;
  for (std::size_t i = 0; i < out_.size(); ++i) {
    auto& t = out_[i];
    if (t.id != id || t.to != from || t.header.shard != h.shard || next > t.chunks)
      continue;
    if (what == verdict::finished)
      slow_.erase({t.header.shard, t.header.to});
    if (what != verdict::go_on)
      return drop(i, what == verdict::finished);
    t.open = true;
    t.acked = std::max(t.acked, next);
    t.progress = node_.host.now;
    if (!pump(t))
      drop(i);
    return;
  }
}

void state_transfers::on_fetch(node_id from, const message_header& h) {
  auto* r = node_.find(h.shard);
  if (!r)
    return;
  const auto& record = r->record();
  const bool as_successor = record.as == life::sealed && record.ending->next_gen() == h.gen;
  if (!as_successor && h.gen <= record.gen && (h.gen != record.gen || record.ending))
    return node_.successions.answer_old(from, *r, h.gen);
  const auto* who = find_member(as_successor ? record.ending->next : record.members, h.shard, h.gen, h.from);
  if (!who || who->node != from || r->unsynced())
    return;
  begin(*r, h.gen, from, h.from);
}

// --- receiving ---------------------------------------------------------------------------------------------

void state_transfers::answer(shard_id shard, const incoming& t, verdict v) {
  const auto when = node_.host.ending_turn ? frame_batcher::leaves::late : frame_batcher::leaves::early;
  auto& out = node_.host.out.start(t.from, when, {message_type::transfer_ack, shard, t.gen, 0, t.from_id});
  put_body(out, transfer_ack_body{t.id, t.next, v});
  node_.host.out.finish();
}

void state_transfers::abandon(shard_id shard) {
  const auto t = in_.find(shard);
  if (t == in_.end())
    return;
  const bool soiled = t->second.open;
  in_.erase(t);
  auto* r = node_.find(shard);
  if (!r)
    return;
  r->awaits_state(false);
  if (soiled)
    r->clean_other_slot();
}

bool state_transfers::takes_state_now() const {
  return (node_.host.has_room && node_.host.now >= takes_state_from_) || planted("state-on-full-disk");
}

/// The disk has filled up, perhaps with what is staged. What is complete is written in this turn, and stays.
void state_transfers::abandon_if_full() {
  if (node_.host.has_room || planted("state-on-full-disk"))
    return;
  std::vector<shard_id> ended;
  std::uint64_t staged = 0, free = 0;
  for (const auto& [shard, t] : in_) {
    if (t.complete)
      continue;
    ended.push_back(shard);
    staged += t.bytes;
    free = std::max(free, t.free_at_begin);
  }
  if (ended.empty())
    return;
  for (const auto shard : ended) {
    answer(shard, in_.at(shard), verdict::stop);
    abandon(shard);
  }
  // If it used up a good part of the disk, there is room again once it is erased, and the next try would end like this
  // one: the disk would be written full again and again, and each time this node would stop taking messages.
  if (const auto reserve = node_.host.config.reserve_bytes; free > reserve && staged < (free - reserve) / 4)
    return;
  const std::int64_t least = node_.host.config.transfer_time_max.count();
  const bool again = room_pause_ != 0 && node_.host.now < takes_state_from_ + 2 * room_pause_;
  room_pause_ = again ? std::min(2 * room_pause_, room_pauses_max * least) : least;
  takes_state_from_ = node_.host.now + room_pause_;
}

void state_transfers::open_if_clean(shard_id shard, incoming& t) {
  auto* r = node_.find(shard);
  if (t.open || !r || !r->other_slot_clean())
    return;
  t.open = true;
  t.progress = node_.host.now;
  r->soil_other_slot();
  answer(shard, t, verdict::go_on);
}

void state_transfers::on_begin(replica& r, node_id from, const message_header& h, std::string_view body) {
  const auto begun = get_body<transfer_begin_body>(body);
  if (!begun || begun->id == 0 || begun->index == 0 || begun->term == 0)
    return refuse_message();
  incoming t;
  t.id = begun->id;
  t.index = begun->index;
  t.term = begun->term;
  t.from = from;
  t.from_id = h.from;
  t.gen = h.gen;
  t.progress = node_.host.now;
  t.free_at_begin = node_.host.bytes_free;
  const auto& record = r.record();
  const bool wanted =
      takes_state(r) &&
      (record.as == life::waiting || (r.raft() && r.node_of(h.from) == from && r.wants_state_of(t.index)));
  if (const auto old = in_.find(h.shard); old != in_.end()) {
    if (old->second.complete)
      return;
    if (record.as == life::waiting && (old->second.from != from)) // one source at a time
      return answer(h.shard, t, verdict::stop);
    abandon(h.shard);
  }
  if (!wanted || r.installing() || !takes_state_now())
    return answer(h.shard, t, verdict::stop);
  r.awaits_state(true);
  auto& placed = in_.insert_or_assign(h.shard, std::move(t)).first->second;
  open_if_clean(h.shard, placed);
}

void state_transfers::on_chunk(replica& r, node_id from, const message_header& h, std::string_view body) {
  const auto sent = get_body<transfer_chunk_body>(body);
  if (!sent || sent->id == 0)
    return refuse_message();
  const auto [id, chunk, last, term, rows] = *sent;
  abandon_if_full();
  const auto found = in_.find(h.shard);
  if (found == in_.end())
    return;
  auto& t = found->second;
  if (t.id != id || t.from != from || t.gen != h.gen || chunk != t.next || !t.open || t.complete)
    return;
  if (!each_row(rows, [](std::string_view, std::string_view) {})) {
    refuse_message();
    answer(h.shard, t, verdict::stop);
    return abandon(h.shard);
  }
  t.staged.emplace_back(rows);
  t.bytes += rows.size();
  ++t.next;
  t.ack = true;
  t.progress = node_.host.now;
  r.mark();
  if (last == 0)
    return;
  if (r.record().as == life::waiting) {
    t.complete = true;
    r.begin_with(t.index, t.term);
    return;
  }
  // Raft is informed only now: until then this replica votes and follows as before.
  if (r.install(h.from, term, t.index, t.term)) {
    t.complete = true;
    node_.requeue(r);
    return;
  }
  answer(h.shard, t, verdict::stop);
  abandon(h.shard);
}

void state_transfers::on_stop(const replica& r, node_id from, std::string_view body) {
  const auto stopped = get_body<transfer_stop_body>(body);
  if (!stopped || stopped->id == 0)
    return refuse_message();
  const auto t = in_.find(r.shard());
  if (t != in_.end() && t->second.from == from && t->second.id == stopped->id && !t->second.complete)
    abandon(r.shard());
}

bool state_transfers::wants_write() const {
  return std::any_of(in_.begin(), in_.end(), [](const auto& t) { return !t.second.staged.empty(); });
}

void state_transfers::write(storage::write_txn& txn) {
  for (auto& [shard, t] : in_) {
    const auto* r = node_.find(shard);
    const auto staged = std::exchange(t.staged, {});
    if (staged.empty() || !r || !takes_state(*r) || r->record().gen != t.gen)
      continue;
    storage::shard_txn state{txn, shard, static_cast<std::uint8_t>(1 - r->record().slot)};
    for (const auto& rows : staged)
      each_row(rows, [&](std::string_view key, std::string_view value) { state.put(key, value); });
  }
}

void state_transfers::end_turn(bool committed) {
  if (!committed)
    return;
  for (auto i = in_.begin(); i != in_.end();) {
    auto& [shard, t] = *i;
    if (std::exchange(t.ack, false))
      answer(shard, t, t.complete ? verdict::finished : verdict::go_on);
    if (!t.complete) {
      ++i;
      continue;
    }
    const auto done = shard;
    i = in_.erase(i);
    if (auto* r = node_.find(done))
      r->clean_other_slot();
  }
}

// --- time --------------------------------------------------------------------------------------------------

void state_transfers::begin_turn() {
  for (auto* r : std::exchange(node_.host.snapshot_wanted_by, {})) {
    for (const auto id : r->take_snapshot_wanted()) {
      if (!r->leads() || r->is_full(id)) // it asks again
        continue;
      send_state(*r, id);
    }
  }
  for (auto& [shard, t] : in_)
    open_if_clean(shard, t);
}

void state_transfers::send_state(replica& leader, std::uint64_t to_id) {
  const auto before = out_.size();
  begin(leader, leader.record().gen, leader.node_of(to_id), to_id);
  if (out_.size() == before)
    return;
  out_.back().to_follower = true;
  leader.transfer_begun(to_id, out_.back().index);
}

void state_transfers::fetch(replica& r) {
  auto& a = asking_[r.shard()];
  if (node_.host.now < a.next_at || in_.contains(r.shard()) || r.unsynced() || !takes_state_now())
    return;
  a.next_at = node_.host.now + node_.host.config.snapshot_retry_after.count() / 2;
  const auto& origin = *r.record().origin;
  std::vector<node_id> sources;
  for (const auto* members : {&origin.before, &origin.next})
    for (const auto& m : *members)
      if (m.node != node_.host.config.node &&
          std::find(sources.begin(), sources.end(), m.node) == sources.end())
        sources.push_back(m.node);
  if (sources.empty())
    return;
  const auto to = sources[a.turn++ % sources.size()];
  node_.host.out.start(to, frame_batcher::leaves::early,
                       {message_type::fetch, r.shard(), r.record().gen, r.self(), 0});
  node_.host.out.finish();
}

/// What is slow and goes on is better than another try from nothing, which would be as slow.
bool state_transfers::is_too_slow(outgoing& t) {
  const auto& c = node_.host.config;
  const std::pair key{t.header.shard, t.header.to};
  const auto known = slow_.find(key);
  const auto slowness = known == slow_.end() ? 0U : known->second;
  if (node_.host.now - t.window_at <= c.transfer_time_max.count() << slowness)
    return false;
  const bool too_slow = t.acked - std::exchange(t.acked_then, t.acked) < c.transfer_chunks_min ||
                        planted("transfer-ends-by-age");
  t.window_at = node_.host.now;
  if (too_slow && slowness < slowness_max)
    slow_[key] = slowness + 1; // twice the time for the next
  return too_slow;
}

void state_transfers::tick() {
  const auto now = node_.host.now;
  const auto& c = node_.host.config;
  abandon_if_full();
  for (std::size_t i = out_.size(); i-- > 0;) {
    auto& t = out_[i];
    const auto* r = node_.find(t.header.shard);
    const bool missed = t.to_follower && r && r->is_missed(t.header.to);
    if (!missed && !is_too_slow(t) && now - t.progress <= c.snapshot_retry_after.count() && pump(t))
      continue;
    auto header = t.header;
    header.type = message_type::transfer_stop;
    put_body(node_.host.out.start(t.to, frame_batcher::leaves::early, header), transfer_stop_body{t.id});
    node_.host.out.finish();
    drop(i);
  }
  std::vector<shard_id> stale;
  for (auto& [shard, t] : in_) {
    const auto* r = node_.find(shard);
    if (!t.complete && (!r || !takes_state(*r) || r->record().gen != t.gen ||
                        now - t.progress > 2 * c.snapshot_retry_after.count()))
      stale.push_back(shard);
    else
      open_if_clean(shard, t);
  }
  for (const auto shard : stale)
    abandon(shard);
  for (auto& [shard, r] : node_.replicas) {
    if (r->record().as == life::waiting && !r->halted() && !r->installing())
      fetch(*r);
    if (const auto id = r->to_mend(); id != 0)
      send_state(*r, id);
  }
}

void state_transfers::peer_reset(node_id peer) {
  for (std::size_t i = out_.size(); i-- > 0;)
    if (out_[i].to == peer)
      drop(i);
  std::vector<shard_id> lost;
  for (const auto& [shard, t] : in_)
    if (t.from == peer && !t.complete)
      lost.push_back(shard);
  for (const auto shard : lost)
    abandon(shard);
}

} // namespace parley::cluster

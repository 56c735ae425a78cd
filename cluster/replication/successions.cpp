#include "cluster/replication/successions.hpp"

#include "cluster/replication/replication_impl.hpp"
#include "protocol/values/planted_bugs.hpp"

#include <algorithm>

namespace parley::cluster {
namespace {

bool among(const std::vector<member>& members, node_id node) {
  return std::any_of(members.begin(), members.end(), [node](const member& m) { return m.node == node; });
}

/// What this replica knows about the generation before it, or about its own end.
const succession* known_end(const replica& r) {
  const auto& record = r.record();
  if (const auto* s = r.awaited_end())
    return s;
  return record.ending ? &*record.ending : record.origin ? &*record.origin : nullptr;
}

} // namespace

successions::progress& successions::of(const replica& r, generation gen) {
  auto& p = progress_[r.shard()];
  if (p.gen != gen)
    p = {gen, {}};
  return p;
}

void successions::tell(node_id whom, const replica& r, const succession& s) {
  const auto body = core::encode(s);
  // What this turn still has to write may be just that.
  const bool waits = node_.host.ending_turn || r.unsynced();
  auto& out = node_.host.out.start(whom, waits ? frame_batcher::leaves::late : frame_batcher::leaves::early,
                                   {message_type::sealed, r.shard(), s.ended, 0, 0}, body.size());
  out.append(body);
  node_.host.out.finish();
}

/// The end that the replica is sure of. It may not be on its disk yet.
const succession* successions::speaks_of(const replica& r) {
  const auto as = r.record().as;
  const bool speaks = as == replica_record::life::sealed || as == replica_record::life::live;
  if (planted("alone-in-silence") && (r.unsynced() || (as == replica_record::life::live && !r.raft())))
    return nullptr;
  return speaks ? known_end(r) : nullptr;
}

void successions::session_begun(node_id peer) {
  for (const auto& [shard, r] : node_.replicas)
    if (const auto* s = speaks_of(*r); s && !among(s->next, peer))
      tell(peer, *r, *s);
}

void successions::announce(to whom) {
  const auto self = node_.host.config.node;
  for (const auto& [shard, r] : node_.replicas) {
    const auto* s = speaks_of(*r);
    const bool sealed = r->record().as == replica_record::life::sealed;
    if (!s || r->unsynced() || (!sealed && !r->raft()))
      continue;
    auto& p = of(*r, s->next_gen());
    std::vector<node_id> told{self};
    const bool again = whom == to::confirmed && sealed;
    const auto tell_all = [&](const std::vector<member>& members) {
      for (const auto& m : members) {
        const bool knows = std::find(p.confirmed.begin(), p.confirmed.end(), m.node) != p.confirmed.end();
        if ((knows && !again) || std::find(told.begin(), told.end(), m.node) != told.end())
          continue;
        told.push_back(m.node);
        tell(m.node, *r, *s);
      }
    };
    tell_all(s->next);
    if (whom == to::all)
      tell_all(s->before);
  }
}

void successions::tick() {
  if (node_.host.now < next_at_)
    return;
  next_at_ = node_.host.now + node_.host.config.announce_every.count();
  // Who waits for a majority asks now and then also those who have confirmed: they may be rescued when most of them have
  // lost their disks, and then there never is a majority. A shard may stay without one for as long as people need.
  const bool again = ++announcements_ % confirmed_every == 0 && !planted("confirmed-asked-once");
  announce(again ? to::confirmed : to::successors);
}

void successions::end_turn(bool committed) {
  if (!committed || !std::exchange(node_.host.succession_changed, false))
    return;
  announce(to::all);
}

void successions::answer_old(node_id from, const replica& r, generation gen) {
  const auto* s = known_end(r);
  if (!s || gen > s->ended || r.unsynced())
    return;
  if (gen == s->ended)
    return tell(from, r, *s);
  auto later = *s; // more than one generation ago: the index of its seal is forgotten
  later.seal_index = later.seal_term = 0;
  tell(from, r, later);
}

void successions::heard(node_id from, const replica& r, std::uint64_t) {
  if (!r.record().origin || r.awaited_end())
    return;
  auto& p = of(r, r.record().gen);
  if (std::find(p.confirmed.begin(), p.confirmed.end(), from) == p.confirmed.end())
    p.confirmed.push_back(from);
}

void successions::receive(node_id from, const message_header& h, std::string_view body) {
  auto* r = node_.find(h.shard);
  if (h.type == message_type::confirmed) {
    const auto* s = r ? known_end(*r) : nullptr;
    if (!s || s->next_gen() != h.gen || !among(s->next, from))
      return;
    auto& p = of(*r, h.gen);
    if (std::find(p.confirmed.begin(), p.confirmed.end(), from) == p.confirmed.end())
      p.confirmed.push_back(from);
    std::size_t have = 0;
    for (const auto& m : s->next)
      have += std::find(p.confirmed.begin(), p.confirmed.end(), m.node) != p.confirmed.end();
    if (r->record().as == replica_record::life::sealed && have > s->next.size() / 2)
      r->bury();
    r->successors_have_state(have);
    return;
  }
  const auto said = core::decode_whole<succession>(body); // it becomes part of this node's record
  if (!said.it) {
    ++node_.host.news.refused_messages;
    return;
  }
  const auto& s = *said.it;
  if (s.ended != h.gen || s.ended == generation::none || s.next.empty() || s.next.size() > members_max ||
      s.before.size() > members_max || (!among(s.before, from) && !among(s.next, from)))
    return;
  const member me{node_.host.config.node, node_.host.config.disk};
  const bool goes_on = std::find(s.next.begin(), s.next.end(), me) != s.next.end();
  if (!r) {
    if (!goes_on)
      return;
    replica_record record;
    record.as = replica_record::life::waiting;
    record.gen = s.next_gen();
    record.members = s.next;
    record.origin = s;
    node_.add(h.shard, std::move(record));
    return;
  }
  const auto& record = r->record();
  using life = replica_record::life;
  if (record.gen > s.ended || (record.gen == s.ended && record.ending)) {
    const bool has = record.gen > s.next_gen() || (record.gen == s.next_gen() && record.as != life::waiting);
    if (has && !r->unsynced() && !r->halted()) {
      node_.host.out.start(from, frame_batcher::leaves::early,
                           {message_type::confirmed, h.shard, s.next_gen(), 0, 0});
      node_.host.out.finish();
    }
    answer_old(from, *r, s.next_gen()); // if that one has ended, too
    return;
  }
  if (record.ending && !goes_on) { // ended before, and not called back
    if (!r->halted() && !planted("ended-state-kept"))
      r->bury(); // a generation after it has ended as well, and only one that has the state can end
    return;
  }
  r->learn_succession(s);
}

} // namespace parley::cluster

// What a replica knows of how far the others had stored, and what follows when one of them, or itself, has less.
#include "cluster/replication/replica.hpp"
#include "protocol/values/planted_bugs.hpp"

#include <algorithm>
#include <utility>

namespace parley::cluster {

/// An old leader may still send what was never committed. One whose term is not older has every committed entry, as
/// long as no voter forgot anything.
void replica::contradicted(const message_header& h, const raft_group::message& m, std::uint64_t index) {
  if (m.term < raft_->term() || std::exchange(contradicted_by_, h.from) == h.from)
    return;
  host_.news.divergences.push_back({{shard_, record_.gen, term_at(index), index}, node_of(h.from)});
}

bool replica::may_vote() const {
  return host_.now >= host_.votes_from || std::all_of(ids_.begin(), ids_.end(), [this](std::uint64_t id) {
           return id == self_ || said_.contains(id);
         });
}

/// What leaves a replica depends on what it has stored. So whatever it says in a term proves that it has stored the
/// term; a result that its leader counts, and what a leader says of its own disk, entries. In that term it never gives
/// them up.
void replica::note_position(const message_header& h, const raft_group::message& m,
                            std::uint64_t leader_stored) {
  if (m.pre_vote)
    return; // it asks for a term that it is not in
  auto& k = record_.known[place_of(h.from)];
  if (m.term > k.term)
    k = {m.term, 0};
  if (m.term != k.term)
    return;
  if (h.type == message_type::append)
    k.index = std::max(k.index, leader_stored);
  if (h.type != message_type::append_result || !was_leading_ || m.term != raft_->term())
    return;
  k.index = std::max(k.index, raft_->match(h.from));
  if (m.rejected == 0 && m.log_index >= k.index)
    followers_[place_of(h.from)].forgot = false; // its disk was replaced by the one that it had
}

void replica::tell_position(node_id peer, and_asks ask) {
  const auto id = id_of(peer);
  if (id == 0 || id == self_ || record_.as != life::live)
    return;
  const auto& k = record_.known[place_of(id)];
  auto& out = host_.out.start(peer, leaving(), header(message_type::position, id));
  put_body(out, position_body{k.term, k.index, static_cast<std::uint8_t>(ask)});
  host_.out.finish();
}

void replica::note_last() {
  auto& last = lasts_[record_.term];
  last = std::max(last, log_.last());
  constexpr std::size_t terms_max = 64; // of earlier ones nothing can be told any more
  if (lasts_.size() > terms_max)
    lasts_.erase(lasts_.begin());
}

/// Within a term a replica never gives up what it confirmed, and a term that it was in is never forgotten. So what
/// another node knows of a term that this replica was not in, or of entries that it did not have in it, was said by
/// an earlier process on this disk, which has forgotten it since.
void replica::receive_position(const message_header& h, std::string_view body) {
  const auto known = get_body<position_body>(body);
  if (!known)
    return refuse_message();
  if (known->asks == static_cast<std::uint8_t>(and_asks::yes))
    tell_position(node_of(h.from));
  said_.insert(h.from);
  // It says this only once it is durably a member with a state: it has confirmed the generation, and begins in term 1.
  if (auto& k = record_.known[place_of(h.from)]; k.term == 0) {
    k.term = 1;
    remember();
  }
  note_last();
  const auto mine = lasts_.find(known->term);
  if (known->term < lasts_.begin()->first || (mine != lasts_.end() && known->index <= mine->second) ||
      planted("rollback-unnoticed"))
    return;
  forgot(node_of(h.from), known->term, known->index);
}

void replica::forgot(node_id by, std::uint64_t term, std::uint64_t index) {
  host_.news.forgets.push_back({{shard_, record_.gen, record_.term, log_.last()}, by, term, index});
  halt({shard_, record_.gen, record_.term, record_.applied_index},
       "another node knows that more was stored here than there is: this disk is an older one, or lost "
       "something");
}

} // namespace parley::cluster

#pragma once
// Who leads each shard, as one node knows it.
#include "actors/core/peer_payload.hpp"

#include <span>
#include <vector>

namespace parley::core {

/// A replica that takes part here knows its leader. For all other shards (there is no replica here, or it halted, was
/// sealed, or waits for its state) a node depends on the leaders: each tells every peer which shards it leads, when that
/// changes, when a session begins, and again now and then.
///
/// Owns:   by shard, the leader, when that leadership began, and whether a replica here knows better than peers.
/// Thread: the router's.
class shard_leaders {
public:
  shard_leaders() = default;
  shard_leaders(node_id self, std::uint16_t shards)
      : self_{self}, leaders_(shards, node_id::none), since_(shards), knows_better_(shards, false) {}

  std::size_t size() const { return leaders_.size(); }
  /// `none`: not known. A shard that does not exist has no leader.
  node_id of(shard_id s) const { return number(s) < size() ? leaders_[number(s)] : node_id::none; }
  const std::vector<node_id>& all() const { return leaders_; }
  leads_payload led_here() const {
    leads_payload mine;
    for (std::uint16_t s = 0; s < size(); ++s)
      if (leaders_[s] == self_)
        add_to(mine, s);
    return mine;
  }

  /// What news have changed. Nothing: most announcements repeat what is known.
  struct changes {
    bool any = false;
    std::vector<bool> moved; ///< by shard: another leadership is known, so whoever uses it announces itself
    leads_payload mine;      ///< of them, those that begin here
  };
  /// News of replicas here.
  changes learn(std::span<const leadership> news) {
    changes out = nothing();
    for (const auto& n : news) {
      const auto s = number(n.shard);
      if (s >= size())
        continue;
      knows_better_[s] = n.takes_part;
      // Calls go to this node only when it can serve; until then they wait here instead of being refused there.
      const auto leader = n.leader == self_ && !n.ready ? node_id::none : n.leader;
      // What a replica that takes no part says is a hint: it must not displace what a leader said of itself.
      if (n.takes_part || leaders_[s] == node_id::none || leaders_[s] == self_)
        set(s, leader, {n.gen, n.term}, out);
    }
    return out;
  }
  /// `peer` says what it leads. A deposed leader that has not heard of the next one yet is not believed. One that says no
  /// start is of an older version: who spoke last is believed.
  changes learn(node_id peer, const leads_payload& leads) {
    changes out = nothing();
    for (std::size_t i = 0; i < leads.shards.size(); ++i) {
      const auto s = number(leads.shards[i]);
      if (s >= size() || knows_better_[s])
        continue;
      const auto since = i < leads.since.size() ? leads.since[i] : since_[s];
      if (since >= since_[s] || leaders_[s] == node_id::none)
        set(s, peer, since, out);
    }
    return out;
  }

private:
  changes nothing() const { return {false, std::vector<bool>(size(), false), {}}; }
  void add_to(leads_payload& to, std::uint16_t s) const {
    to.shards.push_back(shard_id{s});
    to.since.push_back(since_[s]);
  }
  void set(std::uint16_t s, node_id leader, leadership_start since, changes& out) {
    // A leader that was deposed and elected again has new actors, to which no session has announced itself.
    if (leaders_[s] == leader && (leader == node_id::none || since_[s] == since))
      return;
    out.any = true;
    leaders_[s] = leader;
    out.moved[s] = leader != node_id::none;
    if (leader == node_id::none) // a candidate's term is nobody's leadership
      return;
    since_[s] = since;
    if (leader == self_)
      add_to(out.mine, s);
  }

  node_id self_{};
  std::vector<node_id> leaders_;
  std::vector<leadership_start> since_;
  std::vector<bool> knows_better_;
};

} // namespace parley::core

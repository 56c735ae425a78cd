#include "cluster/node/health.hpp"

#include "actors/router.hpp"
#include "protocol/values/last_words.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace parley::cluster {
namespace {

using role = core::replica_status::role;

// Or calls that wait for a leader to be known would be refused by a node that says it is ready.
static_assert(leader_gap_max <= router_config{}.park_for);

/// "shards 1, 2, 5", and how many more: pages stay short however many shards a cluster has.
std::string name_shards(const std::vector<std::size_t>& shards) {
  constexpr std::size_t shown_max = 10;
  std::string out = shards.size() == 1 ? "shard " : "shards ";
  for (std::size_t i = 0; i < std::min(shards.size(), shown_max); ++i)
    out += (i == 0 ? "" : ", ") + std::to_string(shards[i]);
  if (shards.size() > shown_max)
    out += fmt::format(" and {} more", shards.size() - shown_max);
  return out;
}

std::set<node_id> linked_nodes(const health_facts& f) {
  std::set<node_id> out{f.self};
  for (const auto& l : f.links)
    if (l.connected)
      out.insert(l.peer);
  return out;
}

/// The shards without a leader that this node can reach, at this moment.
std::vector<std::size_t> leaderless(const health_facts& f) {
  const auto linked = linked_nodes(f);
  std::vector<std::size_t> out;
  for (std::size_t s = 0; s < f.leaders.size(); ++s)
    if (f.leaders[s] == node_id::none || !linked.contains(f.leaders[s]))
      out.push_back(s);
  return out;
}

/// Of those, the ones that have lacked it for long.
std::vector<std::size_t> long_leaderless(const health_facts& f) {
  auto out = leaderless(f);
  std::erase_if(out, [&](std::size_t s) {
    // The router may not have been told yet that a link is gone.
    const auto since = s < f.without_since.size() ? f.without_since[s] : std::nullopt;
    return !since || f.at - *since < leader_gap_max;
  });
  return out;
}

std::vector<std::size_t> without(std::vector<std::size_t> shards, const std::vector<std::size_t>& others) {
  std::erase_if(shards, [&](std::size_t s) { return std::ranges::count(others, s) != 0; });
  return shards;
}

/// The nodes that say that their disks are full, this one among them.
std::set<node_id> full_nodes(const health_facts& f) {
  auto out = f.full;
  if (!f.has_room)
    out.insert(f.self);
  return out;
}

/// Shards with a replica here that store no messages because of full disks: a majority of their members is there, and the
/// members that are there and have room are none. Of other shards nobody here knows the members.
struct shortage {
  std::vector<std::size_t> shards;
  std::set<node_id> full; ///< of their members
  std::set<node_id> away; ///< of their members that are not linked: where these have room, a majority has
};
shortage short_of_room(const health_facts& f) {
  const auto linked = linked_nodes(f);
  const auto full = full_nodes(f);
  shortage out;
  for (const auto& r : f.replicas) {
    // Their members may be those of a generation that ended: a halted replica does not learn of the next one.
    if (r.as == role::sealed || r.as == role::halted)
      continue;
    std::size_t there = 0, with_room = 0;
    for (const auto& m : r.members) {
      there += linked.contains(m.node) ? 1 : 0;
      with_room += linked.contains(m.node) && !full.contains(m.node) ? 1 : 0;
    }
    const auto majority = r.members.size() / 2 + 1;
    if (there < majority || with_room >= majority)
      continue;
    out.shards.push_back(number(r.shard));
    const bool would_do = with_room + r.members.size() - there >= majority;
    for (const auto& m : r.members)
      if (linked.contains(m.node) ? full.contains(m.node) : would_do)
        (linked.contains(m.node) ? out.full : out.away).insert(m.node);
  }
  return out;
}

/// "node 2", or "nodes 1, 2 and 3".
std::string name_nodes(const std::set<node_id>& nodes) {
  std::string out = nodes.size() == 1 ? "node " : "nodes ";
  std::size_t left = nodes.size();
  for (const auto n : nodes) {
    out += std::to_string(number(n));
    --left;
    out += left > 1 ? ", " : left == 1 ? " and " : "";
  }
  return out;
}

std::string shortage_of(const shortage& s) {
  const bool one = s.full.size() == 1;
  auto out = fmt::format(
      "{}: no messages are stored, because the {} of {} no room, and the members with room are no "
      "majority. Free space on the {}, or enlarge {}",
      name_shards(s.shards), one ? "disk" : "disks", name_nodes(s.full) + (one ? " has" : " have"),
      one ? "disk of its data directory" : "disks of their data directories", one ? "it" : "them");
  if (!s.away.empty())
    out += fmt::format(". Starting {} helps as well, if there is room", name_nodes(s.away));
  return out;
}

std::size_t members_wanted(const health_facts& f) {
  auto wanted = std::max<std::size_t>(1, std::min(f.replicas_wanted, f.nodes));
  // A shard grows in odd steps (reconfiguration.cpp), unless the setting itself is even.
  return wanted % 2 == 0 && wanted < f.replicas_wanted ? wanted - 1 : wanted;
}

std::string divergence_of(const health_facts& f) {
  return fmt::format(
      "what is committed here in {} of {} shards (the first is {}) is not what its leader has: a "
      "node's disk went back. Keep this node's data directory, which may be the only one that "
      "holds the missing messages; stop the nodes whose directories were put back or copied, and "
      "empty those",
      f.diverged.size(), f.replicas.size(), number(f.diverged.front()));
}

std::uint64_t unapplied(const core::replica_status& r) {
  return r.commit_index - std::min(r.applied_index, r.commit_index);
}

} // namespace

// Both moments are of a clock that stands still while the machine sleeps. After a process was stopped, the loops turn
// again within a sweep, so the alarm is false no longer than that.
std::string standstill_of(const std::vector<gateway::heartbeat>& gateways,
                          gateway::pulse_clock::time_point now) {
  std::string out;
  for (std::size_t i = 0; i < gateways.size(); ++i) {
    const auto& g = gateways[i];
    const bool loop = now - g.loop > gateway_still_max;
    if (!loop && (g.drains || now - g.accepting <= gateway_still_max))
      continue;
    const auto still = std::chrono::duration_cast<std::chrono::seconds>(now - (loop ? g.loop : g.accepting));
    out += fmt::format("{}gateway thread {} of {} has not {} for {} s", out.empty() ? "" : ", and ", i + 1,
                       gateways.size(), loop ? "turned" : "accepted the connections that wait for it",
                       still.count());
  }
  return out;
}

admin_source::readiness ready_of(const health_facts& f) {
  if (!f.diverged.empty())
    return {false, "diverged: " + divergence_of(f)};
  if (const auto still = standstill_of(f.gateways, f.at); !still.empty())
    return {false,
            "not ready: " + still +
                ", so its clients are not served. It may wait for a disk or a processor; if it goes on, "
                "restart this node"};
  if (!f.store_answers)
    return {
        false,
        "not ready: the store has not answered for 2 s, so it waits for the disk; if it goes on, check the "
        "disk of the data directory"};
  if (f.client_certificate_ended)
    return {false, "not ready: the certificate for clients has ended, so clients refuse this node; renew it "
                   "(scripts/make_certs.sh) and send SIGHUP"};
  const auto shortage = short_of_room(f);
  const auto unserved = without(long_leaderless(f), shortage.shards);
  std::string why = shortage.shards.empty() ? "" : shortage_of(shortage);
  if (!unserved.empty())
    why +=
        fmt::format("{}{} of {} shards have no leader that this node can reach ({}), so their "
                    "conversations cannot be served until a majority of their nodes runs and is linked",
                    why.empty() ? "" : ". Also, ", unserved.size(), f.leaders.size(), name_shards(unserved));
  if (!why.empty())
    return {false, "not ready: " + why};
  std::vector<std::size_t> kept;
  for (std::size_t s = 0; s < f.leaders.size(); ++s)
    if (f.leaders[s] == f.self)
      kept.push_back(s);
  if (!f.has_room && !kept.empty())
    return {false,
            fmt::format("not ready: the disk has no room for messages, and no other node takes over {} from "
                        "this one; free space on the disk of the data directory",
                        name_shards(kept))};
  return {true, "ready"};
}

std::size_t replicas_far_behind(const health_facts& f) {
  const auto here = std::count_if(f.replicas.begin(), f.replicas.end(),
                                  [](const auto& r) { return unapplied(r) > behind_max; });
  const auto there =
      std::count_if(f.lagging.begin(), f.lagging.end(), [](const auto& m) { return m.behind > behind_max; });
  return static_cast<std::size_t>(here + there);
}

std::size_t missing_replicas(const health_facts& f) {
  const auto wanted = members_wanted(f);
  auto n = f.silent.size();
  for (const auto& r : f.replicas)
    if (r.as == role::leader)
      n += wanted - std::min(wanted, r.members.size());
  return n;
}

admin_source::readiness whole_of(const health_facts& f) {
  if (!f.store_answers)
    return {
        false,
        "not whole: the store has not answered for 2 s, so the state of the replicas here is not known; if "
        "it goes on, check the disk of the data directory"};
  const auto linked = linked_nodes(f);
  const auto wanted = members_wanted(f);
  std::string out;
  const auto line = [&](const std::string& text) { out += "\n" + text; };
  /// Shards, and the most entries that a replica of them lacks.
  struct lag {
    std::vector<std::size_t> shards;
    std::uint64_t most = 0;
    void add(std::size_t shard, std::uint64_t entries) {
      shards.push_back(shard);
      most = std::max(most, entries);
    }
  };
  std::map<node_id, std::vector<std::size_t>> away, mute, forgot, full;
  std::map<node_id, lag> behind;
  lag behind_here;
  std::vector<std::size_t> too_few, filling, damaged;
  if (!f.diverged.empty())
    line(divergence_of(f));
  for (const auto& r : f.replicas) {
    const auto shard = std::size_t{number(r.shard)};
    if (unapplied(r) > behind_max && r.as != role::halted)
      behind_here.add(shard, unapplied(r));
    switch (r.as) {
    case role::halted:
      line(fmt::format(
          "shard {}: the replica here halted: {}; start this node with the newest parleyd of the cluster, "
          "and if it halts again, replace its data directory",
          shard, r.halted_because));
      break;
    case role::installing:
    case role::waiting_for_state:
      filling.push_back(shard);
      break;
    case role::leader:
      if (r.members.size() < wanted)
        too_few.push_back(shard);
      for (const auto& m : r.members)
        if (m.node != f.self && linked.contains(m.node) && f.full.contains(m.node))
          full[m.node].push_back(shard);
      break;
    case role::follower:
    case role::candidate:
    case role::sealed:
      break;
    }
  }
  const auto shortage = short_of_room(f);
  if (!shortage.shards.empty())
    line(shortage_of(shortage));
  if (const auto none = without(leaderless(f), shortage.shards); !none.empty())
    line(fmt::format(
        "{}: there is no leader that this node can reach, and only a leader knows what its members lack; "
        "wait some seconds, and if it goes on, start the nodes that are away",
        name_shards(none)));
  for (const auto& m : f.silent)
    (linked.contains(m.who.node) ? mute : away)[m.who.node].push_back(number(m.shard));
  for (const auto& m : f.lagging) {
    if (m.forgot)
      forgot[m.who.node].push_back(number(m.shard));
    else if (m.behind > behind_max)
      behind[m.who.node].add(number(m.shard), m.behind);
  }
  for (const auto s : f.damaged)
    damaged.push_back(number(s));
  if (!damaged.empty())
    line(fmt::format(
        "{}: a row of the replica here does not match its checksum. Its leader replaces the rows by its "
        "own, as soon as the other replicas are a majority without this one: wait, and start the nodes "
        "that are away. If the other nodes say the same of this shard, empty none of them: each may hold "
        "rows that the others have lost. If only this one is damaged, and it does not heal: {}",
        name_shards(damaged), replace_directory_advice));
  for (const auto& [node, shards] : away)
    line(fmt::format(
        "{}: the replica on node {} is missing, because that node is not linked; start it. If its disk is "
        "lost, start it under the same number with an empty data directory: a node with another number "
        "does not take its place",
        name_shards(shards), number(node)));
  for (const auto& [node, shards] : mute)
    line(fmt::format(
        "{}: the replica on node {} does not answer although the node is linked: it halted, or its disk was "
        "replaced and it is being filled; look at /wholez of that node",
        name_shards(shards), number(node)));
  for (const auto& [node, its] : full)
    if (const auto shards = without(its, shortage.shards); !shards.empty())
      line(fmt::format(
          "{}: the disk of node {} has no room for messages, so the replica there is sent none and falls "
          "behind; free space on the disk of its data directory, or enlarge it",
          name_shards(shards), number(node)));
  for (const auto& [node, shards] : forgot)
    line(fmt::format(
        "{}: the replica on node {} has less than it had confirmed: its disk is an older copy, or lost "
        "something. That node fences itself; do what its log and its /readyz say",
        name_shards(shards), number(node)));
  for (const auto& [node, l] : behind)
    line(fmt::format(
        "{}: the replica on node {} is up to {} entries behind, more than {}; it catches up by "
        "itself, so wait. "
        "If the number does not fall, look at that node's disk, whether it has room, and at its link",
        name_shards(l.shards), number(node), l.most, behind_max));
  if (!behind_here.shards.empty())
    line(fmt::format(
        "{}: the replica here has up to {} committed entries to apply, more than {}; wait, and if the number "
        "does not fall, look at the disk of the data directory",
        name_shards(behind_here.shards), behind_here.most, behind_max));
  if (!too_few.empty())
    line(fmt::format("{}: fewer than {} replicas; they are added while enough nodes run and are linked",
                     name_shards(too_few), wanted));
  // With so few nodes, each holds a replica of every shard.
  if (f.nodes <= f.replicas_wanted && members_wanted(f) == f.nodes && f.replicas.size() < f.leaders.size())
    line(fmt::format(
        "this node holds replicas of {} of {} shards; it gets the others while a majority of their nodes "
        "runs and is linked; wait",
        f.replicas.size(), f.leaders.size()));
  if (!filling.empty())
    line(fmt::format("{}: the replica here is being filled; wait", name_shards(filling)));
  if (!f.has_room)
    line(fmt::format(
        "all shards: the disk here has no room for messages, so {}; free space on the disk of the "
        "data directory",
        f.nodes > 1 ? "its replicas fall behind" : "none are stored"));
  if (f.clock_difference_ms != 0)
    line(fmt::format(
        "the clock of this machine is {} s {} those of most other nodes, whose time is used instead; set "
        "it, and let chrony or ntpd keep it",
        std::abs(f.clock_difference_ms) / 1000, f.clock_difference_ms > 0 ? "behind" : "ahead of"));
  if (!out.empty())
    return {false, "not whole:" + out};
  return {true, fmt::format("whole: {} replicas here", f.replicas.size())};
}

std::vector<node_id> absences::due(const std::vector<link_status>& links, clock::time_point now) {
  std::vector<node_id> out;
  for (const auto& l : links) {
    if (l.connected) {
      away_.erase(l.peer);
      continue;
    }
    auto& a = away_.try_emplace(l.peer, absence{now, now + first_after}).first->second;
    if (now < a.tell_at)
      continue;
    out.push_back(l.peer);
    a.tell_at = now + again_after;
  }
  return out;
}

} // namespace parley::cluster

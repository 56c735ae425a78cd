#include "cluster/node/health.hpp"

#include "protocol/values/last_words.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace parley::cluster {
namespace {

using role = core::replica_status::role;

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

std::size_t members_wanted(const health_facts& f) {
  auto wanted = std::max<std::size_t>(1, std::min(f.replicas_wanted, f.nodes));
  // A shard grows in odd steps (reconfiguration.cpp), unless the setting itself is even.
  return wanted % 2 == 0 && wanted < f.replicas_wanted ? wanted - 1 : wanted;
}

} // namespace

admin_source::readiness ready_of(const health_facts& f) {
  if (!f.store_answers)
    return {
        false,
        "not ready: the store has not answered for 2 s, so it waits for the disk; if it goes on, check the "
        "disk of the data directory"};
  const auto linked = linked_nodes(f);
  std::vector<std::size_t> unserved, kept;
  for (std::size_t s = 0; s < f.leaders.size(); ++s)
    if (f.leaders[s] == node_id::none || !linked.contains(f.leaders[s]))
      unserved.push_back(s);
  if (!unserved.empty())
    return {false,
            fmt::format("not ready: {} of {} shards have no leader that this node can reach ({}), so their "
                        "conversations cannot be served until a majority of their nodes runs and is linked",
                        unserved.size(), f.leaders.size(), name_shards(unserved))};
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
  std::map<node_id, std::vector<std::size_t>> away, mute;
  std::vector<std::size_t> too_few, filling, damaged;
  for (const auto& r : f.replicas) {
    const auto shard = std::size_t{number(r.shard)};
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
      break;
    case role::follower:
    case role::candidate:
    case role::sealed:
      break;
    }
  }
  for (const auto& m : f.silent)
    (linked.contains(m.who.node) ? mute : away)[m.who.node].push_back(number(m.shard));
  for (const auto s : f.damaged)
    damaged.push_back(number(s));
  if (!damaged.empty())
    line(fmt::format(
        "{}: a row of the replica here does not match its checksum. Its leader replaces the rows by its "
        "own, as soon as the other replicas are a majority without this one: wait, and start the nodes "
        "that are away. If that is not possible: {}",
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
    line("all shards: the disk here has no room for messages, so its replicas fall behind; free space on the "
         "disk of "
         "the data directory");
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

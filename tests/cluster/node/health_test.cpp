// What /readyz and /wholez decide, and what they say.
#include "cluster/node/health.hpp"

#include <doctest/doctest.h>

using namespace parley;
using namespace parley::cluster;
using namespace std::chrono_literals;

namespace {

using role = core::replica_status::role;

constexpr node_id one{1}, two{2}, three{3};

/// Node 1 of three with two shards; it leads shard 0, and node 2 shard 1.
struct well : health_facts {
  well() {
    self = one;
    leaders = {one, two};
    replicas_wanted = nodes = 3;
    for (std::uint16_t s = 0; s < 2; ++s) {
      core::replica_status r;
      r.shard = shard_id{s};
      r.as = s == 0 ? role::leader : role::follower;
      r.leader = leaders[s];
      r.members = {{one, disk_id{1}}, {two, disk_id{2}}, {three, disk_id{3}}};
      replicas.push_back(r);
    }
    link(two, true);
    link(three, true);
    at = gateway::pulse_clock::time_point{} + 1h;
    without_since.resize(2);
    gateways = {{at - 500ms, at - 1s}, {at - 20ms, at - 20ms}};
  }
  void link(node_id peer, bool up) {
    for (auto& l : links)
      if (l.peer == peer) {
        l.connected = up;
        return;
      }
    link_status l;
    l.peer = peer;
    l.connected = up;
    links.push_back(l);
  }
  void is_ready() {
    const auto now = ready_of(*this);
    CHECK_MESSAGE(now.ready, now.why);
  }
  void is_not_ready(std::initializer_list<std::string_view> words) { says(ready_of(*this), words); }
  void is_not_whole(std::initializer_list<std::string_view> words) { says(whole_of(*this), words); }
  static void says(const admin_source::readiness& now, std::initializer_list<std::string_view> words) {
    CHECK_FALSE(now.ready);
    for (const auto& w : words)
      CHECK_MESSAGE(now.why.find(w) != std::string::npos, now.why, " lacks ", w);
  }
};

} // namespace

TEST_CASE_FIXTURE(well,
                  "a shard whose leader is not known, or not linked, cannot be served through this node") {
  leaders[1] = node_id::none;
  without_since[1] = at - 1h;
  is_not_ready({"1 of 2 shards", "shard 1", "majority"});
  is_not_whole({"shard 1", "no leader", "start the nodes"}); // what its members lack is not known
  leaders[1] = two;
  link(two, false);
  is_not_ready({"shard 1"});
  leaders[1] = three; // it was elected meanwhile
  is_ready();
}

TEST_CASE_FIXTURE(well, "a moment without a leader takes no node out of a load balancer, and more than that "
                        "does, while /wholez tells of each") {
  leaders = {node_id::none, node_id::none}; // both shards were sealed
  without_since = {at, at};
  is_ready();
  is_not_whole({"shards 0, 1", "no leader"});
  at += leader_gap_max - 1ms;
  is_ready();
  leaders[0] = two; // one of them has another leader by now
  without_since[0].reset();
  at += 1ms;
  is_not_ready({"1 of 2 shards", "shard 1"}); // a lost majority is never hidden for longer
  leaders[1] = two;
  link(two, false); // which is lost before the router hears so
  without_since[1].reset();
  is_ready();
  is_not_whole({"shards 0, 1", "no leader"});
}

TEST_CASE_FIXTURE(well, "a node that has just started is not ready before it knows the leaders") {
  leaders = {two, node_id::none};
  without_since[1] = core::leader_gaps{one, 2}.all()[1];
  is_not_ready({"1 of 2 shards", "shard 1"});
}

TEST_CASE_FIXTURE(well, "where full disks are why nothing is stored, they are named, with what to do") {
  full = {two};
  is_ready(); // the two others are a majority
  full = {two, three};
  const std::initializer_list<std::string_view> named{"shards 0, 1: no messages are stored",
                                                      "disks of nodes 2 and 3 have no room", "Free space"};
  is_not_ready(named);
  is_not_whole(named);
  leaders[1] = node_id::none; // nor can anybody be elected
  without_since[1] = at - 1h;
  is_not_ready(named);
  CHECK(ready_of(*this).why.find("leader") == std::string::npos);
  full = {two, three};
  replicas[0].as = role::halted; // its members may be those of a generation that ended
  replicas[0].halted_because = "a row of its log is damaged";
  is_not_ready({"shard 1: no messages are stored"});
  replicas[0].as = role::leader;
  full = {two};
  is_not_ready({"shard 1", "no leader"}); // of which a full disk is not the cause
  full.clear();
  leaders[1] = two;
  without_since[1].reset();
  has_room = false;
  link(three, false);
  is_not_ready({"the disk of node 1 has no room", "its data directory", "Starting node 3"});
  full = {two};
  is_not_ready({"the disks of nodes 1 and 2 have no room"}); // node 3 alone is no majority
  CHECK(ready_of(*this).why.find("node 3") == std::string::npos);
  has_room = true;
  full = {three}; // what it said before it was lost
  is_ready();
  link(two, false);
  is_ready(); // of shard 1 more is to be said once it lasts; no disk that is known is why
  without_since[1] = at - 1h;
  is_not_ready({"shard 1", "no leader"});
}

TEST_CASE_FIXTURE(
    well, "a node without replicas serves as well as any, and one that lacks some is not whole but serves") {
  replicas.clear();
  leaders = {two, three};
  is_ready();
  *static_cast<health_facts*>(this) = well{};
  leaders = {two, two};
  replicas[0].as = role::halted;
  replicas[0].halted_because = "a row of its log is damaged";
  replicas[1].as = role::installing;
  is_ready();
  is_not_whole({"shard 0", "a row of its log is damaged", "newest parleyd", "shard 1", "being filled"});
}

TEST_CASE_FIXTURE(
    well, "a gateway thread that does not turn, or does not accept who waits, is named with the time") {
  is_ready();
  CHECK(standstill_of(gateways, at).empty());
  at += gateway_still_max - 1s;
  CHECK_MESSAGE(standstill_of(gateways, at).empty(), standstill_of(gateways, at));
  at += 500ms;
  is_not_ready({"gateway thread 1 of 2", "accepted", "for 10 s", "restart"});
  gateways[0].drains = true; // it need not accept any more
  is_ready();
  at += 3s;
  is_not_ready({"gateway thread 1 of 2 has not turned for 13 s", "and gateway thread 2 of 2 has not turned"});
  CHECK(whole_of(*this).ready); // the replicas do not depend on it
}

TEST_CASE_FIXTURE(
    well, "after the process was stopped for an hour, the first beat of each gateway ends the alarm") {
  at += 1h;
  is_not_ready({"thread 1", "thread 2"});
  for (auto& g : gateways)
    g.loop = g.accepting = at;
  is_ready();
  at -= 5ms; // the page was asked for while they beat
  is_ready();
}

TEST_CASE_FIXTURE(
    well, "a node without room is ready once other nodes lead its shards, and whole when it has room") {
  has_room = false;
  is_not_ready({"no room", "shard 0", "free space"});
  is_not_whole({"no room", "free space"});
  leaders[0] = three;
  replicas[0].as = role::follower;
  is_ready();
  is_not_whole({"no room", "fall behind"});
  nodes = replicas_wanted = 1; // nobody is ahead of it
  is_not_whole({"no room", "none are stored"});
}

TEST_CASE_FIXTURE(well, "whoever leads a shard is not whole while a member's disk is full, and says which") {
  full = {two};
  is_ready(); // the others are a majority
  is_not_whole({"shard 0: the disk of node 2 has no room", "falls behind", "free space"});
  CHECK(whole_of(*this).why.find("shard 1") == std::string::npos); // of which its own leader tells
  link(two, false);                                                // what it said is old
  silent = {{shard_id{0}, {two, disk_id{2}}}};
  CHECK(whole_of(*this).why.find("no room") == std::string::npos);
  link(two, true);
  silent.clear();
  full = {two, three}; // which is said once
  CHECK(whole_of(*this).why.find("the disk of node 2") == std::string::npos);
  full.clear();
  CHECK(whole_of(*this).ready);
}

TEST_CASE_FIXTURE(well, "a node whose certificate clients refuse is not ready, and says how to renew it") {
  client_certificate_ended = true;
  is_not_ready({"certificate for clients", "renew it", "SIGHUP"});
}

TEST_CASE_FIXTURE(well, "a node whose clock is wrong serves by the others' time, and says how wrong it is") {
  clock_difference_ms = -3'600'000;
  is_ready();
  is_not_whole({"3600 s ahead", "set it"});
  clock_difference_ms = 90'000;
  is_not_whole({"90 s behind"});
}

TEST_CASE_FIXTURE(well, "a store that does not answer is said to wait for its disk, whatever else is known") {
  store_answers = false;
  replicas.clear();
  is_not_ready({"store has not answered", "disk"});
  is_not_whole({"store has not answered", "disk"});
}

TEST_CASE_FIXTURE(
    well, "a missing node, a shard with too few members and a damaged row are each named with advice") {
  CHECK(whole_of(*this).ready);
  CHECK(missing_replicas(*this) == 0);
  silent = {{shard_id{0}, {three, disk_id{3}}}};
  is_ready();
  is_not_whole({"shard 0", "replica on node 3 does not answer although", "replaced"});
  CHECK(missing_replicas(*this) == 1); // of shard 0; its own leader reports shard 1
  link(three, false);
  is_not_whole({"shard 0", "node 3", "same number with an empty data directory"});
  link(three, true);
  silent.clear();
  replicas[0].members.resize(1);
  is_not_whole({"shard 0: fewer than 3 replicas"});
  CHECK(missing_replicas(*this) == 2);
  replicas[0].members = replicas[1].members;
  damaged = {shard_id{1}};
  is_ready();
  is_not_whole({"shard 1: a row of the replica here does not match its checksum", "majority without this one",
                "empty none", "start the nodes that are away", "set the data directory aside"});
}

TEST_CASE_FIXTURE(
    well, "a replica that is far behind is named with its node and the bound, and one under load is not") {
  lagging = {{shard_id{0}, {two, disk_id{2}}, behind_max}};
  replicas[1].commit_index = 100'000;
  replicas[1].applied_index = replicas[1].commit_index - behind_max;
  CHECK_MESSAGE(whole_of(*this).ready, whole_of(*this).why);
  CHECK(replicas_far_behind(*this) == 0);
  lagging[0].behind = 90'001;
  is_ready();
  is_not_whole({"shard 0: the replica on node 2 is up to 90001 entries behind, more than 8192", "wait"});
  CHECK(replicas_far_behind(*this) == 1);
  lagging.clear();
  --replicas[1].applied_index;
  is_not_whole({"shard 1: the replica here has up to 8193 committed entries to apply", "disk"});
  CHECK(replicas_far_behind(*this) == 1);
  replicas[1].as = role::halted; // of which more is to be said
  CHECK(whole_of(*this).why.find("to apply") == std::string::npos);
}

TEST_CASE_FIXTURE(well,
                  "a replica that forgot, and one that a leader contradicts, is not whole, with advice") {
  lagging = {{shard_id{0}, {two, disk_id{2}}, 1, true}};
  is_ready();
  is_not_whole({"shard 0: the replica on node 2 has less than it had confirmed", "fences itself"});
  lagging.clear();
  CHECK(whole_of(*this).ready);
  diverged = {shard_id{1}};
  is_not_ready({"diverged: ", "1 of 2 shards", "the first is 1", "Keep this node's data directory"});
  is_not_whole({"1 of 2 shards", "Keep this node's data directory"});
}

TEST_CASE_FIXTURE(
    well, "a node with an empty disk is not whole where every node holds all shards, and may be elsewhere") {
  replicas.clear();
  leaders = {two, three};
  is_ready();
  is_not_whole({"replicas of 0 of 2 shards", "wait"});
  nodes = 4;
  CHECK(whole_of(*this).ready);
}

TEST_CASE_FIXTURE(well,
                  "one node of a cluster of one is whole, and two nodes hold one replica of each shard") {
  links.clear();
  nodes = 1;
  leaders = {one, one};
  for (auto& r : replicas)
    r.as = role::leader, r.members.resize(1);
  CHECK(whole_of(*this).ready);
  nodes = 2; // shards grow in odd steps
  CHECK(whole_of(*this).ready);
}

TEST_CASE_FIXTURE(well, "a page names ten shards and counts the others") {
  leaders.assign(4096, node_id::none);
  without_since.assign(4096, at - 1h);
  const auto now = ready_of(*this);
  CHECK(now.why.size() < 500);
  CHECK(now.why.find("0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 4086 more") != std::string::npos);
}

TEST_CASE_FIXTURE(
    well, "the operator is told of a node that is away for a minute, once an hour, and anew after it came") {
  absences a;
  const auto t = absences::clock::time_point{} + 1h;
  link(three, false);
  CHECK(a.due(links, t).empty());
  CHECK(a.due(links, t + 59s).empty());
  CHECK(a.due(links, t + 61s) == std::vector{three});
  CHECK(a.due(links, t + 30min).empty());
  CHECK(a.due(links, t + 62min) == std::vector{three});
  link(three, true);
  CHECK(a.due(links, t + 63min).empty());
  link(three, false);
  CHECK(a.due(links, t + 64min).empty());
  CHECK(a.due(links, t + 66min) == std::vector{three});
}

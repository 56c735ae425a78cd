#pragma once
// Nodes of a replicated list in one thread: a network that delivers in order or not at all,
// virtual disks and time.
#include "cluster/replication/replica_record.hpp"
#include "cluster/replication/replication.hpp"
#include "tests/support/virtual_environment.hpp"

#include <algorithm>
#include <deque>
#include <doctest/doctest.h>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace parley::test {

using namespace cluster;

constexpr shard_id s0{0};
constexpr shard_id s1{1};

inline member on(std::uint64_t node, std::uint64_t disk = 0) {
  return {node_id{node}, disk_id{disk == 0 ? node * 100 : disk}};
}

/// Keeps each command as a row: its index as key.
struct list_machine : state_machine {
  std::vector<std::pair<shard_id, std::string>> applied;
  std::set<std::uint64_t> answered;
  std::multiset<shard_id> replacements;

  std::set<std::string> unknown; ///< commands that this machine halts at
  bool reads_all = false;        ///< each command reads all rows

  std::optional<std::string> apply(storage::shard_txn& state, const log_position& at,
                                   std::string_view command, std::uint64_t ticket) override {
    if (unknown.contains(std::string{command}))
      return "a command of the log was written by a newer version of this program";
    std::uint64_t n = 0;
    if (reads_all)
      state.ascend({}, {}, [](std::string_view, std::string_view) { return storage::scan::more; });
    state.descend({}, {}, [&](std::string_view key, std::string_view) {
      n = std::stoull(std::string{key});
      return storage::scan::stop;
    });
    if (state.status() != ec::none)
      return "a row of its state does not match its checksum";
    auto key = std::to_string(n + 1);
    key.insert(0, 8 - key.size(), '0');
    state.put(key, command);
    applied.emplace_back(at.shard, command);
    if (ticket != 0)
      CHECK(answered.insert(ticket).second);
    return std::nullopt;
  }
  void replaced(shard_id shard) override { replacements.insert(shard); }
};

struct test_node : peer_links {
  explicit test_node(member m) : who{m} {}
  member who;
  test::virtual_environment env;
  std::unique_ptr<list_machine> machine;
  std::unique_ptr<replication> engine;
  std::set<std::uint64_t> read;
  std::map<std::uint64_t, ec> refused;
  std::vector<generation_sealed> seals;
  std::vector<replica_halted> halts;
  std::uint64_t refused_messages = 0, followers_forgot = 0;
  std::vector<disk_forgot> forgets;
  std::vector<replicas_diverged> divergences;
  std::vector<shard_id> damages, mends;
  int ends = 0;           ///< by a damaged row that a command has to read
  std::vector<bool> slow; ///< its disk has become so, or ceased to be
  std::map<shard_id, leadership> leads;
  std::vector<storage::durable> syncs; // what its turns asked for
  int ticks = 0;
  bool hangs = false; ///< its link receives, and its store takes nothing
  std::function<std::optional<std::size_t>(node_id)> link_to;

  std::optional<std::size_t> waiting(node_id peer) const override { return link_to(peer); }

  std::vector<std::string> rows(shard_id shard) {
    auto txn = env.begin_read();
    std::vector<std::string> out;
    if (const auto slot = replication::state_slot(*txn, shard)) {
      storage::shard_view view{*txn, shard, *slot};
      view.ascend({}, {}, [&](std::string_view, std::string_view value) {
        out.emplace_back(value);
        return storage::scan::more;
      });
    }
    return out;
  }
};

/// Nodes in one thread, with a network that delivers in order or not at all, and virtual time.
struct test_cluster {
  std::map<node_id, std::unique_ptr<test_node>> nodes;
  std::map<std::pair<node_id, node_id>, std::deque<std::string>> wires;
  std::map<std::pair<node_id, node_id>, std::size_t> built; ///< bytes of frames, sent or not
  std::set<node_id> cut;
  std::int64_t now = 1000;
  std::uint64_t tickets = 0;
  replication_config config;

  test_node& add(member m) {
    auto& n = nodes[m.node];
    n = std::make_unique<test_node>(m);
    return *n;
  }
  test_node& at(std::uint64_t node) { return *nodes.at(node_id{node}); }

  /// Why the node's replicas cannot be loaded.
  std::optional<storage::disk_fault> load(test_node& n) {
    auto c = config;
    c.node = n.who.node;
    c.disk = n.who.disk;
    REQUIRE(!validate(c));
    n.machine = std::make_unique<list_machine>();
    n.link_to = [this, from = n.who.node](node_id to) { return waiting(from, to); };
    n.engine = std::make_unique<replication>(c, *n.machine);
    return n.engine->open(n.env, n, mono_ms{now});
  }
  void start(test_node& n, std::vector<member> members = {}, std::vector<shard_id> shards = {s0}) {
    if (!members.empty()) {
      auto txn = n.env.begin_write();
      for (auto s : shards)
        replication::found(*txn, s, members, n.who);
      REQUIRE(txn->commit() == ec::none);
    }
    const auto fault = load(n);
    REQUIRE_MESSAGE(!fault, (fault ? fault->what : ""));
  }
  std::optional<std::size_t> waiting(node_id from, node_id to) const {
    const auto peer = nodes.find(to);
    if (cut.contains(from) || cut.contains(to) || peer == nodes.end() || !peer->second->engine)
      return std::nullopt;
    std::size_t bytes = 0;
    if (peer->second->hangs)
      return bytes;
    if (const auto wire = wires.find({from, to}); wire != wires.end())
      for (const auto& f : wire->second)
        bytes += f.size();
    return bytes;
  }
  void crash(test_node& n) {
    n.engine.reset();
    n.env.crash();
    n.halts.clear();
    n.forgets.clear();
    for (auto& [ends, wire] : wires)
      if (ends.first == n.who.node || ends.second == n.who.node)
        wire.clear();
    for (auto& [id, other] : nodes)
      if (other->engine)
        other->engine->peer_reset(n.who.node);
  }
  /// Sessions with all others begin, as after a start.
  void meet(test_node& n) {
    for (auto& [id, other] : nodes) {
      if (other->engine && id != n.who.node && !cut.contains(id)) {
        other->engine->peer_begun(n.who.node);
        n.engine->peer_begun(id);
      }
    }
  }
  void take(test_node& n, turn t) {
    for (auto& f : t.frames) {
      built[{n.who.node, f.to}] += f.bytes.size();
      if (!cut.contains(f.to) && !cut.contains(n.who.node))
        wires[{n.who.node, f.to}].push_back(std::move(f.bytes));
    }
    for (auto& r : t.news.refusals) {
      CHECK(!n.refused.contains(r.ticket));
      n.refused[r.ticket] = r.why;
    }
    for (auto& r : t.news.reads)
      n.read.insert(r.ticket);
    for (auto& s : t.news.seals)
      n.seals.push_back(s);
    for (auto& h : t.news.halts)
      n.halts.push_back(h);
    n.refused_messages += t.news.refused_messages;
    n.followers_forgot += t.news.followers_forgot;
    n.forgets.insert(n.forgets.end(), t.news.forgets.begin(), t.news.forgets.end());
    n.divergences.insert(n.divergences.end(), t.news.divergences.begin(), t.news.divergences.end());
    n.damages.insert(n.damages.end(), t.news.damaged.begin(), t.news.damaged.end());
    n.mends.insert(n.mends.end(), t.news.mended.begin(), t.news.mended.end());
    if (t.news.disk_slow)
      n.slow.push_back(*t.news.disk_slow);
    for (auto& l : t.news.leaderships)
      n.leads[l.shard] = l;
  }
  void turn_of(test_node& n) {
    take(n, n.engine->begin_turn(mono_ms{now}));
    if (n.engine->wants_write()) {
      auto txn = n.env.begin_write();
      const auto when = n.engine->write(*txn, n.env.room());
      if (const auto shard = n.engine->unreadable()) {
        txn.reset();
        txn = n.env.begin_write();
        replication::remember_unreadable(*txn, *shard);
        REQUIRE(txn->commit() == ec::none);
        ++n.ends;
        return crash(n);
      }
      n.syncs.push_back(when);
      REQUIRE(txn->commit(when) == ec::none);
    }
    take(n, n.engine->end_turn(mono_ms{now}));
  }
  void step() {
    take_inputs();
    for (auto& [id, n] : nodes)
      if (n->engine && !n->hangs)
        turn_of(*n);
  }
  void take_inputs() {
    ++now;
    for (auto& [id, n] : nodes)
      if (n->engine && !n->hangs && mono_ms{now} >= n->engine->next_tick()) {
        ++n->ticks;
        n->engine->tick(mono_ms{now});
      }
    for (auto& [ends, wire] : wires) {
      auto to = nodes.find(ends.second);
      if (to != nodes.end() && to->second->hangs)
        continue;
      auto arrived = std::exchange(wire, {});
      if (to == nodes.end() || !to->second->engine || cut.contains(ends.first) || cut.contains(ends.second))
        continue;
      for (auto& bytes : arrived)
        to->second->engine->receive(ends.first, bytes, mono_ms{now});
    }
  }
  template <class F>
  bool until(F done, int ms = 20'000) {
    for (int i = 0; i < ms; ++i) {
      if (done())
        return true;
      step();
    }
    return done();
  }
  test_node* leader(shard_id shard = s0) {
    for (auto& [id, n] : nodes)
      if (n->engine && !n->hangs && !cut.contains(id))
        if (auto l = n->leads.find(shard); l != n->leads.end() && l->second.ready)
          if (auto s = n->engine->status(shard); s && s->as == replica_status::role::leader)
            return n.get();
    return nullptr;
  }
  test_node& settle(shard_id shard = s0) {
    REQUIRE(until([&] { return leader(shard) != nullptr; }));
    return *leader(shard);
  }
  std::uint64_t propose(test_node& n, std::string command, shard_id shard = s0) {
    n.engine->propose(shard, ++tickets, std::move(command));
    return tickets;
  }
  /// Proposes until some leader applied it. Only after a certain "not stored" is it proposed again.
  void commit(const std::string& command, shard_id shard = s0) {
    for (int attempt = 0; attempt < 20; ++attempt) {
      auto& n = settle(shard);
      const auto t = propose(n, command, shard);
      REQUIRE(until([&] { return n.machine->answered.contains(t) || n.refused.contains(t); }));
      if (n.machine->answered.contains(t))
        return;
      REQUIRE(n.refused[t] != ec::timed_out);
      step();
    }
    FAIL("refused for ever");
  }
  bool same(std::size_t rows, shard_id shard = s0) {
    std::vector<std::string> first;
    for (auto& [id, n] : nodes) {
      if (!n->engine || cut.contains(id))
        continue;
      auto mine = n->rows(shard);
      if (mine.size() != rows || (!first.empty() && mine != first))
        return false;
      first = mine;
    }
    return true;
  }
};

struct three_nodes : test_cluster {
  std::vector<member> members{on(1), on(2), on(3)};
  three_nodes() { build(); }
  void build(std::vector<shard_id> shards = {s0}) {
    nodes.clear();
    wires.clear();
    for (auto m : members)
      start(add(m), members, shards);
  }
  /// Another node than these.
  test_node& other_than(const test_node& a, const test_node* b = nullptr) {
    for (auto& [id, n] : nodes)
      if (n.get() != &a && n.get() != b)
        return *n;
    FAIL("no other node");
    return *nodes.begin()->second;
  }
  void wait(int ms) {
    until([] { return false; }, ms);
  }
};

/// Three nodes that say how long their syncs take.
struct paced_disks : three_nodes {
  std::map<node_id, std::int64_t> takes; ///< milliseconds of a sync, where it is not 5
  void pass(int ms) {
    for (int i = 0; i < ms; ++i) {
      step();
      if (now % 50 == 0)
        for (auto& [id, n] : nodes)
          if (n->engine)
            n->engine->synced(std::chrono::milliseconds{takes.contains(id) ? takes[id] : 5}, mono_ms{now});
    }
  }
};

} // namespace parley::test

#include "actors/router.hpp"

#include "actors/answers.hpp"
#include "actors/core/peer_payload.hpp"
#include "actors/core/shard_leaders.hpp"
#include "protocol/values/overloaded.hpp"
#include "protocol/values/planted_bugs.hpp"

#include <algorithm>
#include <caf/stateful_actor.hpp>
#include <deque>
#include <map>
#include <set>

namespace parley {
namespace {

using clock_point = std::chrono::steady_clock::time_point;

/// A call of ours that another node answers.
struct forwarded {
  asker who;
  node_id to{};
  clock_point deadline{};
};
/// A call of another node that is answered here.
struct hosted {
  node_id from{};
  std::uint64_t number = 0;
  core::call_kind kind{};
  clock_point deadline{};
};
struct parked {
  routed_call call;
  std::size_t bytes = 0;
  clock_point deadline{};
};

struct local_session {
  session_here is;
  bool waits = false; ///< in `router_state::to_rehome`
};

/// What a full link did not take for a session of another node.
struct missed_push {
  inbox_pos last{};    ///< of the rows; they are in storage
  ec close = ec::none; ///< the session is to be closed
};

struct router_state {
  static inline const char* name = "router";
  router_config config;
  router_wiring wiring;
  core::shard_leaders leaders;
  core::leader_gaps gaps;
  std::set<node_id> peers;      ///< those with which a session has begun
  std::set<node_id> full;       ///< nodes that said last that their disks have no room
  std::set<node_id> draining;   ///< nodes that said that they are about to end
  core::room_payload said_room; ///< what this node said last to all of its peers
  clock_point announce_at{};
  std::uint64_t last_number = 0;
  std::unordered_map<std::uint64_t, forwarded> forwards;
  std::unordered_map<std::uint64_t, hosted> guests;
  std::deque<parked> waiting; ///< oldest first
  std::size_t waiting_bytes = 0;
  std::unordered_map<std::uint64_t, local_session> sessions; ///< by their number
  std::deque<std::uint64_t> to_rehome; ///< sessions, each once, that are to announce themselves again
  clock_point rehomed_by{};            ///< when the last of them is to be told
  std::map<core::connection_ref, missed_push> missed;
  core::kept_answers kept{{}};
};

using self_ptr = wired_router_actor::stateful_pointer<router_state>;

/// What one handler sends to other nodes: the items of one kind for one peer share a payload, as far as the
/// bound of a payload allows.
class outgoing {
public:
  explicit outgoing(self_ptr self) : st_{self->state}, now_{self->clock().now()} {}
  ~outgoing() {
    for (auto& [peer, p] : calls_)
      send(peer, std::move(p), [this](const auto& items) { refuse(items); });
    for (auto& [peer, p] : answers_)
      send(peer, std::move(p), [this, peer = peer](auto& items) {
        count_unsent();
        keep(peer, items);
      });
    for (auto& [peer, p] : deliveries_)
      send(peer, std::move(p), [this](const auto& items) {
        count_unsent();
        miss(items);
      });
  }
  void call(node_id to, std::uint64_t number, core::call what) {
    calls_[to].items.push_back({number, std::move(what)});
  }
  void answer(node_id to, std::uint64_t number, core::answer what) {
    answers_[to].items.push_back({number, std::move(what)});
  }
  void deliver(delivery d) {
    deliveries_[d.to.node].items.push_back(
        {d.to, d.after, std::move(d.rows), d.close, core::age_us(d.applied_at, now_)});
  }

private:
  template <class Payload, class Unsent>
  void send(node_id peer, Payload p, Unsent unsent) {
    core::peer_payload whole{std::move(p)};
    auto bytes = core::encode(whole);
    auto& items = std::get<Payload>(whole).items;
    if (bytes.size() > st_.config.payload_bytes_max && items.size() > 1) {
      const auto middle = items.begin() + static_cast<std::ptrdiff_t>(items.size() / 2);
      Payload rest;
      rest.items.assign(std::make_move_iterator(middle), std::make_move_iterator(items.end()));
      items.erase(middle, items.end());
      send(peer, std::move(std::get<Payload>(whole)), unsent);
      send(peer, std::move(rest), unsent);
    } else if (!st_.wiring.peers->send(peer, std::move(bytes))) {
      unsent(items);
    }
  }
  /// These calls were never sent, so they are certainly not stored.
  void refuse(const std::vector<core::forwarded_call>& calls) {
    answers out;
    for (const auto& c : calls) {
      auto f = st_.forwards.extract(c.number);
      if (!f.empty())
        out.refuse(f.mapped().who, ec::unavailable, 50);
    }
  }
  void keep(node_id peer, std::vector<core::forwarded_answer>& items) {
    if (st_.peers.contains(peer)) // else it has forgotten what it asked
      for (auto& a : items)
        st_.kept.keep(peer, a.number, std::move(a.what));
  }
  /// The rows are in storage, so only what a session has to know is kept: how far it should be. If the peer
  /// is gone, its sessions announce themselves again when it is back.
  void miss(const std::vector<core::forwarded_delivery>& items) {
    for (const auto& d : items) {
      if (!st_.peers.contains(d.to.node) ||
          (st_.missed.size() >= st_.config.missed_max && !st_.missed.contains(d.to)))
        continue;
      auto& m = st_.missed[d.to];
      m.last = std::max(m.last, d.rows.empty() ? d.after : d.rows.back().pos);
      if (d.close != ec::none)
        m.close = d.close;
    }
  }
  /// Nothing is lost: an answer that is not kept is a call that times out, and a session that misses rows pulls
  /// them from its inbox.
  void count_unsent() {
    if (st_.config.counters)
      add(st_.config.counters->payloads_unsent);
  }

  router_state& st_;
  clock_point now_;
  std::unordered_map<node_id, core::calls_payload> calls_;
  std::unordered_map<node_id, core::answers_payload> answers_;
  std::unordered_map<node_id, core::deliveries_payload> deliveries_;
};

/// Hands calls to the shards that lead here, to the nodes that lead elsewhere, or parks them.
class dispatch {
public:
  explicit dispatch(self_ptr self) : self_{self}, st_{self->state}, out_{self} {}
  ~dispatch() {
    for (auto& [shard, batch] : local_)
      caf::anon_send(st_.wiring.shards.at(shard), std::move(batch));
  }

  void operator()(routed_call c) {
    const auto shard = static_cast<std::uint16_t>(number(core::home(c.what, st_.config.shards)));
    if (shard >= st_.leaders.size()) {
      answers_.refuse(c, ec::bad_request);
      return;
    }
    const auto leader = st_.leaders.of(shard_id{shard});
    if (leader == st_.config.node) {
      local_[shard].calls.push_back(std::move(c));
    } else if (leader != node_id::none) {
      forward(leader, std::move(c));
    } else if (!park(c)) {
      answers_.refuse(c, ec::unavailable, 200);
    }
  }

private:
  /// A call may hold a body, or a command with many: what waits is bounded in bytes, too.
  bool park(routed_call& c) {
    const auto bytes = core::encode(c.what).size();
    if (st_.waiting.size() >= st_.config.parked_max ||
        st_.waiting_bytes + bytes > st_.config.parked_bytes_max)
      return false;
    st_.waiting_bytes += bytes;
    st_.waiting.push_back({std::move(c), bytes, self_->clock().now() + st_.config.park_for});
    return true;
  }
  void forward(node_id leader, routed_call c) {
    if (st_.forwards.size() >= st_.config.forwarded_max) {
      count(st_.config.refused, &refused_calls::calls_to_nodes);
      return answers_.refuse(c, ec::overloaded, 200);
    }
    const auto n = ++st_.last_number;
    st_.forwards.emplace(n, forwarded{asker{c}, leader, self_->clock().now() + st_.config.answer_within});
    out_.call(leader, n, std::move(c.what));
  }
  self_ptr self_;
  router_state& st_;
  outgoing out_;
  answers answers_;
  std::unordered_map<std::uint16_t, call_batch> local_;
};

void deliver_here(router_state& st, std::vector<delivery> items) {
  for (auto& d : items) {
    if (d.to.process != st.config.process && !planted("push-to-later-process"))
      continue; // it was for an earlier process of this node
    auto i = st.sessions.find(d.to.number);
    if (i == st.sessions.end())
      continue;
    delivery_batch one;
    one.deliveries.push_back(std::move(d));
    caf::anon_send(i->second.is.it, std::move(one));
  }
}

void unpark(self_ptr self) {
  auto& st = self->state;
  auto waiting = std::exchange(st.waiting, {});
  dispatch to{self};
  for (auto& p : waiting) {
    if (st.leaders.of(core::home(p.call.what, st.config.shards)) == node_id::none) {
      st.waiting.push_back(std::move(p));
    } else {
      st.waiting_bytes -= p.bytes;
      to(std::move(p.call));
    }
  }
}

// --- who leads ---------------------------------------------------------------------------------------------

/// An announcement that does not arrive is repeated later.
void announce(router_state& st, const std::set<node_id>& to, const core::leads_payload& leads) {
  if (leads.shards.empty() || !st.wiring.peers)
    return;
  const auto bytes = core::encode(core::peer_payload{leads});
  for (const auto peer : to)
    st.wiring.peers->send(peer, bytes);
}

/// One that is late by a second changes nothing: a minute is believed.
void tell_time(router_state& st, const std::set<node_id>& to) {
  if (!st.config.clock || !st.wiring.peers)
    return;
  const auto bytes = core::encode(core::peer_payload{core::clock_payload{st.config.clock->uncorrected()}});
  for (const auto peer : to)
    st.wiring.peers->send(peer, bytes);
}

core::room_payload room_of(const router_state& st) {
  const auto is = [](const std::atomic<bool>* flag, bool otherwise) {
    return static_cast<std::uint8_t>(flag ? flag->load(std::memory_order_relaxed) : otherwise);
  };
  return {is(st.config.has_room, true), is(st.config.drains, false)};
}

void tell_room(router_state& st, const std::set<node_id>& to, const core::room_payload& room) {
  if (!st.config.has_room || !st.wiring.peers)
    return;
  const auto bytes = core::encode(core::peer_payload{room});
  for (const auto peer : to)
    st.wiring.peers->send(peer, bytes);
}

/// To be called whenever a leader, a session with a peer, or the set of full or of draining nodes has changed.
void show(self_ptr self) {
  auto& st = self->state;
  const auto now = self->clock().now();
  st.gaps.look(st.leaders.all(), st.peers, now);
  if (st.config.counters)
    st.config.counters->cluster.set({st.leaders.all(), st.gaps.all(), st.full, st.draining, now});
}

void note_room(self_ptr self, node_id peer, const core::room_payload& said) {
  auto& st = self->state;
  const auto changes = [peer](std::set<node_id>& nodes, bool is_one) {
    return is_one ? nodes.insert(peer).second : nodes.erase(peer) != 0;
  };
  const bool full = changes(st.full, said.has_room == 0);
  const bool drains = changes(st.draining, said.drains != 0);
  if (full || drains)
    show(self);
}

void leaders_changed(self_ptr self, const core::shard_leaders::changes& now) {
  auto& st = self->state;
  if (!now.any)
    return;
  show(self);
  for (auto& [n, s] : st.sessions)
    if (now.moved[number(home_shard(s.is.user, st.config.shards))])
      caf::anon_send(s.is.it, atom::rehome_v);
  announce(st, st.peers, now.mine);
  unpark(self);
}

void count_refused(router_state& st) {
  if (st.config.counters)
    add(st.config.counters->payloads_refused);
}

/// Calls of another node. They are answered here or refused, never forwarded again: so there are no loops.
void host(self_ptr self, node_id peer, core::calls_payload& calls) {
  auto& st = self->state;
  outgoing back{self};
  dispatch to{self};
  for (auto& c : calls.items) {
    if (st.leaders.of(core::home(c.what, st.config.shards)) != st.config.node) {
      back.answer(peer, c.number, core::refusal(c.what, ec::not_leader, 20));
      continue;
    }
    // The proposed bytes become a log entry unchanged, and a replica that cannot read an entry halts.
    if (const auto* p = std::get_if<core::propose>(&c.what);
        p && !core::decode_whole<core::command>(p->command).it) {
      count_refused(st);
      back.answer(peer, c.number, core::refusal(c.what, ec::bad_request));
      continue;
    }
    if (st.guests.size() >= st.config.hosted_max) {
      count(st.config.refused, &refused_calls::calls_of_nodes);
      back.answer(peer, c.number, core::refusal(c.what, ec::overloaded, 200));
      continue;
    }
    const auto n = ++st.last_number;
    st.guests.emplace(n,
                      hosted{peer, c.number, kind_of(c.what), self->clock().now() + st.config.hosted_within});
    to(routed_call{n, caf::actor_cast<answer_sink>(self), std::move(c.what)});
  }
}

/// Answers to calls that were forwarded. An answer is ignored if this peer was not asked, or if it is of
/// another kind than the call: the call keeps waiting, because the right answer may still arrive.
void take_answers(router_state& st, node_id peer, core::answers_payload& got) {
  answers out;
  for (auto& a : got.items) {
    const auto f = st.forwards.find(a.number);
    if (f == st.forwards.end()) // overdue, or answered before
      continue;
    const auto& [who, to, deadline] = f->second;
    if (to != peer || who.kind != kind_of(a.what)) {
      count_refused(st);
      continue;
    }
    out.add(who.reply_to, who.number, std::move(a.what));
    st.forwards.erase(f);
  }
}

void take_deliveries(self_ptr self, core::deliveries_payload& pushed) {
  std::vector<delivery> items;
  const auto now = self->clock().now();
  for (auto& d : pushed.items)
    items.push_back({d.to, d.after, std::move(d.rows), d.close, core::aged(d.age_us, now)});
  deliver_here(self->state, std::move(items));
}

/// What cannot be read, or is of a kind that this node does not know, is refused and counted for the
/// operator: the peer runs another version, or has a fault. Of a payload only the unknown items are refused.
void from_peer(self_ptr self, node_id peer, std::string_view bytes) {
  auto& st = self->state;
  std::uint64_t skipped = 0; // unknown calls, answers and deliveries beside known ones
  auto payload = core::decode<core::peer_payload>(bytes, skipped);
  if (!payload || skipped != 0)
    count_refused(st);
  if (!payload || (planted("announcement-ignored") && std::holds_alternative<core::leads_payload>(*payload)))
    return;
  std::visit(overloaded{
                 [&](core::calls_payload& p) { host(self, peer, p); },
                 [&](core::answers_payload& p) { take_answers(st, peer, p); },
                 [&](core::deliveries_payload& p) { take_deliveries(self, p); },
                 [&](core::leads_payload& p) { leaders_changed(self, st.leaders.learn(peer, p)); },
                 [&](const core::clock_payload& p) {
                   if (st.config.clock)
                     st.config.clock->heard(peer, p.at, self->clock().now());
                 },
                 [&](const core::room_payload& p) { note_room(self, peer, p); },
             },
             *payload);
}

void lose_peer(self_ptr self, node_id peer) {
  auto& st = self->state;
  answers out;
  for (auto i = st.forwards.begin(); i != st.forwards.end();) {
    if (i->second.to == peer) {
      out.refuse(i->second.who, ec::timed_out, 20);
      i = st.forwards.erase(i);
    } else {
      ++i;
    }
  }
  std::erase_if(st.guests, [&](const auto& g) { return g.second.from == peer; });
  std::erase_if(st.missed, [&](const auto& m) { return m.first.node == peer; });
  st.kept.forget(peer);
  st.peers.erase(peer);
  // It says so again when its session begins; if it never does, its disk is not full, and it does not drain.
  st.full.erase(peer);
  st.draining.erase(peer);
  show(self);
  // The lost peer stays the known leader of its shards. Until an election names another, calls to it are
  // refused at once.
}

/// What `peer` pushed to sessions here was lost with the last session, if it had not arrived. Nobody would
/// notice before the next push or heartbeat, so they announce themselves again. Not earlier, because without
/// the peer they would ask in vain; if another node leads by now, they have heard so.
void rehome_users_of(self_ptr self, node_id peer) {
  auto& st = self->state;
  for (auto& [n, s] : st.sessions) {
    if (s.waits || st.leaders.of(home_shard(s.is.user, st.config.shards)) != peer)
      continue;
    s.waits = true;
    st.to_rehome.push_back(n);
  }
  st.rehomed_by = self->clock().now() + st.config.rehome_within;
}

/// Of those that wait, a share at each sweep: all at once would be two calls per session in one moment.
void rehome_some(router_state& st, clock_point now) {
  const auto every = st.config.sweep_every;
  const auto left = std::max<clock_point::duration>(st.rehomed_by - now, {});
  const auto sweeps = static_cast<std::size_t>(left / every) + 1;
  for (auto n = (st.to_rehome.size() + sweeps - 1) / sweeps; n > 0; --n) {
    const auto i = st.sessions.find(st.to_rehome.front());
    st.to_rehome.pop_front();
    if (i == st.sessions.end())
      continue;
    i->second.waits = false;
    caf::anon_send(i->second.is.it, atom::rehome_v);
  }
}

/// A push without rows says how far the session should be, so it fetches what it missed.
void tell_missed(self_ptr self) {
  outgoing out{self};
  for (const auto& [to, m] : std::exchange(self->state.missed, {}))
    out.deliver({to, m.last, {}, m.close, {}});
}

/// What the links still do not take is kept again.
void offer_kept(self_ptr self) {
  outgoing out{self};
  for (auto& k : self->state.kept.take())
    out.answer(k.to, k.number, std::move(k.what));
}

void meet_peer(self_ptr self, node_id peer) {
  auto& st = self->state;
  st.peers.insert(peer);
  show(self);
  announce(st, {peer}, st.leaders.led_here());
  tell_time(st, {peer});
  tell_room(st, {peer}, room_of(st));
  rehome_users_of(self, peer);
}

void sweep(self_ptr self) {
  auto& st = self->state;
  const auto now = self->clock().now();
  if (st.announce_at <= now) {
    st.announce_at = now + st.config.announce_every;
    announce(st, st.peers, st.leaders.led_here());
    tell_time(st, st.peers);
    st.said_room = room_of(st);
    tell_room(st, st.peers, st.said_room);
  } else if (const auto room = room_of(st); room != st.said_room) {
    st.said_room = room;
    tell_room(st, st.peers, room);
  }
  rehome_some(st, now);
  tell_missed(self);
  offer_kept(self);
  answers out;
  while (!st.waiting.empty() && st.waiting.front().deadline <= now) {
    out.refuse(st.waiting.front().call, ec::unavailable, 100);
    st.waiting_bytes -= st.waiting.front().bytes;
    st.waiting.pop_front();
  }
  for (auto i = st.forwards.begin(); i != st.forwards.end();) {
    if (i->second.deadline <= now) {
      out.refuse(i->second.who, ec::timed_out);
      i = st.forwards.erase(i);
    } else {
      ++i;
    }
  }
  outgoing back{self};
  for (auto i = st.guests.begin(); i != st.guests.end();) {
    if (i->second.deadline <= now) { // the actor that had the call crashed, or its node does not respond
      back.answer(i->second.from, i->second.number, core::refusal(i->second.kind, ec::timed_out));
      i = st.guests.erase(i);
    } else {
      ++i;
    }
  }
}

wired_router_actor::behavior_type router(self_ptr self, router_config config) {
  auto& st = self->state;
  st.config = config;
  st.kept = core::kept_answers{config.kept};
  st.leaders = {config.node, config.shards};
  st.gaps = {config.node, config.shards};
  st.announce_at = self->clock().now() + config.announce_every;
  self->delayed_send(self, config.sweep_every, atom::sweep_v);
  return {
      [self](router_wiring& wiring) { self->state.wiring = std::move(wiring); },
      [self](call_batch& batch) {
        dispatch to{self};
        for (auto& c : batch.calls)
          to(std::move(c));
      },
      [self](answer_batch& batch) { // to calls of other nodes
        auto& st = self->state;
        outgoing out{self};
        for (auto& a : batch.answers) {
          const auto g = st.guests.find(a.number);
          if (g == st.guests.end() || g->second.kind != kind_of(a.what))
            continue;
          out.answer(g->second.from, g->second.number, std::move(a.what));
          st.guests.erase(g);
        }
      },
      [self](delivery_batch& batch) {
        auto& st = self->state;
        std::vector<delivery> here;
        outgoing out{self};
        for (auto& d : batch.deliveries) {
          if (d.to.node == st.config.node)
            here.push_back(std::move(d));
          else
            out.deliver(std::move(d));
        }
        deliver_here(st, std::move(here));
      },
      [self](peer_payloads& p) {
        for (const auto& bytes : p.payloads)
          from_peer(self, p.from, bytes);
      },
      [self](peer_lost& p) { lose_peer(self, p.peer); },
      [self](peer_begun& p) { meet_peer(self, p.peer); },
      [self](leadership_news& news) { leaders_changed(self, self->state.leaders.learn(news.changes)); },
      [self](const session_here& s) { self->state.sessions.insert_or_assign(s.number, local_session{s}); },
      [self](const session_gone& s) { self->state.sessions.erase(s.number); },
      [self](atom::sweep) {
        sweep(self);
        self->delayed_send(self, self->state.config.sweep_every, atom::sweep_v);
      },
  };
}

} // namespace

config_check validate(const router_config& config) {
  if (config.node == node_id::none)
    return config_fault{"node"};
  if (config.shards < 1)
    return config_fault{"shards"};
  if (config.forwarded_max < 1)
    return config_fault{"forwarded_max"};
  if (config.sweep_every.count() < 1)
    return config_fault{"sweep_every"};
  if (config.announce_every < config.sweep_every)
    return config_fault{"announce_every"};
  if (config.rehome_within < config.sweep_every)
    return config_fault{"rehome_within"};
  if (config.missed_max < 1)
    return config_fault{"missed_max"};
  if (config.kept.answers_max < 1 || config.kept.bytes_max < config.kept.answer_bytes_max)
    return config_fault{"kept"};
  if (config.park_for < config.sweep_every)
    return config_fault{"park_for"};
  if (config.answer_within < config.sweep_every)
    return config_fault{"answer_within"};
  if (config.payload_bytes_max < 1)
    return config_fault{"payload_bytes_max"};
  if (config.hosted_max < 1)
    return config_fault{"hosted_max"};
  if (config.hosted_within < config.sweep_every)
    return config_fault{"hosted_within"};
  return std::nullopt;
}

wired_router_actor spawn_router(caf::actor_system& sys, router_config config) {
  return sys.spawn(router, config);
}

} // namespace parley

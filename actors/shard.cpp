#include "actors/shard.hpp"

#include "protocol/values/overloaded.hpp"
#include "protocol/values/planted_bugs.hpp"

#include <caf/stateful_actor.hpp>

namespace parley {
namespace {

struct key_hash {
  std::size_t operator()(const resident_key& k) const {
    return mix64(k.lo ^ mix64(k.hi ^ static_cast<std::uint64_t>(k.kind)));
  }
};

struct resident_entry {
  resident_actor actor;
  std::uint64_t handle = 0;
};

struct shard_state {
  static inline const char* name = "shard";
  shard_id id{};
  shard_config config;
  state_reader* reader = nullptr;
  store_actor store;
  router_actor router;
  bool leading = false;
  core::format_number format{}; ///< of what is proposed; as it was when this replica began to lead
  generation gen{};             ///< in which this replica leads
  std::uint64_t term = 0;       ///< in which this replica leads
  std::uint64_t last_handle = 0;
  std::unordered_map<resident_key, resident_entry, key_hash> residents;
  std::unordered_map<std::uint64_t, resident_key> by_handle;
  std::unordered_map<caf::actor_id, std::uint64_t>
      handles; ///< of those that have not ended, in `by_handle` or not
  fan_out_actor fan_out;
  waiting_calls waiting; ///< calls the shard answers by itself
};

using self_ptr = shard_actor::stateful_pointer<shard_state>;

resident_actor* resident(self_ptr self, const resident_key& key) {
  auto& st = self->state;
  if (auto i = st.residents.find(key); i != st.residents.end())
    return &i->second.actor;
  if (st.residents.size() >= st.config.residents_max)
    return nullptr;
  const residence at{st.id,
                     st.format,
                     key,
                     ++st.last_handle,
                     st.config.resident,
                     st.reader,
                     st.store,
                     st.router,
                     caf::actor_cast<shard_actor>(self)};
  resident_actor it;
  switch (key.kind) {
  case resident_kind::shard:
    return nullptr; // resident_of names no such key
  case resident_kind::conversation:
    it = spawn_conversation(self->system(), at);
    break;
  case resident_kind::inbox:
    it = spawn_inbox(self->system(), at);
    break;
  case resident_kind::account:
    it = spawn_account(self->system(), at);
    break;
  }
  self->monitor(it);
  st.by_handle.emplace(at.handle, key);
  st.handles.emplace(it.id(), at.handle);
  return &st.residents.emplace(key, resident_entry{it, at.handle}).first->second.actor;
}

void forget(shard_state& st, std::uint64_t handle) {
  auto i = st.by_handle.find(handle);
  if (i == st.by_handle.end())
    return;
  auto r = st.residents.find(i->second);
  if (r != st.residents.end() && r->second.handle == handle)
    st.residents.erase(r);
  st.by_handle.erase(i);
}

void lead(self_ptr self) {
  auto& st = self->state;
  st.leading = true;
  st.format = st.reader->format(st.id);
  st.fan_out =
      spawn_fan_out(self->system(), st.id, st.format, st.config.fan_out, *st.reader, st.store, st.router);
}

void step_down(self_ptr self) {
  auto& st = self->state;
  st.leading = false;
  for (auto& [key, r] : st.residents)
    caf::anon_send(r.actor, atom::stop_v); // it ends once the store has answered all that it waits for
  st.residents.clear();
  st.by_handle.clear();
  if (st.fan_out)
    caf::anon_send(st.fan_out, atom::stop_v);
  st.fan_out = nullptr;
}

bool has_resident(const shard_state& st, const resident_key& key) {
  return st.residents.contains(key);
}

/// A call about something that the view of a moment ago does not have. A resident for it would live for a
/// minute, and a client can make up any number of names of nothing: the shard looks into a fresh view first.
void look_afresh(self_ptr self, routed_call c) {
  auto& st = self->state;
  const auto about = read_subject_of(c.what);
  const auto ticket = st.waiting.wait(std::move(c));
  caf::anon_send(st.store, fresh_read{st.id, ticket, caf::actor_cast<result_sink>(self), about});
}

/// A resident would be one too many.
void refuse_for_room(self_ptr self, const routed_call& c, answers& out) {
  count(self->state.config.resident.refused, &refused_calls::residents);
  out.refuse(c, ec::overloaded, 1000);
}

/// `look_afresh` looked, and found that what the call is about exists after all: its resident serves it.
void hand_over(self_ptr self, routed_call& c, answers& out) {
  const auto key = resident_of(c.what);
  auto* to = key ? resident(self, *key) : nullptr;
  if (to == nullptr)
    return refuse_for_room(self, c, out);
  call_batch one;
  one.calls.push_back(std::move(c));
  caf::anon_send(*to, std::move(one));
}

void looked(self_ptr self, routed_call& c, conversation_id about, answers& out) {
  auto& st = self->state;
  const auto head = st.reader->head(st.id, about);
  if (head.exists)
    hand_over(self, c, out);
  else
    out.refuse(c, head.error != ec::none ? head.error : ec::no_such_conversation);
}

/// A login of a device that was added a moment ago, or of nobody's.
void looked(self_ptr self, routed_call& c, const core::log_in& ask, answers& out) {
  auto& st = self->state;
  if (const auto found = st.reader->device(st.id, ask.user, ask.device); found.error == ec::none)
    hand_over(self, c, out);
  else
    out.refuse(c, found.error);
}

/// Calls without a resident: commands that other shards' fan-outs owe to this one, and the node list.
void serve(self_ptr self, routed_call c, proposal_batch& proposals, answers& out) {
  auto& st = self->state;
  const auto me = caf::actor_cast<result_sink>(self);
  std::visit(overloaded{
                 [&](core::propose& p) {
                   auto command = std::exchange(p.command, {});
                   const bool can_wait = p.can_wait != 0;
                   const auto ticket = st.waiting.wait(std::move(c));
                   proposals.proposals.push_back({st.id, ticket, me, std::move(command), can_wait});
                 },
                 [&](core::list_nodes&) {
                   const auto ticket = st.waiting.wait(std::move(c));
                   caf::anon_send(st.store, fresh_read{st.id, ticket, me, {}});
                 },
                 [&](const core::served_elsewhere<resident_kind::shard> auto&) {
                   out.refuse(c, ec::internal); // resident_of names a resident for it
                 },
             },
             c.what);
}

/// The store answered what `serve` or `look_afresh` sent to it.
void finish(self_ptr self, result& r, answers& out) {
  auto& st = self->state;
  auto c = take_or_refuse(st.waiting, r, out);
  if (!c)
    return;
  std::visit(
      overloaded{
          [&](const core::propose&) {
            out.answer<core::propose>(*c, {ec::none, std::move(r.what)});
          },
          [&](const core::list_nodes&) { out.answer<core::list_nodes>(*c, st.reader->nodes(st.id)); },
          [&](const core::submit& x) { looked(self, *c, x.what.conversation, out); },
          [&](const core::sync_conversation& x) { looked(self, *c, x.conversation, out); },
          [&](const core::mark_read& x) { looked(self, *c, x.conversation, out); },
          [&](const core::log_in& x) { looked(self, *c, x, out); },
          [&](const core::find_device& x) {
            out.answer<core::find_device>(*c, st.reader->device(st.id, x.user, x.device));
          },
          [&](const core::find_phone& x) {
            out.answer<core::find_phone>(*c, st.reader->phone(st.id, x.phone));
          },
          [&](const core::served_elsewhere<resident_kind::shard> auto&) { out.refuse(*c, ec::internal); },
      },
      c->what);
}

void route(self_ptr self, call_batch& batch) {
  auto& st = self->state;
  answers out;
  proposal_batch proposals;
  // Most calls of one turn are for different residents, but a burst for one conversation is kept together.
  std::vector<std::pair<resident_actor*, call_batch>> groups;
  for (auto& c : batch.calls) {
    const auto key = resident_of(c.what);
    if (!st.leading) {
      out.refuse(c, ec::not_leader);
    } else if (!key) {
      serve(self, std::move(c), proposals, out);
    } else if (std::holds_alternative<core::detach>(c.what) && !has_resident(st, *key)) {
      // The connection is not known here, and perhaps the user does not exist.
      out.answer<core::detach>(c, {});
    } else if (!has_resident(st, *key) && !st.reader->has_subject(st.id, c.what)) {
      look_afresh(self, std::move(c));
    } else if (auto* to = resident(self, *key)) {
      if (groups.empty() || groups.back().first != to)
        groups.emplace_back(to, call_batch{});
      groups.back().second.calls.push_back(std::move(c));
    } else {
      refuse_for_room(self, c, out);
    }
  }
  for (auto& [to, calls] : groups)
    caf::anon_send(*to, std::move(calls));
  if (!proposals.proposals.empty())
    caf::anon_send(st.store, std::move(proposals));
}

shard_actor::behavior_type shard(self_ptr self, shard_id id, shard_config config, state_reader* reader,
                                 store_actor store, router_actor router) {
  auto& st = self->state;
  st.id = id;
  st.config = config;
  st.reader = reader;
  st.store = std::move(store);
  st.router = std::move(router);
  self->set_down_handler([self](const caf::down_msg& down) {
    auto& st = self->state; // the next call starts a crashed resident again from storage
    const auto ended = st.handles.extract(down.source.id());
    if (!ended.empty())
      forget(st, ended.mapped());
  });
  return {
      [self](call_batch& batch) { route(self, batch); },
      [self](const core::leadership& news) {
        auto& st = self->state;
        if (news.ready == st.leading && (!news.ready || (news.term == st.term && news.gen == st.gen)))
          return;
        if (st.leading) // leadership was lost, perhaps gained again: effects in between were dropped
          step_down(self);
        if (news.ready)
          lead(self);
        st.gen = news.gen;
        st.term = news.term;
      },
      [self](shard_effects& effects) {
        auto& st = self->state;
        if (!st.leading)
          return;
        if (!effects.debts.empty())
          caf::anon_send(st.fan_out, debt_batch{std::move(effects.debts)});
        for (auto& a : effects.arrivals) {
          auto i = st.residents.find({resident_kind::inbox, 0, number(a.user)});
          if (i != st.residents.end()) // without a resident no device is connected
            caf::anon_send(i->second.actor, inbox_arrival{std::move(a.rows), effects.applied_at});
        }
      },
      [self](result_batch& batch) {
        answers out;
        for (auto& r : batch.results)
          finish(self, r, out);
      },
      [self](const resident_idle& idle) {
        auto& st = self->state;
        auto i = st.by_handle.find(idle.handle);
        if (i == st.by_handle.end())
          return;
        if (auto r = st.residents.find(i->second); r != st.residents.end() && r->second.handle == idle.handle)
          caf::anon_send(r->second.actor, atom::stop_v);
        if (planted("fan-out-ends-with-resident"))
          caf::anon_send(st.fan_out, atom::stop_v);
        forget(st, idle.handle);
      },
  };
}

} // namespace

config_check validate(const shard_config& config) {
  if (config.residents_max < 1)
    return config_fault{"residents_max"};
  if (const auto fault = validate(config.resident))
    return fault;
  return validate(config.fan_out);
}

shard_actor spawn_shard(caf::actor_system& sys, shard_id id, shard_config config, state_reader& reader,
                        store_actor store, router_actor router) {
  return sys.spawn(shard, id, config, &reader, std::move(store), std::move(router));
}

} // namespace parley

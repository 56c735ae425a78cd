#include "cluster/membership/directory.hpp"

#include "cluster/membership/leader_balance.hpp"
#include "cluster/membership/reconfiguration.hpp"
#include "cluster/ops/logging.hpp"

#include <algorithm>
#include <caf/send.hpp>
#include <caf/stateful_actor.hpp>

namespace parley::cluster {
namespace {

using clock_point = std::chrono::steady_clock::time_point;

struct directory_state {
  static inline const char* name = "directory";
  directory_config config;
  router_actor router;
  store_actor store;
  answer_sink answers; ///< relays to this actor
  report_sink reports;
  std::vector<core::node_record> nodes;
  std::uint64_t asked = 0; ///< number of the question that has no answer yet; 0: none
  clock_point asked_at{};
  clock_point amiss_at{};   ///< when something was last seen to be amiss
  clock_point calm_since{}; ///< nothing has changed since then, and nothing was amiss
  std::size_t offers = 0;   ///< of leaderships, in this calm
};

using self_ptr = caf::stateful_actor<directory_state>*;

void ask(self_ptr self, core::call what) {
  auto& st = self->state;
  ++st.asked;
  st.asked_at = self->clock().now();
  call_batch batch;
  batch.calls.push_back({st.asked, st.answers, std::move(what)});
  caf::anon_send(st.router, std::move(batch));
}

void listed(self_ptr self, const core::node_list& list) {
  auto& st = self->state;
  if (list.error != ec::none)
    return;
  st.nodes = list.nodes;
  st.config.learn(st.nodes);
  const auto own = std::find_if(st.nodes.begin(), st.nodes.end(),
                                [&](const auto& n) { return n.id == st.config.self.id; });
  if (own == st.nodes.end() || *own != st.config.self)
    ask(self,
        core::make_propose(core::meta_shard, core::format_number::oldest, core::put_node{st.config.self}));
  else
    caf::anon_send(st.store, atom::report_v, st.reports);
}

/// Hands one leadership over if this node leads many more shards than another one, and nothing else happens.
void balance(self_ptr self, const replica_report& report) {
  auto& st = self->state;
  const auto now = self->clock().now();
  const auto cluster = st.config.cluster();
  const auto takes_part = [](const replica_status& r) {
    using role = replica_status::role;
    return r.as == role::leader || r.as == role::follower || r.as == role::sealed; // the shard is elsewhere
  };
  const bool all_there = std::ranges::all_of(
      st.nodes, [&](const auto& n) { return n.id == st.config.self.id || st.config.reachable(n.id); });
  if (!all_there || !cluster.full.empty() || !std::ranges::all_of(report.replicas, takes_part))
    st.amiss_at = now;
  const auto since = std::max(st.amiss_at, cluster.changed_at);
  if (std::exchange(st.calm_since, since) != since)
    st.offers = 0;

  balance_facts facts;
  facts.self = st.config.self.id;
  facts.leaders = cluster.leaders;
  for (std::size_t s = 0; s < facts.leaders.size(); ++s)
    if (cluster.without_since.at(s))
      facts.leaders[s] = node_id::none;
  facts.draining = cluster.draining;
  facts.attempt = st.offers;
  facts.calm = std::chrono::duration_cast<std::chrono::milliseconds>(now - since);
  for (const auto& r : report.replicas) {
    if (r.as != replica_status::role::leader)
      continue;
    facts.led.push_back({r.shard, {}});
    for (const auto& m : r.members)
      if (m.node != facts.self)
        facts.led.back().others.push_back(m.node);
  }
  const auto move = even_out(facts);
  if (!move)
    return;
  ++st.offers;
  caf::anon_send(st.store, transfer_request{move->shard, move->to});
}

/// Seals shards that are led here and have a member whose disk is gone, or too few members.
void look_after(self_ptr self, const replica_report& report) {
  auto& st = self->state;
  reconfiguration_facts facts;
  facts.nodes = st.nodes;
  facts.self = st.config.self.id;
  facts.replicas = st.config.replicas;
  for (const auto& n : st.nodes)
    if (st.config.reachable(n.id))
      facts.reachable.insert(n.id);
  std::size_t seals = 0;
  for (const auto& r : report.replicas) {
    if (r.as != replica_status::role::leader)
      continue;
    facts.shard = r.shard;
    facts.members = r.members;
    if (auto next = reconfigure(facts)) {
      log::info("shard-reconfigured", {{"shard", r.shard}, {"generation", r.gen}, {"members", next->size()}});
      caf::anon_send(st.store, seal_request{r.shard, r.gen, std::move(*next)});
      if (++seals >= st.config.seals_max)
        break; // the next report continues: state transfers share the links with messages
    }
  }
  if (seals != 0)
    st.amiss_at = self->clock().now();
  balance(self, report);
}

caf::behavior directory(self_ptr self, directory_config config, router_actor router, store_actor store) {
  auto& st = self->state;
  st.config = std::move(config);
  st.router = std::move(router);
  st.store = std::move(store);
  const auto me = caf::actor_cast<caf::actor>(self);
  // This actor is untyped, because no other actor calls it. The answers that it asks for arrive through two
  // typed relays that end with it.
  st.answers = self->spawn<caf::linked>([me](answer_sink::pointer) -> answer_sink::behavior_type {
    return {[me](answer_batch& b) { caf::anon_send(me, std::move(b)); }};
  });
  st.reports = self->spawn<caf::linked>([me](report_sink::pointer) -> report_sink::behavior_type {
    return {[me](replica_report& r) { caf::anon_send(me, std::move(r)); }};
  });
  st.amiss_at = self->clock().now(); // it has just started
  self->send(self, atom::sweep_v);
  return {
      [self](answer_batch& batch) {
        auto& st = self->state;
        for (auto& a : batch.answers) {
          if (a.number != st.asked)
            continue;
          st.asked_at = {};
          if (const auto* list = core::answer_if<core::list_nodes>(a.what))
            listed(self, *list);
        }
      },
      [self](const core::node_record& joined) {
        ask(self, core::make_propose(core::meta_shard, core::format_number::oldest, core::put_node{joined}));
      },
      [self](replica_report& report) { look_after(self, report); },
      [self](atom::sweep) {
        auto& st = self->state;
        if (self->clock().now() - st.asked_at >= st.config.answer_within)
          ask(self, core::call{core::list_nodes{}});
        self->delayed_send(self, st.config.look_every, atom::sweep_v);
      },
  };
}

} // namespace

caf::actor spawn_directory(caf::actor_system& sys, directory_config config, router_actor router,
                           store_actor store) {
  return sys.spawn(directory, std::move(config), std::move(router), std::move(store));
}

} // namespace parley::cluster

#pragma once
// What a node of the simulator loses when its process ends. Only the files of `sim_node` include it.
#include "actors/core/cluster_clock.hpp"
#include "cluster/machine/row_check.hpp"
#include "cluster/machine/stored_state.hpp"
#include "cluster/node/store.hpp"
#include "tests/sim/rules_bounds.hpp"
#include "tests/sim/sim_node.hpp"

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/scheduler/test_coordinator.hpp>
#include <fmt/format.h>

#include <atomic>
#include <map>
#include <set>

namespace parley::sim {

struct caf_config : caf::actor_system_config {
  caf_config() { set("scheduler.policy", caf::atom("testing")); }
};

/// The time of day as the node's clock has it: its own, from some day on.
class node_day final : public wall_clock {
public:
  explicit node_day(std::function<micros()> local) : local_{std::move(local)} {}
  unix_ms now() const override { return unix_ms{1'700'000'000'000 + local_() / one_ms}; }

private:
  std::function<micros()> local_;
};

/// Takes the answers to the gateway's own calls.
class own_answers final : public session_port {
public:
  void answered(std::vector<numbered_answer> answers) override {
    for (auto& a : answers)
      if (auto w = waiting.extract(a.number); !w.empty())
        w.mapped()(a.what);
  }
  void attached(const core::attached&) override {}
  void rows_ready() override {}
  void closed(ec) override {}
  std::map<std::uint64_t, std::function<void(core::answer&)>> waiting;
};

/// Tells the judge what is applied.
class sim_node::watched_machine final : public cluster::state_machine {
public:
  watched_machine(cluster::state_machine& inner, judge& judge, fuzz::simulation& sim,
                  const node_profile& profile)
      : inner_{inner}, judge_{judge}, sim_{sim}, node_{profile.router.node},
        bounds_{profile.shard.fan_out.ledger} {}
  std::optional<std::string> apply(storage::shard_txn& state, const cluster::log_position& at,
                                   std::string_view command, std::uint64_t ticket) override {
    auto& last = last_[at.shard]; // an entry may hold several commands
    last =
        last.first == at.index ? std::pair{at.index, last.second + 1} : std::pair{at.index, std::uint64_t{0}};
    judge_.applied(node_, at, last.second, fuzz::hash_bytes(command));
    if (ticket != 0) // proposed here
      if (const auto what = above_bounds(command, bounds_); !what.empty())
        sim_.violate(fmt::format("bounds: entry {} of shard {}: {}", at.index, number(at.shard), what));
    auto objection = inner_.apply(state, at, command, ticket);
    if (judge_.is_counted_at(at))
      judge_.counted(at, state);
    return objection;
  }
  void replaced(shard_id shard) override {
    last_.erase(shard); // another state, perhaps of another generation
    inner_.replaced(shard);
  }

private:
  cluster::state_machine& inner_;
  judge& judge_;
  fuzz::simulation& sim_;
  node_id node_;
  core::ledger_config bounds_;
  std::map<shard_id, std::pair<std::uint64_t, std::uint64_t>> last_; ///< the index, and which of its commands
};

/// What the store tells of its disk.
class sim_node::disk_watch final : public cluster::store_observer {
public:
  explicit disk_watch(sim_node& node) : node_{node} {}
  void committed(std::size_t, std::chrono::nanoseconds) override {}
  void refused_messages(std::uint64_t n) override {
    node_.sim_.violate(fmt::format("node {}: refuses {} messages of its peers", number(node_.id()), n));
  }
  void followers_forgot(std::uint64_t n) override {
    if (!node_.user_.some_forgot())
      node_.sim_.violate(
          fmt::format("node {}: says of {} followers that they forgot", number(node_.id()), n));
  }
  void has_room(bool yes) override { room = yes; }
  void damaged(shard_id shard, bool yes) override {
    node_.sim_.note(yes ? "damaged" : "mended", number(node_.id()), number(shard));
    if (!yes) {
      damages.erase(shard);
      ++node_.judge_.count.mended;
    } else if (damages.insert(shard); !node_.may_be_damaged_) {
      node_.sim_.violate(
          fmt::format("node {}: says that a row of shard {} is damaged", number(node_.id()), number(shard)));
    }
  }
  void members(std::vector<cluster::silent_member>, std::vector<cluster::lagging_member>) override {}

  std::atomic<bool> room{true};
  std::set<shard_id> damages;

private:
  sim_node& node_;
};

struct sim_node::process {
  explicit process(sim_node& node) : watch{node} {}

  caf_config settings;
  caf::actor_system system{settings};
  caf::scheduler::test_coordinator& scheduler =
      dynamic_cast<caf::scheduler::test_coordinator&>(system.scheduler());
  std::unique_ptr<state_reader> reader;
  std::unique_ptr<node_day> day;
  std::unique_ptr<core::cluster_clock> clock;
  disk_watch watch;
  std::optional<cluster::row_walk> walk;
  std::optional<cluster::check_pace> pace;
  std::unique_ptr<sim_membership> membership;
  std::unique_ptr<cluster::store_loop> loop;
  cluster::wired_store_actor store;
  wired_router_actor router;
  std::vector<shard_actor> shards;
  std::vector<session_actor> sessions;
  std::shared_ptr<own_answers> own = std::make_shared<own_answers>();
  session_actor own_session;
  caf::actor directory;
  router_counters counters;
  std::uint64_t number = 0;
  std::uint64_t last_session = 0, last_call = 0;
  bool running = false;
  bool fenced = false;
};

} // namespace parley::sim

#include "cluster/node/node.hpp"

#include "actors/alarm.hpp"
#include "actors/kj_mailbox.hpp"
#include "cluster/machine/stored_state.hpp"
#include "cluster/membership/directory.hpp"
#include "cluster/node/free_pages.hpp"
#include "cluster/node/node_settings.hpp"
#include "cluster/node/raft_mailbox.hpp"
#include "cluster/node/row_checker.hpp"
#include "cluster/ops/kj_thread.hpp"
#include "cluster/ops/logging.hpp"
#include "protocol/gateway/codes/console_code_sender.hpp"
#include "protocol/gateway/codes/webhook_code_sender.hpp"
#include "protocol/gateway/server.hpp"
#include "protocol/values/chance.hpp"

#include <caf/scoped_actor.hpp>
#include <caf/send.hpp>
#include <fmt/format.h>

#include <future>
#include <set>
#include <thread>

namespace parley::cluster {
namespace {

/// Tells the operator about codes that could not be sent.
class watched_codes final : public gateway::code_sender {
public:
  watched_codes(kj::Own<gateway::code_sender> to, std::string_view next) : to_{kj::mv(to)}, next_{next} {}
  kj::Promise<ec> send(std::string phone, std::string code) override {
    return to_->send(std::move(phone), std::move(code)).then([this](ec outcome) {
      static log::limiter limiter{std::chrono::seconds{10}};
      const auto left_out = outcome == ec::none ? -1 : limiter.admit();
      if (left_out >= 0)
        log::warn("code-not-sent",
                  {{"why", describe(outcome).name}, {"left_out", left_out}, {"next", next_}});
      return outcome;
    });
  }

private:
  kj::Own<gateway::code_sender> to_;
  std::string_view next_;
};

/// One KJ loop with its gateway.
class gateway_thread {
public:
  struct parts {
    caf::actor_system& system;
    router_actor router;
    kj_backend_config backend;
    gateway::gateway_config config;
    transport::renewable_tls tls;
    std::optional<gateway::webhook_config> webhook; ///< else codes go to the console
    std::shared_ptr<std::atomic<std::uint64_t>> numbers;
    gateway::gateway_shared& shared;
    const wall_clock& clock;
  };

  explicit gateway_thread(parts p)
      : thread_{[this, p = std::move(p)](kj_thread::loop& here) { return run(here, p); }} {}
  /// Returns `none` once it listens, or the reason why it does not.
  std::optional<std::string> started() { return thread_.started(); }
  void drain() {
    thread_.tell([this] { server_->drain(); });
  }
  std::size_t connections() {
    std::size_t n = 0;
    thread_.tell([&] { n = server_->connections(); });
    return n;
  }

private:
  std::optional<std::string> run(kj_thread::loop& here, const parts& p) {
    auto& port = here.io.unixEventPort;
    auto cluster = make_kj_backend(p.system, p.router, p.backend, p.numbers, port);
    kj::Own<gateway::code_sender> codes;
    if (p.webhook)
      codes = kj::heap<watched_codes>(kj::heap<gateway::webhook_code_sender>(port, *p.webhook),
                                      "look at the log of the service that code.sender names");
    else
      codes =
          kj::heap<watched_codes>(kj::heap<gateway::console_code_sender>(port, gateway::console_config{}),
                                  "nobody reads this node's standard output: read it, or set code.sender");
    auto server = gateway::make_gateway_server(port, p.config, p.tls, *cluster, *codes, p.clock, p.shared);
    if (!server)
      return "clients cannot be served: " + server.error().detail + " (--client-listen)";
    server_ = server->get();
    const auto tidying = tidy(here.io.provider->getTimer()).eagerlyEvaluate(nullptr);
    here.serve();
    return std::nullopt;
  }
  static kj::Promise<void> tidy(kj::Timer& timer) {
    return timer.afterDelay(free_memory_every.count() * kj::SECONDS).then([&timer] {
      give_thread_cache_back();
      return tidy(timer);
    });
  }

  gateway::gateway_server* server_ = nullptr;
  kj_thread thread_; // last: it uses all of the above
};

} // namespace

class node::impl final : public link_events, public raft_port, public peer_port {
public:
  impl(caf::actor_system& system, const node_config& config, const storage::identity& identity,
       const membership& m, storage::journaled_environment& env)
      : system_{system}, config_{config}, founding_{m.cluster}, nodes_{m.nodes}, disk_{identity.disk},
        env_{env}, process_{system_chance().nonzero()}, reader_{open_stored_state(env, [this](
                                                                                           shard_id shard) {
          caf::anon_send(wired_store_, damaged_row{shard});
        })} {
    auto rc = router_settings(config, founding_);
    rc.process = process_;
    rc.counters = &routing_;
    rc.refused = &refused_;
    rc.clock = &clock_;
    rc.has_room = &commits_.room_flag();
    rc.drains = &drains_;
    routing_.cluster.set({std::vector<node_id>(founding_.shards, node_id::none),
                          core::leader_gaps{config.node, founding_.shards}.all(),
                          {},
                          {},
                          {}});
    start_alarm(system);
    tidy_network_thread(system);
    wired_router_ = spawn_router(system, rc);
    router_ = caf::actor_cast<router_actor>(wired_router_);

    auto sc = store_settings(config, identity.disk);
    sc.replication.seed = process_;
    wired_store_ = spawn_store(system, sc, env);
    store_ = caf::actor_cast<store_actor>(wired_store_);
  }

  ~impl() override { stop(); }

  void when_fenced(std::function<void(storage::fence)> fenced) { when_fenced_ = std::move(fenced); }
  void keep(std::string key, std::string value, std::function<void()> durable) {
    caf::anon_send(wired_store_, node_row{std::move(key), std::move(value), std::move(durable)});
  }

  std::optional<std::string> start(links& transport) {
    links_ = &transport;
    if (auto problem = validate_parts(config_, founding_))
      return problem;
    router_wiring rw;
    store_wiring sw;
    auto each = shard_settings(config_, founding_);
    each.resident.time_of_day = &clock_;
    each.resident.refused = &refused_;
    each.fan_out.counters = &paying_;
    each.fan_out.report = [this](shard_id shard, fan_out_trouble what, ec why) {
      log_debts(shard, what, why);
    };
    for (std::uint16_t s = 0; s < founding_.shards; ++s) {
      auto shard = spawn_shard(system_, shard_id{s}, each, *reader_, store_, router_);
      rw.shards.emplace(s, shard);
      sw.shards.emplace(s, shard);
    }
    rw.peers = this;
    sw.router = router_;
    sw.peers = this;
    sw.observer = &commits_;
    caf::anon_send(wired_router_, std::move(rw));
    caf::anon_send(wired_store_, std::move(sw));
    learn(known_at_start());
    directory_ = spawn_directory(system_, directory_settings(), router_, store_);

    auto webhook = webhook_settings(config_);
    if (!webhook)
      return webhook.error();
    gateway_thread::parts parts{
        system_,
        router_,
        {config_.node, process_, session_settings(config_), &waiting_.delivery_queues},
        gateway_settings(config_, founding_),
        tls_,
        std::move(*webhook),
        std::make_shared<std::atomic<std::uint64_t>>(0),
        shared_,
        clock_};
    parts.backend.session.rates =
        make_rates(parts.backend.session); // of a user, whichever thread serves them
    parts.backend.session.refused = &refused_;
    if (auto why = renew_certificate())
      return *why + ". Create it again with scripts/make_certs.sh (--certs-dir)";
    for (std::uint32_t i = 0; i < config_.kj_threads; ++i) {
      gateways_.push_back(std::make_unique<gateway_thread>(parts));
      if (auto why = gateways_.back()->started())
        return why;
    }
    checker_ = std::make_unique<row_checker>(env_, config_.row_check, checked_, [this](shard_id shard) {
      caf::anon_send(wired_store_, damaged_row{shard});
    });
    return std::nullopt;
  }

  std::optional<std::string> renew_certificate() {
    const auto tls = transport::make_server_context({config_.client_cert(), config_.client_key()});
    if (!tls)
      return "the certificate for clients cannot be used: " + tls.error().detail;
    tls_.replace(*tls);
    return std::nullopt;
  }

  leftovers drain() {
    drains_ = true; // the others are told, and hand nothing to this node
    for (auto& g : gateways_)
      g->drain();
    using clock = std::chrono::steady_clock;
    const auto deadline = clock::now() + config_.drain_deadline;
    auto ask_again = clock::now();
    leftovers left;
    do {
      if (clock::now() >= ask_again) { // a transfer may fail, and a leadership may come in meanwhile
        caf::anon_send(store_, atom::drain_v);
        ask_again = clock::now() + std::chrono::seconds{1};
      }
      std::this_thread::sleep_for(std::chrono::milliseconds{50});
      left = {};
      for (auto& g : gateways_)
        left.clients += g->connections();
      // Nobody takes what is led here if the other members are away or stop too, as when all nodes are stopped at once.
      const auto takes = [&, stopping = routing_.cluster.read().draining](const member& m) {
        return m.node != config_.node && links_->connected(m.node) && !stopping.contains(m.node);
      };
      for (const auto& r : ask_report().value_or(std::vector<replica_status>{}))
        left.leaderships += r.as == replica_status::role::leader && std::ranges::any_of(r.members, takes);
    } while ((left.clients > 0 || left.leaderships > 0) && clock::now() < deadline);
    return left;
  }

  bool close_store() {
    caf::scoped_actor waiter{system_};
    waiter->monitor(wired_store_);
    caf::anon_send(wired_store_, atom::stop_v);
    bool ended = false;
    waiter->receive([&](const caf::down_msg&) { ended = true; },
                    caf::after(std::chrono::seconds{10}) >> [] {}); // a sync may take that long
    return ended && env_.close();
  }

  void stop() {
    checker_.reset();
    gateways_.clear();
    if (directory_)
      caf::anon_send_exit(directory_, caf::exit_reason::user_shutdown);
    directory_ = nullptr;
  }

  node_snapshot snapshot() {
    node_snapshot s;
    auto reported = ask_report();
    s.store_answers = reported.has_value();
    s.replicas = std::move(reported).value_or(std::vector<replica_status>{});
    s.self = config_.node;
    s.gateways = shared_.pulses.read();
    s.at = gateway::pulse_clock::now(); // behind all of the beats
    auto known = routing_.cluster.read();
    s.leaders = std::move(known.leaders);
    s.without_since = std::move(known.without_since);
    s.full = std::move(known.full);
    s.damaged = commits_.damaged();
    s.silent = commits_.silent();
    s.lagging = commits_.lagging();
    s.has_room = commits_.room();
    s.clock_difference_ms = clock_.difference_ms();
    s.replicas_wanted = founding_.replicas;
    s.nodes = std::max<std::size_t>(1, nodes().size());
    if (links_) {
      s.links = links_->status();
      s.link_versions_refused = links_->versions_refused();
      s.link_starts_refused = links_->starts_refused();
    }
    {
      std::lock_guard guard{nodes_mutex_};
      s.diverged.assign(diverged_.begin(), diverged_.end());
    }
    s.rows_checked = checked_.rows.load(std::memory_order_relaxed);
    s.row_checks = checked_.passes.load(std::memory_order_relaxed);
    s.raft_bytes_waiting = mailbox_.bytes();
    s.raft_bytes_left_out = mailbox_.left_out();
    s.storage = env_.stats();
    s.journal = env_.journal();
    return s;
  }

  void remind() {
    if (!links_)
      return;
    std::lock_guard guard{absences_mutex_};
    for (const auto peer : absences_.due(links_->status(), absences::clock::now()))
      log::warn("node-away",
                {{"node", peer},
                 {"means", "its replicas are missing; /wholez names the shards"},
                 {"next", "start it; if its disk is lost, start it under the same number with an empty "
                          "data directory, because a node with another number does not take its place"}});
  }

  /// What the file of peers or the founding record said, and behind it what the replica of the meta shard here has
  /// applied. The file is a hint, and a node that founded a cluster alone is called by others only if it knows them.
  std::vector<core::node_record> known_at_start() {
    auto known = nodes();
    for (auto& n : reader_->nodes(core::meta_shard).nodes)
      if (std::ranges::count(known, n.id, &core::node_record::id) == 0)
        known.push_back(std::move(n));
    return known;
  }
  void learn(const std::vector<core::node_record>& nodes) {
    for (const auto& n : nodes) {
      if (n.id == config_.node)
        continue;
      if (const auto at = parse_endpoint(n.peer_address))
        links_->set_peer(n.id, at->host, at->port);
    }
    gateway::node_addresses::list for_clients;
    for (const auto& n : nodes)
      for_clients.emplace_back(n.id, n.client_address);
    shared_.nodes.set(std::move(for_clients));
    std::lock_guard guard{nodes_mutex_};
    nodes_ = nodes;
  }
  std::vector<core::node_record> nodes() const {
    std::lock_guard guard{nodes_mutex_};
    return nodes_;
  }
  formation_service::wholeness whole_without(node_id node) {
    formation_service::wholeness out;
    out.has_session = links_ && links_->connected(node);
    {
      std::lock_guard guard{wholes_->mutex};
      const auto& last = wholes_->of[node];
      if (std::chrono::steady_clock::now() - last.at < std::chrono::seconds{10})
        out.shards = last.shards;
    }
    const auto note = [w = wholes_, node](std::vector<shard_id> shards) {
      std::lock_guard guard{w->mutex};
      auto& last = w->of[node];
      last.at = std::chrono::steady_clock::now();
      last.shards.clear();
      for (const auto s : shards)
        last.shards.push_back(number(s));
    };
    caf::anon_send(wired_store_, whole_request{node, note});
    return out;
  }
  void admit(const core::node_record& newcomer) {
    if (directory_)
      caf::anon_send(directory_, newcomer);
  }

  // --- link_events
  void received(node_id from, lane on, std::vector<std::string> payloads) override {
    if (fenced_)
      return;
    if (on == lane::raft) {
      mailbox_.admit(payloads);
      if (!payloads.empty())
        caf::anon_send(store_, raft_payloads{from, std::move(payloads)});
    } else {
      caf::anon_send(router_, peer_payloads{from, std::move(payloads)});
    }
  }
  void reset(node_id peer) override {
    caf::anon_send(store_, peer_lost{peer});
    caf::anon_send(router_, peer_lost{peer});
  }
  void begun(node_id peer) override {
    caf::anon_send(wired_store_, peer_begun{peer});
    caf::anon_send(router_, peer_begun{peer});
  }
  void disowned(node_id by, start_verdict why) override {
    const bool other_runs = why == start_verdict::replaced || why == start_verdict::twice;
    fence(fmt::format("node {} does not know this node again: {}", number(by), describe(why)),
          other_runs ? storage::fence::then::stay : storage::fence::then::begin_anew);
  }
  // --- raft_port, peer_port
  void send_raft(node_id to, std::string frame) override {
    if (!fenced_)
      links_->send(to, lane::raft, std::move(frame));
  }
  void taken(const std::vector<std::string>& frames) override { mailbox_.taken(frames); }
  std::optional<std::size_t> waiting(node_id peer) const override { return links_->raft_waiting(peer); }
  void diverged(const replicas_diverged& d) override {
    log::error(
        "replicas-diverged",
        {{"shard", d.at.shard},
         {"generation", d.at.gen},
         {"index", d.at.index},
         {"term", d.at.term},
         {"leader", d.by},
         {"means",
          "an entry that is committed here is another one at the leader: a node's disk went back, and what "
          "was acknowledged since is missing at the others"},
         {"next",
          "keep this node's data directory: it may be the only one that holds the missing messages. Stop "
          "the nodes whose directories were put back or copied, and empty those"}});
    std::lock_guard guard{nodes_mutex_};
    diverged_.insert(d.at.shard);
  }
  void disk_forgot(const cluster::disk_forgot& f) override {
    fence(fmt::format(
        "node {} knows that the replica of shard {} here had stored entry {} of term {}, and this data "
        "directory ends at entry {} of term {}: it is an older copy, or lost what it had acknowledged",
        number(f.by), number(f.has.shard), f.index, f.term, f.has.index, f.has.term));
  }
  bool send(node_id to, std::string payload) override {
    return !fenced_ && links_->send(to, lane::calls, std::move(payload));
  }

  gateway::gateway_shared shared_;
  commit_metrics commits_;
  depths waiting_;
  router_counters routing_;
  core::cluster_clock clock_{&impl::log_clock};
  fan_out_counters paying_;
  refused_calls refused_;

private:
  void fence(std::string why, storage::fence::then next = storage::fence::then::begin_anew) {
    if (!fenced_.exchange(true) && when_fenced_)
      when_fenced_({std::move(why), next});
  }
  static void log_clock(std::int64_t difference_ms) {
    if (difference_ms == 0)
      log::info("clock-agrees", {{"next", "nothing: the node uses its own clock again"}});
    else
      log::warn("clock-differs",
                {{"seconds_behind", difference_ms / 1000},
                 {"means", "most other nodes' clocks say another time, and this node uses theirs"},
                 {"next", "set the clock of this machine, and let chrony or ntpd keep it"}});
  }
  void log_debts(shard_id shard, fan_out_trouble what, ec why) {
    // Whether debts can be read is reported once per change, and each shard has to be named.
    const auto left_out = what == fan_out_trouble::refused ? debts_log_.admit() : 0;
    if (left_out < 0)
      return;
    const auto warn = [&](std::string_view event, std::string_view next) {
      log::warn(event,
                {{"shard", shard}, {"why", describe(why).name}, {"left_out", left_out}, {"next", next}});
    };
    switch (what) {
    case fan_out_trouble::unread:
      if (why == ec::none)
        log::info("debts-read-again", {{"shard", shard}, {"left_out", left_out}});
      else
        warn("debts-unread", "the node reads them again by itself; if it goes on, replace its replica");
      break;
    case fan_out_trouble::refused:
      warn("debts-refused",
           "they are sent again unless that is of no use; if it goes on, compare the versions "
           "of the nodes and look at their disks");
      break;
    }
  }
  directory_config directory_settings() {
    directory_config d;
    d.self = {config_.node, disk_, to_string(config_.peer_advertise), to_string(config_.client_advertise)};
    d.replicas = founding_.replicas;
    d.learn = [this](const std::vector<core::node_record>& nodes) {
      if (!nodes.empty())
        learn(nodes);
    };
    d.reachable = [this](node_id n) { return links_->connected(n); };
    d.cluster = [this] { return routing_.cluster.read(); };
    return d;
  }
  /// `none`: the store has not answered in time, because it is in a long sync.
  std::optional<std::vector<replica_status>> ask_report() {
    auto promise = std::make_shared<std::promise<std::vector<replica_status>>>();
    auto future = promise->get_future();
    auto sink = system_.spawn([promise](report_sink::pointer self) -> report_sink::behavior_type {
      return {[self, promise](replica_report& r) {
        promise->set_value(std::move(r.replicas));
        self->quit();
      }};
    });
    caf::anon_send(store_, atom::report_v, sink);
    if (future.wait_for(std::chrono::seconds{2}) != std::future_status::ready) {
      caf::anon_send_exit(sink, caf::exit_reason::user_shutdown);
      return std::nullopt;
    }
    return future.get();
  }

  caf::actor_system& system_;
  node_config config_;
  founding founding_;
  std::mutex absences_mutex_;
  absences absences_;
  mutable std::mutex nodes_mutex_;
  std::vector<core::node_record> nodes_;
  struct wholes {
    struct answer {
      std::chrono::steady_clock::time_point at{};
      std::vector<std::uint16_t> shards;
    };
    std::mutex mutex;
    std::map<node_id, answer> of; ///< by the node that asks
  };
  std::shared_ptr<wholes> wholes_ = std::make_shared<wholes>();
  std::set<shard_id> diverged_; ///< under the same mutex; it does not shrink: only an operator can mend it
  disk_id disk_;
  storage::journaled_environment& env_;
  std::uint64_t process_;
  log::limiter debts_log_{std::chrono::seconds{1}}; ///< of refused ones: there may be thousands at once
  std::unique_ptr<state_reader> reader_;
  links* links_ = nullptr;
  std::atomic<bool> fenced_{false};
  std::atomic<bool> drains_{false};
  std::function<void(storage::fence)> when_fenced_;
  wired_router_actor wired_router_;
  router_actor router_;
  wired_store_actor wired_store_;
  store_actor store_;
  caf::actor directory_;
  transport::renewable_tls tls_; ///< of all gateways
  std::vector<std::unique_ptr<gateway_thread>> gateways_;
  raft_mailbox mailbox_;
  check_counters checked_;
  std::unique_ptr<row_checker> checker_;
};

node::node(caf::actor_system& system, const node_config& config, const storage::identity& identity,
           const membership& m, storage::journaled_environment& env)
    : impl_{std::make_unique<impl>(system, config, identity, m, env)} {}
node::~node() = default;
link_events& node::events() {
  return *impl_;
}
std::optional<std::string> node::start(links& transport) {
  return impl_->start(transport);
}
std::optional<std::string> node::renew_certificate() {
  return impl_->renew_certificate();
}
node::leftovers node::drain() {
  return impl_->drain();
}
void node::when_fenced(std::function<void(storage::fence)> fenced) {
  impl_->when_fenced(std::move(fenced));
}
void node::keep(std::string key, std::string value, std::function<void()> durable) {
  impl_->keep(std::move(key), std::move(value), std::move(durable));
}
void node::fall_silent() {
  impl_->stop();
}
bool node::close_store() {
  return impl_->close_store();
}
void node::remind() {
  impl_->remind();
}
node_snapshot node::snapshot() {
  return impl_->snapshot();
}
const gateway::gateway_metrics& node::metrics() const {
  return impl_->shared_.metrics;
}
const commit_metrics& node::commits() const {
  return impl_->commits_;
}
const depths& node::waiting() const {
  return impl_->waiting_;
}

const router_counters& node::routing() const {
  return impl_->routing_;
}
const fan_out_counters& node::paying() const {
  return impl_->paying_;
}
const refused_calls& node::refused() const {
  return impl_->refused_;
}
std::vector<core::node_record> node::nodes() const {
  return impl_->nodes();
}
formation_service::wholeness node::whole_without(node_id node) {
  return impl_->whole_without(node);
}
void node::admit(const core::node_record& newcomer) {
  impl_->admit(newcomer);
}

} // namespace parley::cluster

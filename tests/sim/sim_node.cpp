#include "actors/alarm.hpp"
#include "cluster/replication/peer_bodies.hpp"
#include "tests/sim/process_end.hpp"
#include "tests/sim/sim_process.hpp"

#include <caf/send.hpp>
#include <caf/stateful_actor.hpp>
#include <fmt/format.h>

#include <algorithm>

namespace parley::sim {
namespace {

/// Whether the frame gives a vote that counts.
bool gives_vote(std::string_view frame) {
  using cluster::raft_body;
  cluster::frame_reader in{frame};
  for (cluster::message_view m; in.next(m);)
    if (m.header.type == cluster::message_type::vote_result)
      if (const auto b = cluster::get_body<raft_body>(m.body);
          b && (b->flags & raft_body::granted) != 0 && (b->flags & raft_body::pre_vote) == 0)
        return true;
  return false;
}

} // namespace

sim_node::sim_node(fuzz::simulation& sim, judge& judge, fuzz::virtual_network& net, node_user& user,
                   node_profile profile)
    : sim_{sim}, judge_{judge}, net_{net}, user_{user}, profile_{std::move(profile)},
      env_{test::durability::on_synced, sim.luck.next()}, late_{env_,
                                                                [this] { return local(sim_.time.now()); },
                                                                profile_.publish_every},
      ahead_{sim.luck.between(one_second, 100 * one_second)} {
  if (!profile_.reads_fail)
    return;
  const bool late = profile_.publish_every != 0;
  const auto asks = [this] { read_one(); };
  failing_ =
      std::make_unique<failing_environment>(late ? static_cast<storage::environment&>(late_) : env_, asks);
  failing_readers_ = std::make_unique<failing_environment>(late ? late_.readers() : env_, asks);
}

sim_node::~sim_node() {
  crash(test::unsynced::lost);
}

sim_node::time_point sim_node::now() const {
  return time_point{std::chrono::microseconds{local(sim_.time.now())}};
}

void sim_node::start() {
  if (is_up() || kept_down_)
    return;
  ++life_;
  sim_.note("start", number(id()));
  sim_membership::parts known;
  if (const auto why = begin_start(known); !why.empty())
    return sim_.time.in(0, [this, why, life = life_] {
      if (life == life_)
        user_.stopped(id(), why);
    });
  process_ = std::make_unique<process>(*this);
  auto& p = *process_;
  p.scheduler.clock().current_time = now();
  p.number = sim_.luck.next() | 1;
  p.day = std::make_unique<node_day>([this] { return local(sim_.time.now()); });
  p.clock = std::make_unique<core::cluster_clock>(core::cluster_clock::reporter{}, *p.day);
  late_.begin();
  const bool late = profile_.publish_every != 0;
  auto& disk = failing_ ? *failing_ : late ? static_cast<storage::environment&>(late_) : env_;
  auto& readable = failing_ ? *failing_readers_ : late ? late_.readers() : env_;
  p.membership = std::make_unique<sim_membership>(std::move(known));
  p.reader = cluster::open_stored_state(readable, [this](shard_id shard) {
    if (may_be_damaged_) {
      if (process_) // else the process has ended in the middle of this, and nobody hears of it
        give(process_->store, cluster::damaged_row{shard});
      return;
    }
    sim_.violate(fmt::format("node {}: a row of shard {} is damaged", number(id()), number(shard)));
  });
  start_alarm(p.system);
  auto router = profile_.router;
  router.process = p.number;
  router.clock = p.clock.get();
  router.has_room = &p.watch.room;
  router.counters = &p.counters;
  p.router = spawn_router(p.system, router);

  auto store = profile_.store;
  store.replication.seed = sim_.luck.next();
  p.loop = std::make_unique<cluster::store_loop>(
      store, disk, *this, [this](cluster::state_machine& inner) -> std::unique_ptr<cluster::state_machine> {
        return std::make_unique<watched_machine>(inner, judge_, sim_, profile_);
      });
  using loop_type = cluster::store_loop;
  p.store = p.system.spawn(
      [this](cluster::wired_store_actor::pointer) -> cluster::wired_store_actor::behavior_type {
        return {
            [this](cluster::store_wiring& wiring) {
              if (is_up())
                process_->loop->open(std::move(wiring), now());
            },
            [this](const cluster::damaged_row& d) { input([d](loop_type& loop) { loop.damaged(d.shard); }); },
            [this](proposal_batch& b) {
              for (const auto& p : b.proposals)
                user_.proposed(id(), p.command);
              refuse_some(b);
              input([held = std::make_shared<proposal_batch>(std::move(b))](loop_type& loop) {
                loop.propose(*held);
              });
            },
            [this](const fresh_read& r) { input([r](loop_type& loop) { loop.read(r); }); },
            [this](raft_payloads& x) {
              input([this, held = std::make_shared<raft_payloads>(std::move(x))](loop_type& loop) {
                loop.receive(*held, now());
              });
            },
            [this](const peer_lost& x) { input([x](loop_type& loop) { loop.lose(x.peer); }); },
            [this](const peer_begun& x) { input([x](loop_type& loop) { loop.meet(x.peer); }); },
            [this](const cluster::whole_request& r) {
              input([r](loop_type& loop) { r.done(loop.whole_without(r.without)); });
            },
            [this](const cluster::node_row& r) { input([r](loop_type& loop) { loop.keep(r); }); },
            [this](const seal_request& r) {
              user_.seal_wished(r);
              input([r](loop_type& loop) { loop.seal(r); });
            },
            [this](const transfer_request& r) { input([r](loop_type& loop) { loop.transfer(r); }); },
            [this](atom::drain) { input([](loop_type& loop) { loop.drain(); }); },
            [this](atom::report, const report_sink& to) {
              input([to](loop_type& loop) { loop.report(to); });
            },
            [](atom::tick) {},
            [](atom::turn) {},
            [](atom::sweep) {},
            [](atom::stop) {},
            [](atom::publish) {},
        };
      });

  auto each = profile_.shard;
  each.resident.time_of_day = p.clock.get();
  const auto store_handle = caf::actor_cast<store_actor>(p.store);
  const auto router_handle = caf::actor_cast<router_actor>(p.router);
  router_wiring rw;
  cluster::store_wiring sw;
  for (std::uint16_t s = 0; s < router.shards; ++s) {
    auto shard = spawn_shard(p.system, shard_id{s}, each, *p.reader, store_handle, router_handle);
    p.shards.push_back(shard);
    rw.shards.emplace(s, shard);
    sw.shards.emplace(s, shard);
  }
  rw.peers = this;
  sw.router = router_handle;
  sw.peers = this;
  sw.observer = &p.watch;
  caf::anon_send(p.router, std::move(rw));
  caf::anon_send(p.store, std::move(sw));
  p.own_session = spawn_session(p.system, {next_ref(), {}, {}, {}}, profile_.session, p.own,
                                std::make_shared<delivery_queue>(1, 1 << 17), router_handle);
  if (profile_.directory) {
    auto directory = *profile_.directory;
    directory.self = record();
    directory.learn = [m = p.membership.get()](const std::vector<core::node_record>& list) {
      m->learn(list);
    };
    directory.reachable = [this](node_id n) { return net_.waiting(id(), n).has_value(); };
    directory.cluster = [&p] { return p.counters.cluster.read(); };
    p.directory = cluster::spawn_directory(p.system, std::move(directory), router_handle, store_handle);
  }
  wake();
  in(0, [this] { tick(); });
  if (profile_.row_check.count() != 0) {
    p.walk.emplace(readable);
    p.pace.emplace(profile_.row_check,
                   std::chrono::duration_cast<std::chrono::milliseconds>(now().time_since_epoch()));
    in(0, [this] { check_rows(); });
  }
}

void sim_node::forget_process() {
  ++life_;
  held_.clear();
  syncing_ = woken_ = false;
  paused_until_ = 0;
  timer_at_ = -1;
  dies_after_ = 0;
}

/// What it was doing has no end, so nothing of it is destroyed.
void sim_node::stop(const std::string& sentence) {
  forget_process();
  static auto& ended = *new std::vector<std::unique_ptr<process>>;
  ended.push_back(std::move(process_));
  const auto before = env_.unsynced_commits();
  const auto kept = env_.crash(test::unsynced::seeded);
  sim_.note("stopped", number(id()), before, kept);
  if (sim_.prints())
    fmt::print("{:15} node {}: {}\n", "", number(id()), sentence);
  user_.stopped(id(), sentence);
}

void sim_node::crash(test::unsynced what) {
  if (!is_up())
    return;
  forget_process();
  // The actors end before what they point to. What they still send meets ports that are closed: `process_`
  // is null.
  auto dead = std::move(process_);
  const auto before = env_.unsynced_commits();
  dead->loop.reset();
  const auto kept = env_.crash(what);
  judge_.count.lost_batches += before - kept;
  sim_.note("crash", number(id()), before, kept);
  const auto end = [](const auto& actor) { caf::anon_send_exit(actor, caf::exit_reason::kill); };
  for (const auto& s : dead->sessions)
    end(s);
  end(dead->own_session);
  if (dead->directory)
    end(dead->directory);
  for (const auto& s : dead->shards)
    end(s);
  end(dead->router);
  end(dead->store);
  if (auto alarm = dead->system.registry().get(alarm_name))
    end(caf::actor_cast<caf::actor>(alarm));
  dead->system.registry().erase(alarm_name);
  dead->sessions.clear(), dead->shards.clear();
  dead->directory = nullptr, dead->own_session = nullptr, dead->router = nullptr, dead->store = nullptr;
  // A timeout keeps its actor alive, and the system's end waits for all of them.
  for (int rounds = 0; dead->system.registry().running() != 0; ++rounds) {
    if (rounds == 1000) {
      sim_.violate(fmt::format("harness: {} actors of node {} do not end", dead->system.registry().running(),
                               number(id())));
      dead->system.await_actors_before_shutdown(false);
      break;
    }
    dead->scheduler.run();
    dead->scheduler.clock().cancel_all();
  }
}

void sim_node::pause(micros until) {
  sim_.note("stops", number(id()), static_cast<std::uint64_t>(until - sim_.time.now()));
  paused_until_ = std::max(paused_until_, until);
}

void sim_node::clock_jump(micros forward) {
  sim_.note("clock", number(id()), static_cast<std::uint64_t>(forward));
  ahead_ += forward;
}

void sim_node::set_slow(bool on) {
  sim_.note("disk", number(id()), on);
  slow_ = on;
}

void sim_node::in(micros delay, std::function<void()> what) {
  sim_.time.in(delay, [this, life = life_, what = std::move(what)] {
    if (life != life_ || sim_.failed())
      return;
    if (sim_.time.now() < paused_until_)
      in(paused_until_ - sim_.time.now(), what);
    else if (const auto sentence = last_words_of(what))
      stop(*sentence);
  });
}

void sim_node::wake() {
  if (!is_up() || woken_ || process_->running)
    return;
  woken_ = true;
  in(sim_.luck.between(0, 300), [this] {
    woken_ = false;
    run();
  });
}

/// Runs the actors until all are idle.
void sim_node::run() {
  auto& p = *process_;
  p.running = true;
  if (const auto later = now(); later > p.scheduler.clock().current_time)
    p.scheduler.clock().advance_time(later - p.scheduler.clock().current_time);
  const auto life = life_;
  while (!p.scheduler.jobs.empty() && !sim_.failed()) {
    if (auto& jobs = p.scheduler.jobs; profile_.shuffles && jobs.size() > 1) {
      const auto next = jobs.begin() + static_cast<std::ptrdiff_t>(sim_.luck.below(jobs.size()));
      std::rotate(jobs.begin(), next, next + 1);
    }
    if (sim_.prints())
      print_step();
    p.scheduler.try_run_once();
    ++judge_.count.messages;
    if (dies_after_ != 0 && --dies_after_ == 0) {
      user_.died(id());
      break;
    }
  }
  if (life != life_)
    return;
  p.running = false;
  arm_timer();
}

/// Which actor takes a message, for a person who compares two traces.
void sim_node::print_step() const {
  const auto& jobs = process_->scheduler.jobs;
  if (const auto* actor = dynamic_cast<const caf::local_actor*>(jobs.front()))
    fmt::print("{:15} node {}: {} {}, {} more ({:04x})\n", "", number(id()), actor->name(), actor->id(),
               jobs.size() - 1, sim_.luck.mark());
}

void sim_node::arm_timer() {
  const auto& schedule = process_->scheduler.clock().schedule();
  if (schedule.empty())
    return;
  const auto due =
      std::chrono::ceil<std::chrono::microseconds>(schedule.begin()->first.time_since_epoch()).count();
  auto at = (due - ahead_) * 1000 / rate_;
  while (local(at) < due)
    ++at;
  at = std::max(at, sim_.time.now() + 1);
  if (timer_at_ >= 0 && timer_at_ <= at)
    return;
  timer_at_ = at;
  in(at - sim_.time.now(), [this, at] {
    if (timer_at_ != at)
      return;
    timer_at_ = -1;
    run();
  });
}

// --- the store ---------------------------------------------------------------------------------------------

void sim_node::input(std::function<void(cluster::store_loop&)> what) {
  if (!is_up())
    return;
  if (syncing_)
    held_.push_back(std::move(what));
  else
    what(*process_->loop);
}

/// Refuses what it takes out of the batch.
void sim_node::refuse_some(proposal_batch& batch) {
  if (refuses_one_in_ == 0)
    return;
  std::erase_if(batch.proposals, [&](const proposal& p) {
    if (!sim_.luck.one_in(refuses_one_in_))
      return false;
    if (p.reply_to) {
      result_batch refused;
      refused.results.push_back({p.ticket, ec::overloaded, false, {}});
      caf::anon_send(p.reply_to, std::move(refused));
    }
    return true;
  });
}

void sim_node::tick() {
  input([this](cluster::store_loop& loop) {
    const auto next = loop.is_open() ? loop.tick(now()) : std::chrono::milliseconds{5};
    in(next.count() * one_ms * 1000 / rate_ + sim_.luck.between(0, one_ms), [this] { tick(); });
  });
}

void sim_node::turn_soon() {
  in(sim_.luck.between(0, 200), [this] { turn(); });
}

void sim_node::propose_kept_in(std::chrono::milliseconds in_ms) {
  in(in_ms.count() * one_ms, [this] { input([](cluster::store_loop& loop) { loop.propose_kept(); }); });
}

void sim_node::show_reads_in(std::chrono::nanoseconds delay) {
  in(delay.count() / 1000, [this] { input([this](cluster::store_loop& loop) { loop.show_reads(now()); }); });
}

void sim_node::turn() {
  auto& loop = *process_->loop;
  ++judge_.count.turns;
  loop.begin(now());
  if (!loop.wants_write())
    return end_turn();
  loop.write();
  loop.answer(now());
  if (loop.commit() == storage::durable::with_next) {
    loop.committed({}, now());
    return end_turn();
  }
  syncing_ = true;
  wake(); // answers left before the sync
  micros sync = sim_.luck.between(100, profile_.disk.sync_max);
  if (faults_ && (slow_ || sim_.luck.one_in(profile_.disk.slow_one_in)))
    sync += sim_.luck.between(0, profile_.disk.slow_sync_max);
  if (faults_ && profile_.disk.crash_in_sync_one_in != 0 &&
      sim_.luck.one_in(profile_.disk.crash_in_sync_one_in))
    in(sim_.luck.between(0, sync - 1), [this] { user_.died(id()); });
  in(sync, [this, sync] { synced(sync); });
}

void sim_node::synced(micros took) {
  env_.synced();
  syncing_ = false;
  process_->loop->committed(std::chrono::microseconds{took}, now());
  end_turn();
}

void sim_node::end_turn() {
  process_->loop->finish(now());
  user_.turn_ended(id());
  while (!held_.empty() && !syncing_) {
    const auto what = std::move(held_.front());
    held_.pop_front();
    what(*process_->loop);
  }
  wake();
}

// --- network and clients -----------------------------------------------------------------------------------

std::optional<std::size_t> sim_node::waiting(node_id peer) const {
  return net_.waiting(id(), peer);
}

void sim_node::send_raft(node_id to, std::string frame) {
  if (!is_up() || is_fenced())
    return;
  if (net_.waiting(id(), to)) // without a link nothing leaves
    user_.sent(id(), 'r', frame);
  if (tells_vote_ && gives_vote(frame)) {
    tells_vote_ = false;
    user_.voted(id());
  }
  frame.push_back('r');
  net_.send(id(), to, std::move(frame));
}

bool sim_node::send(node_id to, std::string payload) {
  if (!is_up() || is_fenced())
    return false;
  if (stuffed_.contains(to)) {
    ++unsent_;
    return false;
  }
  const auto held = net_.waiting(id(), to);
  if (!held || (*held != 0 && *held + payload.size() > profile_.calls_window_bytes))
    return false; // an empty link takes anything, as a real one holds more than the largest payload
  user_.sent(id(), 'c', payload);
  payload.push_back('c');
  net_.send(id(), to, std::move(payload));
  return true;
}

void sim_node::frame_arrived(node_id from, std::string bytes) {
  if (!is_up() || is_fenced() || bytes.empty())
    return;
  ++judge_.count.frames;
  sim_.note("frame", number(id()), number(from), fuzz::hash_bytes(bytes));
  const auto lane = bytes.back();
  bytes.pop_back();
  std::vector<std::string> one;
  one.push_back(std::move(bytes));
  if (lane == 'r')
    give(process_->store, raft_payloads{from, std::move(one)});
  else
    give(process_->router, peer_payloads{from, std::move(one)});
}

void sim_node::connection_reset(node_id peer) {
  if (!is_up())
    return;
  give(process_->store, peer_lost{peer});
  give(process_->router, peer_lost{peer});
  net_.reset_processed(id(), peer);
  if (!net_.waiting(id(), peer))
    return;
  give(process_->store, peer_begun{peer});
  give(process_->router, peer_begun{peer});
}

void sim_node::diverged(const cluster::replicas_diverged& what) {
  sim_.violate(fmt::format("node {}: a leader contradicts what is committed in shard {}", number(id()),
                           number(what.at.shard)));
}

core::connection_ref sim_node::next_ref() {
  return {id(), ++process_->last_session, process_->number};
}

session_actor sim_node::open_session(const session_identity& who, std::shared_ptr<session_port> port,
                                     std::shared_ptr<delivery_queue> box) {
  auto session = spawn_session(process_->system, who, profile_.session, std::move(port), std::move(box),
                               caf::actor_cast<router_actor>(process_->router));
  process_->sessions.push_back(session);
  wake();
  return session;
}

void sim_node::ask(core::call what, std::function<void(core::answer&)> done) {
  if (!is_up())
    return;
  const auto n = ++process_->last_call;
  process_->own->waiting.emplace(n, std::move(done));
  call_batch one;
  one.calls.push_back({n, answer_sink{}, std::move(what)});
  give(process_->own_session, std::move(one));
}

void sim_node::drain_leaderships() {
  sim_.note("hands-over", number(id()));
  if (is_up())
    give(process_->store, atom::drain_v);
}

void sim_node::seal(shard_id shard, generation of, std::vector<cluster::member> next) {
  if (is_up())
    give(process_->store, seal_request{shard, of, std::move(next)});
}

void sim_node::stuff(node_id peer, bool on) {
  if (on)
    stuffed_.insert(peer);
  else
    stuffed_.erase(peer);
}

bool sim_node::holds(shard_id shard) {
  return cluster::replication::state_slot(*env_.begin_read(), shard).has_value();
}

std::vector<cluster::replica_status> sim_node::status() const {
  return is_up() && process_->loop->is_open() ? process_->loop->status()
                                              : std::vector<cluster::replica_status>{};
}

cluster::health_facts sim_node::health(std::size_t nodes) const {
  cluster::health_facts f;
  f.self = id();
  f.at = now();
  f.nodes = nodes;
  f.store_answers = is_up() && process_->loop->is_open();
  f.replicas = status();
  if (is_up()) {
    auto known = process_->counters.cluster.read();
    f.leaders = std::move(known.leaders);
    f.without_since = std::move(known.without_since);
    f.full = std::move(known.full);
  }
  for (std::size_t n = 1; n <= nodes; ++n)
    if (node_id{n} != id()) {
      cluster::link_status link;
      link.peer = node_id{n};
      link.connected = waiting(link.peer).has_value();
      f.links.push_back(link);
    }
  return f;
}

std::string sim_node::describe() const {
  static constexpr const char* roles[] = {"follower", "candidate", "leader", "installing",
                                          "sealed",   "waiting",   "halted"};
  std::string out = fmt::format("node {}{}:", number(id()), is_up() ? "" : " (down)");
  for (const auto& r : status())
    out += fmt::format(" [shard {} {} term {} log {}/{}/{} leader {}]", number(r.shard),
                       roles[static_cast<std::size_t>(r.as)], r.term, r.applied_index, r.commit_index,
                       r.last_index, number(r.leader));
  return out;
}

} // namespace parley::sim

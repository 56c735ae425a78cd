#include "tests/cluster/fuzz/world.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace parley::fuzz {

namespace {

constexpr micros progress_within = 10 * one_second;
constexpr micros agree_within = 30 * one_second;

std::vector<cluster::member> sorted(std::vector<cluster::member> members) {
  std::ranges::sort(members);
  return members;
}

} // namespace

profile draw_profile(const run_options& options, chance& luck) {
  profile p;
  p.nodes = options.nodes != 0 ? static_cast<std::size_t>(options.nodes) : luck.percent(60) ? 3 : 5;
  p.shards = static_cast<std::uint16_t>(luck.between(1, luck.percent(70) ? 2 : 4));
  p.propose_every = luck.between(4, luck.percent(50) ? 15 : 80) * one_ms;
  p.read_every = luck.between(20, 150) * one_ms;
  p.fault_every = luck.between(60, luck.percent(50) ? 200 : 600) * one_ms;
  p.storm = luck.between(2, 6) * one_second;
  p.command_bytes_max = luck.percent(70) ? 64 : 2000;
  p.down_max = luck.percent(60) ? 300 * one_ms : 3 * one_second;

  p.network.latency_max = luck.between(1, luck.percent(70) ? 4 : 25) * one_ms;
  p.network.latency_spike_max = luck.between(20, 400) * one_ms;
  p.network.spike_one_in = static_cast<std::uint64_t>(luck.between(15, 200));
  p.network.late_frames_cross_over = luck.percent(50);

  p.disk.sync_max = luck.between(1, luck.percent(70) ? 5 : 30) * one_ms;
  p.disk.slow_sync_max = luck.between(20, 300) * one_ms;
  p.disk.slow_one_in = static_cast<std::uint64_t>(luck.between(20, 200));
  p.disk.crash_in_election_percent =
      static_cast<std::uint64_t>(luck.percent(50) ? luck.between(0, 10) : luck.between(20, 60));
  p.disk.election_sync = 2 * p.network.latency_max;
  p.disk.crash_in_sync_one_in = static_cast<std::uint64_t>(luck.between(100, 2000));

  auto& e = p.engine;
  e.election_timeout = std::chrono::milliseconds{luck.between(150, 600)};
  e.heartbeat_every = e.election_timeout / luck.between(4, 8);
  e.read_round_timeout = std::chrono::milliseconds{luck.between(200, 1500)};
  e.snapshot_retry_after = std::chrono::milliseconds{luck.between(200, 2000)};
  e.inflight_entries_max = static_cast<std::uint32_t>(luck.between(8, luck.percent(50) ? 64 : 4096));
  e.frame_bytes_max = static_cast<std::size_t>(luck.between(2, luck.percent(50) ? 16 : 256)) << 10;
  e.snapshot_chunk_bytes =
      std::min(static_cast<std::size_t>(luck.between(100, luck.percent(50) ? 400 : 8000)), e.frame_bytes_max);
  e.pending_proposals_max = static_cast<std::size_t>(luck.between(16, luck.percent(50) ? 100 : 8192));
  e.entry_bytes_max = static_cast<std::size_t>(luck.between(2, luck.percent(50) ? 4 : 256)) << 10;
  e.log_entries_kept = static_cast<std::size_t>(luck.between(2, luck.percent(70) ? 20 : 300));
  e.log_bytes_kept = static_cast<std::size_t>(luck.between(1, luck.percent(50) ? 8 : 1000)) << 10;
  e.log_cache_bytes = static_cast<std::size_t>(luck.between(0, luck.percent(50) ? 2 : 512)) << 10;
  e.apply_entries_max = static_cast<std::size_t>(luck.between(1, luck.percent(50) ? 10 : 4096));
  e.transfers_max = static_cast<std::uint32_t>(luck.between(1, 4));
  e.transfer_chunks_max = static_cast<std::uint32_t>(luck.between(1, 4));
  e.transfer_time_max = std::chrono::milliseconds{luck.between(500, 5000)};
  e.announce_every = std::chrono::milliseconds{luck.between(100, 1000)};
  e.apply_bytes_max = e.log_cache_bytes + 1; // nothing is drawn for these two: seeds keep their histories
  e.log_cache_time = 2 * e.announce_every;
  e.trim_rows_max = static_cast<std::size_t>(luck.between(4, luck.percent(50) ? 12 : 400));

  // Links that hold little, and mostly logs that hold a multiple of it, so that a follower which was away is
  // more than a window behind and can catch up from the log.
  p.has_outages = luck.percent(50);
  if (p.has_outages) {
    p.network.window_bytes_max = static_cast<std::size_t>(luck.between(128, 256)) << 10;
    p.command_bytes_max = 2000;
    e.frame_bytes_max = std::min<std::size_t>(e.frame_bytes_max, 16 << 10);
    e.snapshot_chunk_bytes = std::min<std::size_t>(e.snapshot_chunk_bytes, 4 << 10);
    e.entry_bytes_max = std::min<std::size_t>(e.entry_bytes_max, 8 << 10);
    e.link_bytes_max = p.network.window_bytes_max / 4;
    e.flight_bytes_max = static_cast<std::size_t>(luck.between(1, 64)) << 10;
    p.keeps_log = luck.percent(70);
    if (p.keeps_log) {
      e.log_bytes_kept = 64 << 20;
      e.log_entries_kept = 100'000;
    }
  }
  // Per shard, a heartbeat and a few small messages in each of its intervals.
  const auto intervals = p.network.idle_within / one_ms / e.heartbeat_every.count() + 2;
  p.network.idle_bytes_max = p.shards * static_cast<std::size_t>(intervals) * 1024;
  return p;
}

world::world(const run_options& options)
    : sim_{options.seed, options.print_trace}, profile_{draw_profile(options, sim_.luck)},
      net_{sim_, *this, profile_.network}, damages_{options.damages}, damage_luck_{options.seed ^
                                                                                   0x64616d61'67650000ULL},
      outage_luck_{options.seed ^ 0x6f757461'67650000ULL}, copy_luck_{options.seed ^ 0x636f7079'00000000ULL} {
  static constexpr int usual[] = {12, 3, 8, 5, 6, 4, 6, 5, 3, 3, 4, 8, 6, 8};
  for (int weight : usual) // a third of the kinds is left out, so that the others get deeper
    profile_.weights.push_back(sim_.luck.percent(65) ? weight : 0);
  profile_.weights[0] = std::max(profile_.weights[0], 1);
  for (std::size_t n = 1; n <= profile_.nodes; ++n) {
    auto config = profile_.engine;
    if (options.put_back) // as a node does, so that those who know better have their say
      config.votes_after = std::chrono::milliseconds{1000};
    config.node = node_id{n};
    config.disk = disk_id{next_disk_++};
    if (const auto fault = cluster::validate(config))
      sim_.violate("harness: " + std::string{fault->field});
    nodes_.push_back(std::make_unique<virtual_node>(sim_, judge_, net_, *this, config, profile_.disk));
    nodes_.back()->env().tear_batches(options.tear);
    nodes_.back()->set_clock_rate(sim_.luck.between(950, 1050));
  }
}

// Founds generation 1 with one node (a cluster that grew), with three, or with all.
void world::found() {
  for (std::uint16_t s = 0; s < profile_.shards; ++s) {
    std::vector<cluster::member> all;
    for (auto& n : nodes_)
      all.push_back(n->self());
    for (auto i = all.size(); i > 1; --i)
      std::swap(all[i - 1], all[sim_.luck.below(i)]);
    const auto kind = sim_.luck.below(10);
    all.resize(kind < 3 ? 1 : kind < 8 ? 3 : all.size());
    const auto members = sorted(all);
    judge_.founded(shard_id{s}, members);
    for (auto m : members) {
      auto& env = node(m.node).env();
      auto txn = env.begin_write();
      cluster::replication::found(*txn, shard_id{s}, members, m);
      if (txn->commit() != ec::none)
        sim_.violate("harness: a commit failed");
      env.synced();
    }
  }
}

void world::every(micros mean, std::function<void()> what) {
  sim_.time.in(sim_.luck.between(0, 2 * mean), [this, mean, what, storm = storm_] {
    if (!storming_ || storm != storm_)
      return;
    what();
    every(mean, what);
  });
}

virtual_node* world::leader_of(shard_id shard) {
  virtual_node* best = nullptr;
  std::pair<generation, std::uint64_t> best_term{};
  for (auto& n : nodes_)
    if (auto s = n->status(shard); s && s->as == cluster::replica_status::role::leader)
      if (std::pair term{s->gen, s->term}; !best || term > best_term) {
        best = n.get();
        best_term = term;
      }
  return best;
}

std::uint64_t world::propose(virtual_node& on, shard_id shard, std::size_t bytes) {
  const auto ticket = next_ticket_++;
  input what{input::kind::propose, {}, shard, ticket};
  what.bytes = make_command(ticket, sim_.luck, bytes);
  proposed_bytes_ += what.bytes.size() + 64; // and what is around it in a log
  on.give(std::move(what));
  return ticket;
}

void world::client_proposes(shard_id shard) {
  auto* leader = leader_of(shard);
  auto& on = leader && !sim_.luck.one_in(10) ? *leader : any_node();
  auto bytes = sim_.luck.below(profile_.command_bytes_max);
  if (sim_.luck.one_in(300))
    bytes = profile_.engine.entry_bytes_max + sim_.luck.below(100) - 50; // close to the limit on the size
  propose(on, shard, bytes);
}

void world::client_reads(shard_id shard) {
  auto* leader = leader_of(shard);
  auto& on = leader && !sim_.luck.one_in(4) ? *leader : any_node();
  on.give({input::kind::read, {}, shard, next_ticket_++});
}

// Chooses new members that repair, grow, shrink or move the shard.
std::vector<cluster::member> world::next_members(const std::vector<cluster::member>& now) {
  std::vector<cluster::member> whole; // members that still have their disk
  std::vector<cluster::member> others;
  for (auto& n : nodes_)
    (std::ranges::find(now, n->self()) != now.end() ? whole : others).push_back(n->self());
  const auto shuffle = [&](auto& v) {
    for (auto i = v.size(); i > 1; --i)
      std::swap(v[i - 1], v[sim_.luck.below(i)]);
  };
  shuffle(whole);
  shuffle(others);
  std::size_t size = now.size();
  switch (sim_.luck.below(6)) {
  case 0:
    size = now.size() >= 3 ? nodes_.size() : 3;
    break;
  case 1:
    size = now.size() >= 5 ? 3 : now.size() >= 3 && sim_.luck.one_in(3) ? 1 : 3;
    break;
  case 2: // one is replaced
    if (!whole.empty() && !others.empty())
      whole.pop_back();
    break;
  case 3: // any members
    whole.insert(whole.end(), others.begin(), others.end());
    others.clear();
    shuffle(whole);
    size = sim_.luck.one_in(4) ? 1 : 3;
    break;
  default: // the same nodes; a lost disk is replaced by another
    break;
  }
  whole.insert(whole.end(), others.begin(), others.end());
  whole.resize(std::min({size, whole.size(), nodes_.size()}));
  if (whole.size() % 2 == 0)
    whole.pop_back();
  return sorted(whole);
}

void world::operator_seals(shard_id shard) {
  auto* leader = leader_of(shard);
  if (!leader)
    return;
  const auto members = leader->status(shard)->members;
  auto next = next_members(members);
  if (next.empty())
    return;
  input what{input::kind::seal, {}, shard, next_ticket_++};
  what.next = std::move(next);
  leader->give(std::move(what));
}

outcome world::run(const run_options& options) {
  if (!sim_.failed())
    found();
  for (auto& n : nodes_)
    if (!sim_.failed())
      n->start();
  const micros end = options.seconds * one_second;
  for (micros stormed = 0; stormed < end && !sim_.failed();) {
    const auto length = std::min(profile_.storm, end - stormed);
    if (options.put_back)
      sim_.time.in(copy_luck_.between(0, length), [this] { keep_a_copy(storm_); });
    storm(length);
    stormed += length;
    if (!sim_.failed())
      calm();
    if (!sim_.failed() && options.put_back && copy_luck_.percent(60)) {
      put_an_old_copy_back();
      if (!sim_.failed())
        calm();
    }
    if (!sim_.failed() && profile_.has_outages && outage_luck_.percent(40)) {
      outage();
      if (!sim_.failed())
        calm();
    }
  }
  return {sim_.violation(), sim_.count, sim_.trace_hash()};
}

void world::until(micros deadline, const std::function<bool()>& reached) {
  while (!sim_.failed() && sim_.time.now() < deadline) {
    for (int steps = 0; steps < 16 && sim_.time.step(deadline) && !sim_.failed(); ++steps) {
    }
    if (reached && reached())
      return;
  }
}

void world::storm(micros length) {
  storming_ = true;
  ++storm_;
  sim_.note("storm", storm_);
  net_.calm(false);
  for (auto& n : nodes_)
    n->set_faults(true);
  for (std::uint16_t s = 0; s < profile_.shards; ++s) {
    every(profile_.propose_every, [this, s] { client_proposes(shard_id{s}); });
    every(profile_.read_every, [this, s] { client_reads(shard_id{s}); });
  }
  every(profile_.fault_every, [this] { next_fault(); });
  if (damages_)
    keep_damaging();
  until(sim_.time.now() + length, nullptr);
  storming_ = false;
}

// Proposes again every 150 ms, as a client would, until one command is acknowledged.
void world::keep_probing(shard_id shard) {
  for (auto ticket : probes_[shard])
    if (judge_.is_acked(ticket)) {
      probed_.emplace(shard, ticket);
      return;
    }
  if (storming_ || sim_.failed())
    return;
  if (auto* leader = leader_of(shard)) {
    probes_[shard].push_back(propose(*leader, shard, 32));
    ++sim_.count.probes;
  }
  sim_.time.in(150 * one_ms, [this, shard] { keep_probing(shard); });
}

void world::calm() {
  sim_.note("calm");
  const auto began = sim_.time.now();
  net_.calm(true);
  net_.unblock_all();
  for (auto& n : nodes_) {
    n->set_faults(false);
    n->set_slow(false);
    n->set_room({std::uint64_t{1} << 40, true});
    n->pause(0);
    if (!n->is_up())
      n->start();
  }
  probed_.clear();
  probes_.clear();
  for (std::uint16_t s = 0; s < profile_.shards; ++s) {
    if (sim_.luck.percent(40)) // a cluster without load must be able to reconfigure
      operator_seals(shard_id{s});
    keep_probing(shard_id{s});
  }
  until(began + progress_within, [&] { return probed_.size() == profile_.shards; });
  for (std::uint16_t s = 0; s < profile_.shards && !sim_.failed(); ++s)
    if (!probed_.contains(shard_id{s}))
      sim_.violate(fmt::format("no progress {} s after all healed: {}", progress_within / one_second,
                               describe(shard_id{s})));
  const auto all_agree = [&] {
    for (std::uint16_t s = 0; s < profile_.shards; ++s)
      if (!agreed(shard_id{s}))
        return false;
    return judge_.pending() == 0;
  };
  until(began + agree_within, all_agree);
  if (sim_.failed())
    return;
  for (std::uint16_t s = 0; s < profile_.shards; ++s)
    if (!agreed(shard_id{s}))
      return sim_.violate(fmt::format("replicas differ {} s after all healed: {}", agree_within / one_second,
                                      describe(shard_id{s})));
  if (judge_.pending() != 0)
    return sim_.violate(fmt::format("questions without an answer {} s after all healed:{}",
                                    agree_within / one_second, judge_.describe_pending()));
  for (auto& n : nodes_)
    n->check_all_states();
}

void world::take_away(virtual_node& node, int how) {
  sim_.note("away", number(node.id()), static_cast<std::uint64_t>(how));
  if (how == 0) {
    node.crash(test::unsynced::seeded);
    return net_.break_all_of(node.id(), nodes_.size());
  }
  if (how == 1) // the process stops, and its connections stay
    return keep_paused(node);
  for (auto& other : nodes_)
    if (other->id() != node.id()) {
      net_.block(node.id(), other->id(), how == 2 ? blocked::stalls : blocked::drops);
      net_.block(other->id(), node.id(), how == 2 ? blocked::stalls : blocked::drops);
    }
}

void world::keep_paused(virtual_node& node) {
  paused_ = true;
  node.pause(sim_.time.now() + 20 * one_ms);
  sim_.time.in(10 * one_ms, [this, &node] {
    if (paused_)
      keep_paused(node);
  });
}

void world::bring_back(virtual_node& node) {
  sim_.note("back", number(node.id()));
  paused_ = false;
  net_.unblock_all();
  node.pause(0);
  if (!node.is_up())
    node.start();
}

void world::write_much(std::size_t bytes, micros within) {
  const auto begun = sim_.time.now();
  std::map<shard_id, std::size_t> written;
  const auto one = std::min<std::size_t>(profile_.engine.entry_bytes_max / 2, 4 << 10);
  while (!sim_.failed() && sim_.time.now() - begun < within) {
    bool done = true;
    for (std::uint16_t s = 0; s < profile_.shards; ++s) {
      auto* leader = leader_of(shard_id{s});
      auto& so_far = written[shard_id{s}];
      done = done && so_far >= bytes;
      for (auto n = 0; n < 8 && leader && so_far < bytes; ++n) {
        propose(*leader, shard_id{s}, one);
        so_far += one;
      }
    }
    if (done)
      return;
    until(sim_.time.now() + 5 * one_ms, nullptr);
  }
}

// The others may each have led, more than once. Beside entries there are heartbeats and the like.
std::size_t world::mailbox_bytes_max(micros away) const {
  const auto& e = profile_.engine;
  const auto entries = e.flight_bytes_max + e.frame_bytes_max + e.entry_bytes_max;
  const auto heartbeats = static_cast<std::size_t>(away / one_ms / e.heartbeat_every.count() + 1);
  return (nodes_.size() - 1) * profile_.shards * (2 * entries + heartbeats * 512);
}

// Some seeds let a follower have so little in flight that the way through the network and two disks limits it, once
// for each flight.
micros world::catch_up_within(std::size_t bytes) const {
  constexpr micros usual = 8 * one_second;
  const auto round = 2 * (profile_.network.latency_max + profile_.disk.sync_max + one_ms);
  return std::max(usual, 2 * round * static_cast<micros>(bytes / profile_.engine.flight_bytes_max));
}

void world::outage() {
  ++sim_.count.outages;
  storming_ = true; // proposals go on, as in a storm; faults do not
  ++storm_;
  for (std::uint16_t s = 0; s < profile_.shards; ++s)
    every(profile_.propose_every, [this, s] { client_proposes(shard_id{s}); });
  auto& away = *nodes_[outage_luck_.below(nodes_.size())];
  const auto since = sim_.time.now();
  const auto proposed_before = proposed_bytes_;
  take_away(away, static_cast<int>(outage_luck_.below(4)));
  until(sim_.time.now() + outage_luck_.between(0, 2) * one_second, nullptr);
  write_much(profile_.network.window_bytes_max * static_cast<std::size_t>(outage_luck_.between(2, 4)),
             5 * one_second);
  until(sim_.time.now() + outage_luck_.between(0, 2) * one_second, nullptr);
  std::map<shard_id, cluster::replica_status> target;
  for (std::uint16_t s = 0; s < profile_.shards; ++s)
    if (auto* leader = leader_of(shard_id{s}); leader && leader != &away)
      target[shard_id{s}] = *leader->status(shard_id{s});
  if (const auto most = mailbox_bytes_max(sim_.time.now() - since); away.mailbox_bytes() > most) {
    if (sim_.prints())
      away.print_mailbox();
    return sim_.violate(fmt::format("{} bytes wait at node {}, which does not look at them; at most {} may",
                                    away.mailbox_bytes(), number(away.id()), most));
  }
  bring_back(away);
  const auto behind = [&](shard_id shard, const cluster::replica_status& then) {
    const auto now = away.status(shard);
    return std::ranges::find(then.members, away.self()) != then.members.end() &&
           (!now || now->gen < then.gen || (now->gen == then.gen && now->applied_index < then.commit_index));
  };
  const auto enough = profile_.keeps_log ? catch_up_within(proposed_bytes_ - proposed_before) : one_second;
  until(sim_.time.now() + enough, [&] {
    return std::ranges::none_of(target, [&](const auto& t) { return behind(t.first, t.second); });
  });
  storming_ = false;
  for (const auto& [shard, then] : target)
    if (!sim_.failed() && profile_.keeps_log && behind(shard, then))
      sim_.violate(
          fmt::format("node {} was away and is back for {} s, and has not what was committed by then "
                      "(index {}): {}",
                      number(away.id()), enough / one_second, then.commit_index, describe(shard)));
}

// True if the leader's generation is the newest and all its members that still have their disk
// have the whole history.
bool world::agreed(shard_id shard) const {
  auto* leader = const_cast<world*>(this)->leader_of(shard);
  if (!leader)
    return false;
  const auto said = *leader->status(shard);
  for (auto m : said.members) {
    auto& n = const_cast<virtual_node&>(node(m.node));
    if (n.self() != m)
      continue;
    const auto its = n.status(shard);
    const auto state = n.state_of(shard);
    if (!its || its->gen != said.gen || !state || state->count != judge_.last_count(shard))
      return false;
  }
  return true;
}

std::string world::describe(shard_id shard) const {
  std::string out = fmt::format("shard {}, {} commands;", number(shard), judge_.last_count(shard));
  for (auto& n : nodes_) {
    const auto state = n->state_of(shard);
    out += fmt::format("\n      {} state {}", n->describe(),
                       state ? static_cast<std::int64_t>(state->count) : -1);
  }
  return out;
}

// A vote that was sent and then forgotten does harm only if a second candidate asks for it before it learns
// of the first candidate. So the two candidates are kept apart for a while, and the voter restarts at once.
void world::died(node_id id, death how) {
  if (!storming_)
    return;
  if (how == death::in_sync)
    return crash(node(id), sim_.luck.between(0, profile_.down_max));
  crash(node(id), sim_.luck.between(0, 20 * one_ms), test::unsynced::lost);
  const auto a = any_node().id();
  const auto b = any_node().id();
  if (a == b || a == id || b == id)
    return;
  net_.block(a, b, blocked::drops);
  net_.block(b, a, blocked::drops);
  sim_.time.in(sim_.luck.between(100 * one_ms, 2 * one_second), [this, a, b] {
    net_.block(a, b, blocked::no);
    net_.block(b, a, blocked::no);
  });
}

bool world::may_seal(const std::vector<cluster::member>& next) {
  const auto whole = std::ranges::count_if(next, [&](cluster::member m) { return node(m.node).self() == m; });
  return static_cast<std::size_t>(whole) > next.size() / 2;
}

bool world::is_up(node_id id) const {
  return node(id).is_up();
}

void world::frame_arrived(node_id at, node_id from, std::string bytes) {
  input what{input::kind::frame, from};
  what.bytes = std::move(bytes);
  node(at).give(std::move(what));
}

void world::connection_reset(node_id at, node_id peer) {
  node(at).give({input::kind::reset, peer});
}

outcome run(const run_options& options) {
  world w{options};
  return w.run(options);
}

} // namespace parley::fuzz

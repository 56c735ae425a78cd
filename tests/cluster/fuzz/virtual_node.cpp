#include "tests/cluster/fuzz/virtual_node.hpp"

#include "cluster/replication/peer_frames.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <utility>

namespace parley::fuzz {

namespace {

/// Prints the contents of a frame for a person who reads a trace. The checks know nothing of frames.
void print_frame(node_id at, node_id from, std::string_view bytes) {
  cluster::frame_reader frame{bytes};
  cluster::message_view m;
  while (frame.next(m)) {
    std::string body;
    for (std::size_t i = 0; i + 8 <= m.body.size() && i < 40; i += 8) {
      std::uint64_t n = 0;
      std::memcpy(&n, m.body.data() + i, sizeof n);
      body += fmt::format(" {}", n);
    }
    fmt::print("             {} <- {}: type {} shard {} gen {}:{} ({} bytes)\n", number(at), number(from),
               number(m.header.type), number(m.header.shard), number(m.header.gen), body, m.body.size());
  }
}

} // namespace

virtual_node::virtual_node(simulation& sim, oracle& judge, virtual_network& net, node_user& user,
                           cluster::replication_config config, disk_profile disk)
    : sim_{sim}, judge_{judge}, net_{net}, user_{user}, config_{config}, disk_{disk},
      env_{test::durability::on_synced, sim.luck.next()}, clock_ahead_{
                                                              sim.luck.between(0, 100 * one_second)} {}

void virtual_node::start() {
  ++life_;
  sim_.note("start", number(id()), number(config_.disk));
  config_.seed = sim_.luck.next();
  machine_ = std::make_unique<history_machine>(sim_, judge_, id());
  replacements_seen_ = 0;
  engine_ = std::make_unique<cluster::replication>(config_, *machine_);
  if (const auto fault = engine_->open(env_, *this, clock()))
    return sim_.violate(fmt::format("node {}: {}", number(id()), fault->what));
  check_all_states();
  terms_.clear();
  wake(0);
  schedule_tick();
}

void virtual_node::crash(test::unsynced what) {
  if (!is_up())
    return;
  ++life_;
  ++sim_.count.crashes;
  const auto in_sync = env_.unsynced_commits();
  engine_.reset();
  machine_.reset();
  mailbox_.clear();
  const auto kept = env_.crash(what);
  sim_.count.lost_batches += in_sync - kept;
  sim_.note("crash", number(id()), in_sync, kept);
  busy_ = woken_ = false;
  tick_at_ = -1;
  paused_until_ = 0;
  judge_.crashed(id());
}

void virtual_node::lose_disk(disk_id next) {
  env_.wipe();
  put_back_ = fenced_ = false;
  config_.disk = next;
  ++sim_.count.disk_losses;
  sim_.note("disk-lost", number(id()), number(next));
}

std::optional<virtual_node::disk_copy> virtual_node::copy_disk() const {
  if (!is_up() || env_.unsynced_commits() != 0)
    return std::nullopt;
  return disk_copy{config_.disk, env_.copy()};
}

void virtual_node::put_back(const disk_copy& older) {
  env_.put_back(older.tables);
  put_back_ = true;
  ++sim_.count.rollbacks;
  sim_.note("put-back", number(id()), number(older.disk));
  judge_.put_back(id(), older.disk);
}

void virtual_node::pause(micros until) {
  paused_until_ = until;
}

cluster::mono_ms virtual_node::clock() const {
  return cluster::mono_ms{(sim_.time.now() * clock_rate_ / 1000 + clock_ahead_) / one_ms};
}

void virtual_node::give(input what) {
  if (!is_up())
    return;
  mailbox_.push_back(std::move(what));
  wake(sim_.luck.between(0, 300));
}

void virtual_node::wake(micros delay) {
  if (!is_up() || busy_ || woken_)
    return;
  woken_ = true;
  sim_.time.in(delay, [this, life = life_] {
    if (life == life_) {
      woken_ = false;
      turn();
    }
  });
}

void virtual_node::schedule_tick() {
  const auto due = static_cast<std::int64_t>(engine_->next_tick()) - static_cast<std::int64_t>(clock());
  // A real timer fires late, never early. A tick in the past must not stop the time.
  const auto when = sim_.time.now() + std::max<micros>(due * one_ms * 1000 / clock_rate_, one_ms) +
                    sim_.luck.between(0, 2 * one_ms);
  if (tick_at_ >= 0 && tick_at_ <= when)
    return;
  tick_at_ = when;
  sim_.time.at(when, [this, when, life = life_] {
    if (life != life_ || tick_at_ != when)
      return;
    tick_at_ = -1;
    wake(0);
    if (busy_)
      schedule_tick();
  });
}

void virtual_node::turn() {
  if (!is_up() || busy_ || fenced_)
    return;
  if (sim_.time.now() < paused_until_)
    return wake(paused_until_ - sim_.time.now());
  ++sim_.count.turns;
  if (clock() >= engine_->next_tick())
    engine_->tick(clock());
  // Usually takes everything, and sometimes only a part, so that batches end anywhere.
  auto take = mailbox_.size();
  if (sim_.luck.one_in(5))
    take = sim_.luck.below(take + 1);
  while (take-- > 0 && !sim_.failed()) {
    auto what = std::move(mailbox_.front());
    mailbox_.pop_front();
    process(std::move(what));
  }
  handle(engine_->begin_turn(clock()));
  if (sim_.failed())
    return;
  if (!engine_->wants_write())
    return finish();
  auto when = storage::durable::now;
  {
    auto txn = env_.begin_write();
    when = engine_->write(*txn, env_.room());
    if (sim_.failed())
      return;
    if (txn->commit(when) != ec::none)
      return sim_.violate("harness: a commit failed");
  }
  if (when == storage::durable::with_next)
    return finish(); // a crash before the next sync may lose it
  busy_ = true;
  micros sync = sim_.luck.between(100, disk_.sync_max);
  if (faults_ && term_rose() && sim_.luck.percent(disk_.crash_in_election_percent)) {
    // Messages that may be sent before the sync get time to arrive; then everything that the sync would
    // have made durable is lost.
    sync += disk_.election_sync;
    sim_.time.in(sync - 1, [this, life = life_] {
      if (life == life_)
        user_.died(id(), death::in_election);
    });
  }
  if (faults_ && (slow_ || sim_.luck.one_in(disk_.slow_one_in)))
    sync += sim_.luck.between(0, disk_.slow_sync_max);
  if (faults_ && sim_.luck.one_in(disk_.crash_in_sync_one_in))
    sim_.time.in(sim_.luck.between(0, sync - 1), [this, life = life_] {
      if (life == life_)
        user_.died(id(), death::in_sync);
    });
  sim_.time.in(sync, [this, life = life_] {
    if (life != life_ || sim_.failed())
      return;
    env_.synced();
    finish();
  });
}

void virtual_node::finish() {
  busy_ = false;
  handle(engine_->end_turn(clock()));
  if (sim_.failed())
    return;
  for (const auto& replica : engine_->status()) {
    if (env_.unsynced_commits() == 0) // entries that were only applied may be lost and applied again
      judge_.durable_status(id(), config_.disk, replica);
    terms_[replica.shard] = {replica.gen, replica.term};
  }
  if (!mailbox_.empty() || engine_->wants_write())
    wake(sim_.luck.between(0, 200));
  schedule_tick();
}

bool virtual_node::term_rose() const {
  for (const auto& replica : engine_->status())
    if (auto was = terms_.find(replica.shard);
        was != terms_.end() && was->second.first == replica.gen && was->second.second < replica.term)
      return true;
  return false;
}

void virtual_node::process(input what) {
  switch (what.what) {
  case input::kind::frame:
    sim_.note("receive", number(id()), number(what.peer), hash_bytes(what.bytes));
    if (sim_.prints())
      print_frame(id(), what.peer, what.bytes);
    engine_->receive(what.peer, what.bytes, clock());
    break;
  case input::kind::reset:
    engine_->peer_reset(what.peer);
    net_.reset_processed(id(), what.peer);
    engine_->peer_begun(what.peer);
    break;
  case input::kind::propose:
    judge_.proposed(id(), what.shard, what.ticket);
    engine_->propose(what.shard, what.ticket, std::move(what.bytes));
    break;
  case input::kind::read:
    judge_.read_asked(id(), what.shard, what.ticket);
    engine_->read(what.shard, what.ticket);
    break;
  case input::kind::transfer:
    sim_.note("transfer", number(id()), number(what.shard), number(what.peer));
    engine_->transfer_leadership(what.shard, what.peer);
    break;
  case input::kind::damage:
    engine_->damaged(what.shard);
    break;
  case input::kind::seal: {
    if (!user_.may_seal(what.next))
      break;
    const auto now = engine_->status(what.shard);
    judge_.seal_asked(id(), what.shard, now ? now->gen : generation::none, what.next, what.ticket);
    sim_.note("seal", number(id()), number(what.shard), what.next.size(), what.ticket);
    engine_->seal(what.shard, std::move(what.next), what.ticket);
    break;
  }
  }
}

void virtual_node::handle(cluster::turn result) {
  for (auto& frame : result.frames) {
    ++sim_.count.frames;
    if (frame.to == id())
      return sim_.violate(fmt::format("node {}: a frame to itself", number(id())));
    net_.send(id(), frame.to, std::move(frame.bytes));
  }
  for (const auto& news : result.news.leaderships)
    judge_.led(id(), news);
  for (const auto& answer : result.news.refusals)
    judge_.refused(id(), answer);
  for (const auto& answer : result.news.reads)
    if (auto shard = judge_.shard_of(answer.ticket))
      judge_.read_ready(id(), answer.ticket, state_of(*shard));
    else
      judge_.read_ready(id(), answer.ticket, std::nullopt);
  if (put_back_ && !result.news.forgets.empty() && !std::exchange(fenced_, true)) {
    user_.recognised(id());
    ++sim_.count.recognised;
    sim_.note("recognised", number(id()), number(result.news.forgets.front().by));
  }
  for (const auto& f : result.news.forgets)
    if (!put_back_)
      sim_.violate(
          fmt::format("node {}: accused by node {} of having forgotten term {}, index {} of shard {}",
                      number(id()), number(f.by), f.term, f.index, number(f.has.shard)));
  if (!result.news.divergences.empty())
    sim_.violate(fmt::format("node {}: a leader contradicts what is committed here", number(id())));
  if (result.news.followers_forgot != 0 && !user_.some_forgot())
    sim_.violate(fmt::format("node {}: takes a late refusal for a disk that forgot", number(id())));
  for (const auto& seal : result.news.seals)
    judge_.sealed(id(), seal, state_of(seal.shard));
  if (machine_->replacements() != replacements_seen_ && !busy_) {
    replacements_seen_ = machine_->replacements();
    check_all_states();
  }
}

std::optional<cluster::replica_status> virtual_node::status(shard_id shard) const {
  return is_up() ? engine_->status(shard) : std::nullopt;
}

std::optional<summary> virtual_node::state_of(shard_id shard) {
  auto txn = env_.begin_read();
  const auto slot = cluster::replication::state_slot(*txn, shard);
  if (!slot)
    return std::nullopt;
  storage::shard_view state{*txn, shard, *slot};
  return read_summary(state).value_or(summary{});
}

void virtual_node::check_state(shard_id shard) {
  auto txn = env_.begin_read();
  const auto slot = cluster::replication::state_slot(*txn, shard);
  if (!slot)
    return;
  storage::shard_view state{*txn, shard, *slot};
  judge_.state_found(id(), shard, read_summary(state).value_or(summary{}), digest_rows(state));
}

void virtual_node::check_all_states() {
  for (const auto& replica : engine_->status())
    check_state(replica.shard);
}

void virtual_node::print_mailbox() const {
  for (const auto& what : mailbox_)
    if (what.what == input::kind::frame)
      print_frame(id(), what.peer, what.bytes);
}

std::size_t virtual_node::mailbox_bytes() const {
  std::size_t bytes = 0;
  for (const auto& what : mailbox_)
    if (what.what == input::kind::frame)
      bytes += what.bytes.size();
  return bytes;
}

std::string virtual_node::describe() const {
  static constexpr const char* roles[] = {"follower", "candidate", "leader", "installing",
                                          "sealed",   "waiting",   "halted"};
  std::string out =
      fmt::format("node {} disk {}{}:", number(id()), number(config_.disk), is_up() ? "" : " (down)");
  if (is_up())
    for (const auto& r : engine_->status()) {
      out += fmt::format(" [shard {} gen {} {} term {} log {}/{}/{} leader {} of", number(r.shard),
                         number(r.gen), roles[static_cast<std::size_t>(r.as)], r.term, r.applied_index,
                         r.commit_index, r.last_index, number(r.leader));
      for (auto m : r.members)
        out += fmt::format(" {}.{}", number(m.node), number(m.disk));
      out += "]";
    }
  return out;
}

} // namespace parley::fuzz

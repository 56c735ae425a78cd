// The disk of a node of the simulator, and what others know of it.
#include "tests/sim/sim_process.hpp"

#include "protocol/values/last_words.hpp"
#include "storage/data_directory.hpp"
#include "tests/sim/process_end.hpp"

#include <caf/send.hpp>

namespace parley::sim {

/// As `claim` of parleyd.cpp: the start is durable before anything leaves.
std::string sim_node::begin_start(sim_membership::parts& with) {
  auto txn = env_.begin_write();
  auto start = storage::begin_start(*txn);
  if (!start)
    return start.error().what;
  auto seen = storage::read_seen(*txn);
  if (!seen)
    return seen.error().what;
  with.seen = std::move(*seen);
  if (txn->commit(storage::durable::now) != ec::none) {
    txn.reset();
    env_.crash(test::unsynced::seeded);
    return "the data directory cannot be written, so the node has not started: check the disk";
  }
  txn.reset();
  env_.synced();
  with.start = {number(self().disk), start->number, std::move(start->words)};
  with.now = [this] { return sim_.time.now(); };
  with.keep = [this](cluster::node_row row) { give(process_->store, std::move(row)); };
  with.ask_whole = [this](cluster::whole_request r) { give(process_->store, std::move(r)); };
  return {};
}

/// As storage/map_guard.hpp does when the system has no page for what is read.
void sim_node::read_one() {
  if (fails_after_ != 0 && process_ && runs_process() && --fails_after_ == 0)
    end_process("parleyd: the data file cannot be read");
}

/// As the thread of cluster/node/row_checker.hpp does.
void sim_node::check_rows() {
  const auto ms = [this] {
    return std::chrono::duration_cast<std::chrono::milliseconds>(now().time_since_epoch());
  };
  auto& p = *process_;
  const auto read = p.walk->next();
  if (read.damaged)
    give(p.store, cluster::damaged_row{*read.damaged});
  auto wait = p.pace->read(read.rows, ms());
  if (read.last)
    wait = p.pace->passed(ms());
  in(wait.count() * one_ms, [this] { check_rows(); });
}

void sim_node::replace_disk(disk_id next) {
  sim_.note("disk-lost", number(id()), number(next));
  env_.wipe();
  set_room(roomy_disk);
  profile_.store.replication.disk = next;
  may_be_damaged_ = was_put_back_ = false;
}

std::optional<sim_node::disk_copy> sim_node::copy_disk() const {
  if (!is_up() || env_.unsynced_commits() != 0)
    return std::nullopt;
  return disk_copy{self().disk, process_->membership->start().number, env_.copy()};
}

void sim_node::put_back(const disk_copy& older) {
  sim_.note("put-back", number(id()), number(older.disk), older.start);
  env_.put_back(older.tables);
  profile_.store.replication.disk = older.disk;
  was_put_back_ = true;
}

const std::set<shard_id>& sim_node::damaged() const {
  static const std::set<shard_id> none;
  return is_up() ? process_->watch.damages : none;
}

core::node_record sim_node::record() const {
  core::node_record r;
  r.id = id();
  r.disk = self().disk;
  return r;
}

void sim_node::set_room(storage::space room) {
  if (env_.room().bytes_free == room.bytes_free)
    return;
  sim_.note("room", number(id()), room.bytes_free);
  env_.set_room(room);
}

void sim_node::admit(const core::node_record& who) {
  if (is_up() && process_->directory)
    give(process_->directory, who);
}

sim_membership* sim_node::membership() const {
  return is_up() ? process_->membership.get() : nullptr;
}

bool sim_node::is_fenced() const {
  return is_up() && process_->fenced;
}

bool sim_node::greets(sim_node& peer) {
  if (!is_up() || !peer.is_up() || is_fenced() || peer.is_fenced())
    return false;
  const auto verdict = process_->membership->judge(peer.id(), peer.process_->membership->start());
  using enum cluster::start_verdict;
  if (!verdict || *verdict == fits)
    return verdict.has_value();
  sim_.note("refused", number(id()), number(peer.id()), static_cast<std::uint64_t>(*verdict));
  if (!peer.was_put_back_)
    sim_.violate(fmt::format("node {} refuses node {}: {}", number(id()), number(peer.id()),
                             cluster::describe(*verdict)));
  peer.fence(*verdict == replaced || *verdict == twice ? storage::fence::then::stay
                                                       : storage::fence::then::begin_anew);
  return false;
}

void sim_node::fence(storage::fence::then next) {
  if (!is_up() || std::exchange(process_->fenced, true))
    return;
  sim_.note("fenced", number(id()));
  sim_.time.in(0, [this, next, life = life_] {
    if (life == life_)
      user_.fenced(id(), next);
  });
}

void sim_node::disk_forgot(const cluster::disk_forgot& what) {
  if (!was_put_back_)
    return sim_.violate(fmt::format("node {}: accused by node {} of having forgotten entry {} of shard {}",
                                    number(id()), number(what.by), what.index, number(what.has.shard)));
  fence(storage::fence::then::begin_anew);
}

} // namespace parley::sim

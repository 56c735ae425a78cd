// Disks that are full, fail, are damaged, lost, or put back to older copies.
//
// What is promised holds while a minority of each shard's replicas lost something. So only one node at a time has a disk that
// lost anything (`disks_.ill`), and it is struck only while every shard has all of its members. What nobody can recognise
// (docs/decisions/0032) is left out: a disk is put back to an older copy in a trial, while the others are there.
#include "cluster/machine/shard_rows.hpp"
#include "cluster/membership/set_aside.hpp"
#include "cluster/replication/replica_record.hpp"
#include "tests/sim/world.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace parley::sim {
namespace {

using storage::table;
using role = cluster::replica_status::role;

constexpr micros hand_over_within = 10 * one_second;
constexpr micros recognise_within = 10 * one_second;
constexpr micros send_within = 30 * one_second;
constexpr micros free_within = 15 * one_second;

bool mentions(const std::string& sentence, std::string_view what) {
  return sentence.find(what) != std::string::npos;
}

} // namespace

const std::vector<world::fault>& world::all_disk_faults() {
  static const std::vector<fault> all{{"disk-full", 4, &world::fill_disk},
                                      {"disk-error", 3, &world::fail_commit},
                                      {"flip", 4, &world::flip_rows},
                                      {"disk-lost", 3, &world::lose_disk}};
  return all;
}

/// Half of the seeds are plain, and may have a trial instead.
bool world::has_shape_beside_disks() {
  disks_.luck = fuzz::chance{options_.seed ^ 0x6469736b'73000000ULL};
  disks_.has_shape = !options_.plain && disks_.luck.percent(50);
  return disks_.has_shape;
}

void world::draw_disks() {
  auto& luck = disks_.luck;
  for (const auto& f : all_disk_faults())
    profile_.disk_faults.push_back(luck.percent(67) ? f.weight : 0);
  profile_.disk_fault_every = luck.between(500, luck.percent(50) ? 2000 : 6000) * one_ms;
  std::vector<enum profile::trial> kinds;
  for (const auto kind : {profile::trial::one_full, profile::trial::all_full, profile::trial::old_copy})
    if (luck.percent(67) && (profile_.replicas >= 3 || kind == profile::trial::all_full))
      kinds.push_back(kind);
  if (!kinds.empty() && luck.percent(60))
    profile_.trial = luck.pick(kinds);

  auto& n = profile_.node;
  n.row_check = std::chrono::milliseconds{luck.between(500, 5000)};
  auto& d = n.directory.emplace();
  d.replicas = static_cast<std::uint16_t>(profile_.replicas);
  d.look_every = std::chrono::milliseconds{luck.between(300, 2000)};
  d.answer_within = std::chrono::milliseconds{luck.between(1000, 5000)};
  agree_within_ =
      120 *
      one_second; // a disk is filled in small pieces, and debts of the time without room are paid singly
  if (options_.without.contains("trial") || disks_.has_shape)
    profile_.trial = profile::trial::none;
  disks_.laggard = fuzz::chance{options_.seed ^ 0x6c616767'61000000ULL}.percent(67) &&
                   !options_.without.contains("laggard");
  // In a third of the seeds, as earlier, no shard is moved by an operator, and all nodes are there from the beginning.
  disks_.moves = disks_.has_shape && fuzz::chance{options_.seed ^ 0x6d6f7665'73000000ULL}.percent(67);
  if (!disks_.moves) {
    shape_.seal_every = 0;
    shape_.founders = 0;
  }
  if (profile_.trial == profile::trial::old_copy) {
    n.store.replication.votes_after = std::chrono::milliseconds{1000}; // those who know better have their say
    for (auto copies = luck.between(1, 3); copies > 0; --copies)
      sim_.time.in(luck.between(2, 12) * one_second, [this] { keep_a_copy(500); });
  }
}

// --- the faults of a storm ---------------------------------------------------------------------------------

/// With half of the reserve or more a disk takes entries, with less nothing.
void world::fill_disk() {
  ++judge_.count.full_disks;
  auto& luck = disks_.luck;
  const auto reserve = profile_.node.store.replication.reserve_bytes;
  const storage::space room{luck.percent(50) ? reserve * 3 / 4 : 4096, false};
  const bool all = luck.one_in(6);
  auto* one = nodes_[luck.below(nodes_.size())].get();
  for (auto& n : nodes_)
    if (all || n.get() == one) {
      n->set_room(room);
      sim_.time.in(luck.between(300 * one_ms, 6 * one_second), [this, &n = *n, storm = storm_] {
        if (storming_ && storm == storm_)
          n.set_room(roomy_disk);
      });
    }
}

/// Storage says that a commit failed: the node cannot know what is on its disk, and stops.
void world::fail_commit() {
  auto& n = *nodes_[disks_.luck.below(nodes_.size())];
  if (!n.is_up())
    return;
  ++judge_.count.disk_errors;
  ++disks_.errors[n.id()];
  n.env().fail_next_commit();
}

void world::flip_rows() {
  when_whole(40, [this](sim_node& node) { damage(node); });
}

/// A few rows of states, which others have; or one row that nothing heals, and then the node begins with an empty disk.
void world::damage(sim_node& node) {
  auto& luck = disks_.luck;
  const auto kind = luck.below(10);
  const bool heals = kind >= 4;
  if (kind < 3)
    take_down(node, luck.between(20 * one_ms, profile_.down_max));
  std::vector<std::pair<table, std::string>> rows;
  const auto txn = node.env().begin_read();
  for (std::uint16_t s = 0; s < profile_.shards; ++s)
    if (const auto slot = cluster::replication::state_slot(*txn, shard_id{s}); slot && heals)
      storage::shard_view{*txn, shard_id{s}, *slot}.ascend(
          {}, {}, [&](std::string_view key, std::string_view) {
            rows.emplace_back(table::state,
                              storage::shard_view::prefix(shard_id{s}, *slot) + std::string{key});
            return storage::scan::more;
          });
    else if (slot && kind == 0)
      rows.emplace_back(table::node, cluster::record_key(shard_id{s}));
  if (kind == 0)
    rows.emplace_back(table::node, "i/start");
  else if (!heals)
    txn->ascend(table::log, {}, {}, [&](std::string_view key, std::string_view) {
      rows.emplace_back(table::log, key);
      return storage::scan::more;
    });
  node.expect_damage();
  for (auto n = heals ? luck.between(1, 4) : 1; n > 0 && !rows.empty(); --n) {
    const auto& [t, key] = luck.pick(rows);
    if (!node.env().corrupt(t, key))
      continue;
    ++judge_.count.flips;
    sim_.note("flipped", number(node.id()), static_cast<std::uint64_t>(t), fuzz::hash_bytes(key));
    disks_.flipped.emplace_back(t, key);
  }
}

void world::lose_disk() {
  when_whole(40, [this](sim_node& node) { begin_with_empty_disk(node); });
}

/// Strikes a node whose disk may lose something, when there is one.
void world::when_whole(int tries, const std::function<void(sim_node&)>& strike) {
  if (!storming_ || sim_.failed() || tries == 0 || profile_.replicas < 3)
    return;
  if (disks_.ill == node_id::none && is_whole() && !(disks_.moves && is_moving())) {
    auto& node = *nodes_[disks_.luck.below(nodes_.size())];
    if (!has_started(node))
      return;
    disks_.ill = node.id();
    strike(node);
    return nurse(node.id());
  }
  sim_.time.in(disks_.luck.between(20, 200) * one_ms, [this, tries, strike, storm = storm_] {
    if (storm == storm_)
      when_whole(tries - 1, strike);
  });
}

bool world::is_whole() const {
  return ailing().empty() && std::ranges::none_of(nodes_, &sim_node::is_syncing);
}

/// Empty if every node runs and every shard has all its members, each with the disk that its node has and with the state of
/// the newest generation: then any one of them may be lost.
std::string world::ailing() const {
  std::map<shard_id, std::pair<generation, std::vector<cluster::member>>> newest;
  std::map<std::pair<shard_id, node_id>, cluster::replica_status> all;
  std::size_t joined = 0;
  for (const auto& n : nodes_) {
    if (disks_.moves && !has_started(*n))
      continue;
    ++joined;
    if (!n->is_up() || n->is_fenced())
      return fmt::format("node {} does not run", number(n->id()));
    if (!n->damaged().empty())
      return fmt::format("node {} has damaged rows of shard {}", number(n->id()),
                         number(*n->damaged().begin()));
    for (auto& r : n->status()) {
      auto& [gen, members] = newest[r.shard];
      if (r.gen > gen && !r.members.empty())
        gen = r.gen, members = r.members;
      all[{r.shard, n->id()}] = std::move(r);
    }
  }
  for (const auto& [shard, it] : newest) {
    const auto& [gen, members] = it;
    if (members.size() < std::min<std::size_t>(profile_.replicas, joined))
      return fmt::format("shard {} has {} members", number(shard), members.size());
    bool led = false;
    for (const auto& m : members) {
      if (at(m.node).self() != m)
        return fmt::format("shard {} has a member on disk {} of node {}, which is lost", number(shard),
                           number(m.disk), number(m.node));
      const auto r = all.find({shard, m.node});
      if (r == all.end() || r->second.gen != gen ||
          (r->second.as != role::leader && r->second.as != role::follower && r->second.as != role::candidate))
        return fmt::format("node {} has not all of shard {}", number(m.node), number(shard));
      led |= r->second.as == role::leader;
    }
    if (!led)
      return fmt::format("nobody leads shard {}", number(shard));
  }
  if (reads_.replaced != node_id::none)
    return fmt::format("node {} is about to meet what cannot be read", number(reads_.replaced));
  if (disks_.ill != node_id::none && !rows_are_mended(at(disks_.ill)))
    return fmt::format("node {} has a damaged row that nobody has found", number(disks_.ill));
  return {};
}

bool world::rows_are_mended(sim_node& node) const {
  return std::ranges::all_of(disks_.flipped, [&](const auto& row) {
    const auto txn = node.env().begin_read();
    txn->get(row.first, row.second);
    return txn->status() == ec::none;
  });
}

/// Until its disk has everything again.
void world::nurse(node_id ill) {
  if (sim_.failed() || disks_.ill != ill)
    return;
  if (!is_whole() || at(ill).env().unsynced_commits() != 0) // a crash could take a mended row back
    return sim_.time.in(50 * one_ms, [this, ill] { nurse(ill); });
  sim_.note("whole", number(ill));
  disks_.ill = node_id::none;
  disks_.flipped.clear();
}

/// Nobody reads the rows of a log before a follower needs them, or the node starts again.
void world::find_damage() {
  if (disks_.ill == node_id::none)
    return;
  auto& node = at(disks_.ill);
  const bool of_log =
      std::ranges::any_of(disks_.flipped, [](const auto& row) { return row.first == table::log; });
  if (of_log && !rows_are_mended(node))
    take_down(node, 20 * one_ms);
}

// --- what operators and nodes do about it ------------------------------------------------------------------

void world::disconnect(sim_node& node, std::uint64_t life) {
  for (auto& c : clients_)
    c->node_ended(node.id(), life);
  net_.break_all_of(node.id(), nodes_.size());
}

void world::stopped(node_id n, const std::string& sentence) {
  auto& node = at(n);
  ++judge_.count.stops;
  disconnect(node, node.life());
  const auto down = sim_.luck.between(20 * one_ms, profile_.down_max);
  if (mentions(sentence, "data file cannot be read"))
    return unread(node);
  auto& errors = disks_.errors[n];
  if (errors > 0 && (mentions(sentence, "storage-failed") || mentions(sentence, "cannot be written"))) {
    --errors;
    if (storming_ && disks_.luck.percent(30)) { // the disk is not mended yet
      ++errors;
      node.env().fail_next_commit();
    }
    return sim_.time.in(down, [&node] { node.start(); });
  }
  if (n != disks_.ill || disks_.flipped.empty())
    return sim_.violate(fmt::format("node {} has stopped: {}", number(n), sentence));
  if (mentions(sentence, "cannot be loaded") || mentions(sentence, "last start cannot be read"))
    return begin_with_empty_disk(node);
  sim_.time.in(down, [&node] { node.start(); });
}

/// Its directory is gone, or was set aside.
void world::begin_with_empty_disk(sim_node& node) {
  ++judge_.count.lost_disks;
  if (node.is_up()) {
    const auto life = node.life();
    node.crash(test::unsynced::seeded);
    disconnect(node, life);
  }
  node.keep_down(true);
  node.replace_disk(disk_id{++disks_.next_disk});
  ask_to_be_listed(node);
}

/// As formation does: a node takes part when others list it with the disk that it has.
void world::ask_to_be_listed(sim_node& node) {
  sim_.time.in(disks_.luck.between(20 * one_ms, 500 * one_ms), [this, &node] {
    auto& other = *nodes_[disks_.luck.below(nodes_.size())];
    if (other.membership() != nullptr && !other.is_fenced() && reaches(node.id(), other.id())) {
      if (other.membership()->lists(node.record())) {
        node.keep_down(false);
        return node.start();
      }
      if (!net_.waiting(other.id(), node.id()))
        other.admit(node.record());
    }
    ask_to_be_listed(node);
  });
}

/// Takes the node's process from it; it begins anew once the others need nothing of its disk.
void world::fenced(node_id n, storage::fence::then next) {
  auto& node = at(n);
  ++judge_.count.fenced;
  const auto life = node.life();
  node.crash(test::unsynced::kept);
  disconnect(node, life);
  node.keep_down(true);
  if (next == storage::fence::then::begin_anew)
    return ask_whether_whole(node);
  sim_.time.in(one_second, [this, &node] { begin_with_empty_disk(node); }); // a person does
}

void world::ask_whether_whole(sim_node& node) {
  sim_.time.in(2 * one_second, [this, &node] {
    std::vector<cluster::formation_answer> answers;
    for (auto& other : nodes_) {
      auto* m = other->membership();
      if (other.get() == &node || m == nullptr || other->is_fenced() || !reaches(node.id(), other->id()))
        continue;
      cluster::formation_answer a;
      a.as = cluster::formation_answer::standing::member;
      a.what.record.shards = profile_.shards;
      a.whole = m->whole_without(node.id());
      a.has_session = net_.waiting(other->id(), node.id()) ? 1 : 0;
      answers.push_back(std::move(a));
    }
    if (cluster::are_whole(answers))
      begin_with_empty_disk(node);
    else
      ask_whether_whole(node);
  });
}

bool world::may_connect(node_id a, node_id b) {
  if (!options_.disks && !options_.rescues)
    return true;
  const bool one = at(a).greets(at(b)); // both say what they think of the other
  const bool other = at(b).greets(at(a));
  return one && other;
}

// --- trials ------------------------------------------------------------------------------------------------

/// One thing befalls a disk while all else is well, so what follows has a bound.
void world::disk_trial() {
  calm();
  if (sim_.failed())
    return;
  ++judge_.count.trials;
  sim_.note("trial", static_cast<std::uint64_t>(profile_.trial));
  const auto reserve = profile_.node.store.replication.reserve_bytes;
  switch (profile_.trial) {
  case profile::trial::none:
    break;
  case profile::trial::one_full:
    try_one_full(*nodes_[disks_.luck.below(nodes_.size())],
                 {disks_.luck.percent(50) ? reserve * 3 / 4 : 4096, false});
    break;
  case profile::trial::all_full:
    try_all_full({reserve * 3 / 4, false});
    break;
  case profile::trial::old_copy:
    try_old_copy();
    break;
  }
  storming_ = false;
}

/// It hands over what it leads, and the others serve.
void world::try_one_full(sim_node& node, storage::space room) {
  ++judge_.count.full_disks;
  node.set_room(room);
  talk();
  const auto leads = [](const cluster::replica_status& r) { return r.as == role::leader; };
  if (!until(hand_over_within, [&] { return std::ranges::none_of(node.status(), leads); }))
    return sim_.violate(fmt::format("node {} has no room for {} s and still leads: {}", number(node.id()),
                                    hand_over_within / one_second, node.describe()));
  until(disks_.luck.between(one_second, 4 * one_second), [] { return false; });
  storming_ = false;
  std::string why;
  const auto all_sent = [&] {
    for (auto& c : clients_)
      if (!c->settled())
        return why = c->describe(), false;
    return (why = judge_.missing()).empty();
  };
  if (!until(send_within, all_sent))
    sim_.violate(fmt::format("liveness: only node {} has no room, and {}", number(node.id()), why));
  node.set_room(roomy_disk);
}

/// Messages wait, and what frees room is taken.
void world::try_all_full(storage::space room) {
  talk();
  until(disks_.luck.between(100 * one_ms, 2 * one_second), [] { return false; });
  for (auto& n : nodes_) {
    ++judge_.count.full_disks;
    n->set_room(room);
  }
  until(disks_.luck.between(one_second, 3 * one_second), [] { return false; });
  storming_ = false;
  std::string why;
  if (!until(free_within, [&] { return (why = unacknowledged()).empty(); }))
    sim_.violate("liveness: no node has room, and " + why);
  for (auto& n : nodes_)
    n->set_room(roomy_disk);
}

/// Empty, or a device that has rows which no replica knows that it has.
std::string world::unacknowledged() {
  for (auto& c : clients_) {
    if (!c->is_member() || c->cursor() == inbox_pos::none)
      continue;
    inbox_pos stored{};
    for (auto& n : nodes_) {
      const auto txn = n->env().begin_read();
      for (const auto& r : n->status())
        if (const auto slot = cluster::replication::state_slot(*txn, r.shard))
          if (const auto row =
                  storage::shard_view{*txn, r.shard, *slot}.get(cluster::rows::inbox_head_key(c->user())))
            if (auto head = cluster::rows::read<cluster::rows::inbox_head>(*row))
              if (const auto* d = head->find(c->device()))
                stored = std::max(stored, d->acknowledged);
    }
    if (stored < c->cursor())
      return fmt::format("device {} has rows up to {}, and has acknowledged {}", number(c->device()),
                         number(c->cursor()), number(stored));
  }
  return {};
}

/// Tries again for a while: most of the time some commit is not synced.
void world::keep_a_copy(int tries) {
  auto& node = *nodes_[disks_.luck.below(nodes_.size())];
  if (auto copy = node.copy_disk(); copy && disks_.ill != node.id())
    disks_.copies.insert_or_assign(node.id(), std::move(*copy));
  else if (tries > 0 && !sim_.failed())
    sim_.time.in(one_ms, [this, tries] { keep_a_copy(tries - 1); });
}

/// The others are there, know each other and are quiet, so what the node had confirmed is known to them.
void world::try_old_copy() {
  if (disks_.copies.empty())
    return;
  const auto skip = disks_.luck.below(disks_.copies.size());
  const auto& [id, copy] = *std::next(disks_.copies.begin(), static_cast<std::ptrdiff_t>(skip));
  auto& node = at(id);
  until(500 * one_ms, [] { return false; }); // the last results arrive
  if (sim_.failed() || !is_whole())
    return;
  const bool other_disk = copy.disk != node.self().disk;
  const auto others =
      disks_.laggard && !other_disk ? leave_with_laggard(node, copy.start) : std::vector<sim_node*>{};
  if (sim_.failed() || node.membership() == nullptr)
    return;
  const auto had = node.status();
  const auto start_then = node.membership()->start().number;
  const auto life = node.life();
  node.crash(test::unsynced::lost);
  disconnect(node, life);
  node.put_back(copy);
  ++judge_.count.put_back;
  disks_.ill = id;
  nurse(id);
  const auto before = judge_.count.fenced;
  node.start();
  // Each start since was seen by the others. A copy of the start that ran last has forgotten something if it lacks an entry,
  // or a term; only a frame of the session before may bring it into the latter.
  bool must = !other_disk && copy.start < start_then;
  const auto look = [&](bool terms) {
    for (const auto& then : had)
      for (const auto& now : node.status())
        if (now.shard == then.shard && !other_disk && then.as != role::sealed)
          must |= now.gen < then.gen || (now.gen == then.gen && (now.last_index < then.applied_index ||
                                                                 (terms && now.term < then.term)));
  };
  until(one_ms, [&] { return !node.status().empty(); });
  look(!profile_.network.late_frames_cross_over);
  talk();
  const auto recognised = [&] { return judge_.count.fenced != before; };
  until(recognise_within, recognised);
  for (auto* other : others)
    start_again(*other);
  if (must && !recognised() && !sim_.failed())
    sim_.violate(
        fmt::format("node {} has an older disk, and nobody noticed: {}", number(id), node.describe()));
}

/// The older copy is to meet one node only, which was away while the last messages were acknowledged: the two may be a majority
/// that lacks them. Of the node's starts that one has seen a later one than the copy's. Returns the others, which are down.
std::vector<sim_node*> world::leave_with_laggard(sim_node& node, std::uint64_t start) {
  auto& laggard = *nodes_[disks_.luck.below(nodes_.size())];
  if (&laggard == &node)
    return {};
  if (node.membership()->start().number == start) {
    go_down(node);
    start_again(node);
  }
  const auto is_known = [&] { return is_whole() && net_.waiting(laggard.id(), node.id()); };
  if (!until(10 * one_second, is_known) || sim_.failed())
    return {};
  go_down(laggard);
  talk();
  until(disks_.luck.between(500 * one_ms, 3 * one_second), [] { return false; });
  storming_ = false;
  std::vector<sim_node*> others;
  for (auto& n : nodes_)
    if (n.get() != &laggard && n.get() != &node) {
      go_down(*n);
      others.push_back(n.get());
    }
  sim_.note("laggard", number(node.id()), number(laggard.id()));
  ++judge_.count.laggards;
  start_again(laggard);
  return others;
}

void world::go_down(sim_node& node) {
  const auto life = node.life();
  node.crash(test::unsynced::kept);
  disconnect(node, life);
  node.keep_down(true);
}

void world::start_again(sim_node& node) {
  node.keep_down(false);
  node.start();
}

} // namespace parley::sim

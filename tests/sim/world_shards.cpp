// What befalls nodes and shards beside the usual faults: shards go on with other members, lanes are full, power
// flickers; and what has to be true of members in the end.
#include "cluster/replication/replica_record.hpp"
#include "tests/sim/world.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

namespace parley::sim {

using role = cluster::replica_status::role;

sim_node* world::leader_of(shard_id shard) {
  sim_node* best = nullptr;
  std::pair<generation, std::uint64_t> best_term{};
  for (auto& n : nodes_)
    for (const auto& r : n->status())
      if (r.shard == shard && r.as == role::leader)
        if (std::pair term{r.gen, r.term}; !best || term > best_term) {
          best = n.get();
          best_term = term;
        }
  return best;
}

std::vector<cluster::member> world::members_of(shard_id shard) {
  if (auto* leader = leader_of(shard))
    for (auto& r : leader->status())
      if (r.shard == shard)
        return r.members;
  return {cluster::member{}};
}

generation world::generation_of(const sim_node& leader, shard_id shard) {
  for (const auto& r : leader.status())
    if (r.shard == shard)
      return r.gen;
  return {};
}

/// One that has joined.
sim_node& world::some_node() {
  auto& n = *nodes_[shape_luck_.below(nodes_.size())];
  return has_started(n) ? n : *nodes_.front();
}

/// Repairs nothing, because no disk is lost: it grows, shrinks or moves the shard, or keeps it where it is.
std::vector<cluster::member> world::next_members(const std::vector<cluster::member>& now) {
  std::vector<cluster::member> in, out;
  for (auto& n : nodes_)
    if (has_started(*n) && !n->is_kept_down()) // nobody moves a shard to a disk that is not listed
      (std::ranges::find(now, n->self()) != now.end() ? in : out).push_back(n->self());
  const auto shuffle = [this](auto& v) {
    for (auto i = v.size(); i > 1; --i)
      std::swap(v[i - 1], v[shape_luck_.below(i)]);
  };
  shuffle(in);
  shuffle(out);
  auto size = now.size();
  switch (shape_luck_.below(6)) {
  case 0:
    size = now.size() >= 3 ? 5 : 3;
    break;
  case 1:
    size = now.size() >= 5 || shape_luck_.percent(65) ? 3 : 1;
    break;
  case 2:
  case 3: // one gives way to another
    if (!in.empty() && !out.empty())
      in.pop_back();
    break;
  case 4: // any
    in.insert(in.end(), out.begin(), out.end());
    out.clear();
    shuffle(in);
    size = shape_luck_.one_in(4) ? 1 : 3;
    break;
  default: // the same
    break;
  }
  in.insert(in.end(), out.begin(), out.end());
  in.resize(std::min(size, in.size()));
  if (in.size() % 2 == 0)
    in.pop_back();
  std::ranges::sort(in);
  return in;
}

/// Nobody moves a shard to a disk that is lost.
bool world::are_there(const std::vector<cluster::member>& members) {
  return std::ranges::all_of(members, [this](const auto& m) {
    const auto& n = at(m.node);
    return n.self() == m && !n.is_kept_down();
  });
}

/// The shards of which a seal is in a log of any other node than `but_of`, and not applied.
std::set<shard_id> world::about_to_move(const std::set<node_id>& but_of) {
  std::set<shard_id> found;
  for (auto& n : nodes_) {
    if (but_of.contains(n->id()))
      continue;
    const auto txn = n->env().begin_read();
    std::map<shard_id, cluster::replica_record> records;
    cluster::each_record(*txn, [&](shard_id shard, std::string_view bytes) {
      if (auto r = cluster::decode_record(bytes).it)
        records.emplace(shard, std::move(*r));
    });
    txn->ascend(storage::table::log, {}, {}, [&](std::string_view, std::string_view row) {
      const auto h = cluster::get_row_header(row, core::reading::known).it;
      if (h && h->kind == cluster::entry_kind::seal)
        if (const auto r = records.find(h->shard);
            r != records.end() && r->second.gen == h->gen && r->second.applied_index < h->index)
          found.insert(h->shard);
      return storage::scan::more;
    });
  }
  return found;
}

/// Nodes join, or a seal was asked for just now, or is in a log and not applied: then who loses its disk may be the one that
/// has the state.
bool world::is_moving() {
  const auto started = std::ranges::count_if(nodes_, [&](const auto& n) { return has_started(*n); });
  return sim_.time.now() - disks_.sealed_at < one_second || started < 3 || // nobody else has what it has
         !about_to_move({}).empty();
}

void world::move_shard() {
  const shard_id shard{static_cast<std::uint16_t>(shape_luck_.below(profile_.shards))};
  auto* leader = leader_of(shard);
  if (leader == nullptr)
    return;
  const auto of = generation_of(*leader, shard);
  const auto next = next_members(members_of(shard));
  if (next.empty())
    return;
  if (options_.disks && (disks_.ill != node_id::none || next.size() < 3))
    return; // an operator waits until the shard has its members again, and does not trust one disk
  disks_.sealed_at = sim_.time.now();
  ++shaped_.seals_asked;
  sim_.note("seal", number(shard), number(leader->id()), next.size());
  leader->seal(shard, of, next);
  // What decided on it may be slow, and a second one of the same opinion. (Drawn of no chance that others draw of.)
  if (fuzz::chance late{mix64(options_.seed ^ static_cast<std::uint64_t>(sim_.time.now()))}; late.percent(30))
    sim_.time.in(late.between(0, 2 * one_second), [this, shard, of, next] {
      if (auto* now = leader_of(shard); now != nullptr && storming_ && !sim_.failed() && are_there(next))
        now->seal(shard, of, next);
    });
  if (shape_luck_.percent(60))
    sim_.time.in(shape_luck_.between(0, shape_luck_.percent(50) ? 30 * one_ms : 600 * one_ms),
                 [this, leader, next] {
                   if (storming_ && !sim_.failed())
                     strike_mover(*leader, next);
                 });
}

/// In the middle of a move: who had the state, or who is to get it, or all.
void world::strike_mover(sim_node& leader, const std::vector<cluster::member>& next) {
  auto& successor = at(shape_luck_.pick(next).node);
  const auto down = shape_luck_.between(20 * one_ms, profile_.down_max);
  switch (shape_luck_.below(6)) {
  case 0:
  case 1:
    return take_down(leader, down);
  case 2:
    return take_down(successor, down);
  case 3:
    for (auto& n : nodes_)
      take_down(*n, shape_luck_.between(20 * one_ms, 500 * one_ms));
    return;
  case 4:
    ++judge_.count.pauses;
    return successor.pause(sim_.time.now() + shape_luck_.between(20 * one_ms, 2 * one_second));
  default:
    ++judge_.count.resets;
    if (successor.id() != leader.id())
      net_.break_connection(successor.id(), leader.id());
  }
}

/// A member that the next generation does without goes down as soon as its own has ended, and comes back when that one has
/// ended as well, mostly on nodes that keep nothing of it.
void world::leave_behind() {
  fuzz::chance luck{mix64(options_.seed ^ static_cast<std::uint64_t>(sim_.time.now()) ^ 0x6c656674)};
  const shard_id shard{static_cast<std::uint16_t>(luck.below(profile_.shards))};
  auto* leader = leader_of(shard);
  if (leader == nullptr || options_.disks)
    return;
  std::vector<cluster::member> may_stay, others;
  for (const auto& m : members_of(shard))
    if (m != leader->self())
      may_stay.push_back(m);
  if (may_stay.size() < 2)
    return;
  const auto left = luck.pick(may_stay);
  for (auto& n : nodes_)
    if (has_started(*n) && !n->is_kept_down() && n->self() != left && n.get() != leader)
      others.insert(others.begin() + static_cast<std::ptrdiff_t>(luck.below(others.size() + 1)), n->self());
  if (others.size() < 3)
    return;
  std::vector next{leader->self(), others[0], others[1]};
  std::ranges::sort(next);
  std::vector<cluster::member> after{others.begin() + 2, others.end()}; // who keeps nothing of it
  after.resize(after.size() < 3 ? 1 : 3);
  std::ranges::sort(after);
  const auto of = generation_of(*leader, shard);
  sim_.note("seal", number(shard), number(leader->id()), next.size(), number(left.node));
  ++shaped_.seals_asked;
  left_behind_ = {left.node, shard, of, luck.between(3 * one_second, 8 * one_second), std::move(after)};
  leader->seal(shard, of, std::move(next));
}

/// At the end of a turn of a node.
void world::note_left_behind(sim_node& node, const cluster::replica_status& r) {
  const auto it = left_behind_;
  if (node.id() != it.node || r.shard != it.shard || r.gen != it.of || r.as != role::sealed || !storming_)
    return;
  sim_.time.in(0, [this, &node, it] { take_down(node, it.down); });
  move_on(it.shard, static_cast<generation>(number(it.of) + 1), it.after, 40);
  left_behind_ = {};
}

void world::move_on(shard_id shard, generation of, const std::vector<cluster::member>& to, int tries) {
  if (!storming_ || sim_.failed() || tries == 0 || !are_there(to))
    return;
  if (auto* leader = leader_of(shard); leader != nullptr && generation_of(*leader, shard) >= of) {
    ++shaped_.seals_asked;
    return leader->seal(shard, of, to);
  }
  sim_.time.in(50 * one_ms, [this, shard, of, to, tries] { move_on(shard, of, to, tries - 1); });
}

/// Raft goes on meanwhile: calls are refused at once; answers, pushes and announcements of leaders come late.
void world::stuff_lane() {
  auto& from = *nodes_[shape_luck_.below(nodes_.size())];
  const auto to = nodes_[shape_luck_.below(nodes_.size())]->id();
  if (from.id() == to)
    return;
  ++shaped_.stuffed;
  sim_.note("stuff", number(from.id()), number(to));
  from.stuff(to, true);
  sim_.time.in(shape_luck_.between(50 * one_ms, 4 * one_second), [&from, to] { from.stuff(to, false); });
}

/// What was acknowledged is owed to inboxes when power fails, and nothing is confirmed between two failures.
void world::flicker() {
  ++shaped_.flickers;
  say_much();
  auto when = shape_luck_.between(0, 300 * one_ms);
  for (auto times = shape_luck_.between(1, 3); times > 0; --times) {
    sim_.time.in(when, [this] {
      if (!storming_ || sim_.failed())
        return;
      ++judge_.count.power_losses;
      for (auto& n : nodes_)
        take_down(*n, shape_luck_.between(5 * one_ms, 200 * one_ms));
    });
    when += shape_luck_.between(210 * one_ms, 1500 * one_ms);
  }
}

/// One that has no replica of the user's shard; null if there is none.
sim_node* world::foreign_node(user_id user) {
  const auto shard = home_shard(user, profile_.shards);
  std::vector<sim_node*> without;
  for (auto& n : nodes_)
    if (n->is_up() && !n->holds(shard))
      without.push_back(n.get());
  if (without.empty())
    return nullptr;
  ++shaped_.foreign;
  return shape_luck_.pick(without);
}

std::string world::unseated() {
  std::map<shard_id, cluster::replica_status> newest;
  for (auto& n : nodes_)
    for (const auto& r : n->status())
      if (r.as != role::sealed)
        if (auto [i, is_new] = newest.try_emplace(r.shard, r); !is_new && r.gen > i->second.gen)
          i->second = r;
  for (std::uint16_t s = 0; s < profile_.shards; ++s) {
    const shard_id shard{s};
    const auto seat = newest.find(shard);
    if (seat == newest.end())
      return fmt::format("shard {} has no members", s);
    const auto& members = seat->second.members;
    for (auto& n : nodes_) {
      if (n->id() == gone_)
        continue;
      const auto all = n->status();
      const auto own = std::ranges::find(all, shard, &cluster::replica_status::shard);
      if (std::ranges::find(members, n->self()) == members.end()) {
        if (n->holds(shard))
          return fmt::format("node {} keeps the state of shard {}, which is elsewhere", number(n->id()), s);
      } else if (own == all.end() || own->gen != seat->second.gen || !n->holds(shard)) {
        return fmt::format("node {} has no state of shard {}, generation {}, of which it is a member",
                           number(n->id()), s, number(seat->second.gen));
      }
    }
    if (shape_.tends_itself && members.size() < std::min(profile_.replicas, nodes_.size()))
      return fmt::format("shard {} has {} members, and nobody adds more", s, members.size());
  }
  return {};
}

} // namespace parley::sim

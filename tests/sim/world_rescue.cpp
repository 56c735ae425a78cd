// Rescues: the majority of a shard has lost its disks for good, and it goes on with one survivor (cluster/replication/rescue.hpp).
//
//   lag      the survivor hears little of some nodes, so it lacks what the others acknowledged last
//   strike   the victims are gone for good; in most cases power has failed everywhere
//   rescue   an operator stops the survivors, rescues the shards that lost their majority, and starts them. The victims come
//            back with empty disks, are listed with them, and are filled
//
// Left out is what docs/decisions/0049 says that a rescue cannot make good: a survivor that never heard of the newest term, and
// registrations, devices and conversations that it does not have (they are begun anew by people).
#include "actors/core/commands.hpp"
#include "cluster/machine/shard_queries.hpp"
#include "cluster/machine/shard_rows.hpp"
#include "cluster/replication/rescue.hpp"
#include "tests/sim/world.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace parley::sim {
namespace {

using cluster::replica_record;
using storage::table;

struct seat {
  sim_node* node = nullptr;
  replica_record record;
};

std::optional<replica_record> record_of(sim_node& node, shard_id shard) {
  const auto txn = node.env().begin_read();
  const auto bytes = txn->get(table::node, cluster::record_key(shard));
  return bytes ? cluster::decode_record(*bytes).it : std::nullopt;
}

/// The entries above what is applied, each with its commands, up to a seal.
std::vector<std::vector<std::string>> unapplied(storage::read_txn& txn, shard_id shard,
                                                const replica_record& r) {
  std::map<std::uint64_t, std::pair<cluster::entry_kind, std::string>> log;
  txn.ascend(table::log, {}, {}, [&](std::string_view, std::string_view row) {
    if (const auto h = cluster::get_row_header(row, core::reading::known).it;
        h && h->shard == shard && h->gen == r.gen && h->index > r.applied_index) {
      log.erase(log.lower_bound(h->index), log.end());
      log.emplace(h->index, std::pair{h->kind, std::string{cluster::row_payload(row)}});
    }
    return storage::scan::more;
  });
  std::vector<std::vector<std::string>> out;
  for (const auto& [index, entry] : log) {
    if (entry.first == cluster::entry_kind::seal)
      break;
    auto& commands = out.emplace_back();
    reader in{entry.second};
    while (entry.first == cluster::entry_kind::commands && in.ok() && !in.done())
      commands.emplace_back(in.get_bytes());
  }
  return out;
}

} // namespace

std::vector<std::string> rescue_switches() {
  return {"rescue-lag", "rescue-power", "rescue-again", "rescue-late", "rescue-quiet", "rescue-inbox"};
}

/// Before the nodes are made.
void world::draw_rescues() {
  auto& luck = rescues_.luck;
  luck = fuzz::chance{options_.seed ^ 0x72657363'75650000ULL};
  disks_.luck = fuzz::chance{luck.next()};
  const auto is_drawn = [&](const char* name) {
    const bool yes = luck.percent(67);
    return yes && !options_.without.contains(name);
  };
  rescues_.lags = is_drawn("rescue-lag");
  rescues_.power = is_drawn("rescue-power");
  rescues_.late = is_drawn("rescue-late");
  rescues_.again = is_drawn("rescue-again");
  rescues_.quiet = is_drawn("rescue-quiet");
  rescues_.inbox = fuzz::chance{options_.seed ^ 0x696e626f'78000000ULL}.percent(35) &&
                   !options_.without.contains("rescue-inbox");
  profile_.replicas = 3;
  auto& d = profile_.node.directory.emplace();
  d.replicas = static_cast<std::uint16_t>(profile_.replicas);
  d.look_every = std::chrono::milliseconds{luck.between(300, 2000)};
  d.answer_within = std::chrono::milliseconds{luck.between(1000, 5000)};
  agree_within_ = 120 * one_second;
  shape_.newcomer_every = 0; // who registers meanwhile may be forgotten
  shape_.founders = 0;
}

void world::plan_rescues(micros storm) {
  if (!options_.rescues)
    return;
  auto& luck = rescues_.luck;
  sim_.time.in(luck.between(storm / 10, storm), [this] { begin_rescue(300); });
  if (rescues_.again)
    sim_.time.in(luck.between(storm / 2, storm), [this] { begin_rescue(300); });
}

/// When every shard has all its members, so that the survivor of each is one that has what a member has.
void world::begin_rescue(int tries) {
  if (!storming_ || sim_.failed() || tries == 0)
    return;
  auto& luck = rescues_.luck;
  if (rescues_.under_way || !ailing().empty() || !choose_victims())
    return sim_.time.in(luck.between(20, 200) * one_ms, [this, tries] { begin_rescue(tries - 1); });
  if (rescues_.inbox && cut_off_inbox())
    return;
  rescues_.under_way = true;
  sim_.note("rescue-begins");
  if (!rescues_.lags)
    return lose_majorities();
  for (auto& survivor : nodes_)
    if (!rescues_.victims.contains(survivor->id()) && luck.percent(60))
      survivor->drain_leaderships(); // one that leads falls behind in nothing
  sim_.time.in(luck.between(0, 500 * one_ms), [this] { lag(); });
}

void world::lag() {
  auto& luck = rescues_.luck;
  for (auto& survivor : nodes_)
    if (!rescues_.victims.contains(survivor->id()))
      for (const auto victim : rescues_.victims)
        if (luck.percent(60)) {
          const auto how = luck.percent(50) ? fuzz::blocked::stalls : fuzz::blocked::drops;
          net_.block(victim, survivor->id(), how);
          if (luck.percent(30))
            net_.block(survivor->id(), victim, how);
        }
  for (auto bursts = luck.between(0, 4); bursts > 0; --bursts)
    say_much();
  sim_.time.in(luck.between(one_ms, luck.percent(50) ? 300 * one_ms : 2 * one_second),
               [this] { lose_majorities(); });
}

/// The survivors hear nothing more of who leads one of the shards that are about to lose their majority, and of the others
/// everything. So they have the last messages of conversations, and lack that inboxes there got them, which is confirmed;
/// and nobody says anything after that.
bool world::cut_off_inbox() {
  auto& luck = rescues_.luck;
  struct plan {
    node_id leader;
    std::vector<std::pair<conversation_id, user_id>> said; ///< by whom
  };
  std::vector<plan> plans;
  for (std::uint16_t s = 0; s < profile_.shards; ++s) {
    const auto* leader = leader_of(shard_id{s});
    const auto members = members_of(shard_id{s});
    const auto lost = static_cast<std::size_t>(
        std::ranges::count_if(members, [&](const auto& m) { return rescues_.victims.contains(m.node); }));
    if (leader == nullptr || !rescues_.victims.contains(leader->id()) || 2 * lost < members.size())
      continue;
    plan one{leader->id(), {}};
    for (const auto& [a, b] : judge_.pairs()) {
      const auto c = core::direct_conversation(a, b);
      const auto* other = leader_of(home_shard(c, profile_.shards));
      if (other == nullptr || other == leader)
        continue;
      if (home_shard(a, profile_.shards) == shard_id{s})
        one.said.emplace_back(c, b);
      if (home_shard(b, profile_.shards) == shard_id{s})
        one.said.emplace_back(c, a);
    }
    if (!one.said.empty())
      plans.push_back(std::move(one));
  }
  if (plans.empty())
    return false;
  const auto& chosen = luck.pick(plans);
  rescues_.under_way = true;
  sim_.note("rescue-begins", number(chosen.leader));
  const auto how = luck.percent(50) ? fuzz::blocked::stalls : fuzz::blocked::drops;
  for (auto& survivor : nodes_)
    if (!rescues_.victims.contains(survivor->id()))
      net_.block(chosen.leader, survivor->id(), how);
  storming_ = false;
  for (const auto& [to, says] : chosen.said)
    if (auto* who = member_of(says))
      for (auto left = luck.between(1, 3); left > 0; --left)
        who->send(to, 30);
  strike_when_said(40);
  return true;
}

/// When nobody has anything to send any more, or does not get rid of it.
void world::strike_when_said(int tries) {
  if (sim_.failed())
    return;
  if (tries > 0 && !all_have_settled())
    return sim_.time.in(50 * one_ms, [this, tries] { strike_when_said(tries - 1); });
  sim_.time.in(rescues_.luck.between(0, 300 * one_ms), [this] { lose_majorities(); });
}

/// So that some shard loses its majority, and each has a member left.
bool world::choose_victims() {
  auto& luck = rescues_.luck;
  for (int tries = 0; tries < 20; ++tries) {
    auto& victims = rescues_.victims;
    victims.clear();
    const auto count = luck.between(2, static_cast<std::int64_t>(nodes_.size()) - 1);
    while (victims.size() < static_cast<std::size_t>(count))
      victims.insert(nodes_[luck.below(nodes_.size())]->id());
    bool some = false, all_have_one = true;
    for (std::uint16_t s = 0; s < profile_.shards; ++s) {
      const auto members = members_of(shard_id{s});
      const auto lost = static_cast<std::size_t>(
          std::ranges::count_if(members, [&](const auto& m) { return victims.contains(m.node); }));
      some |= 2 * lost >= members.size();
      all_have_one &= lost < members.size();
    }
    if (some && all_have_one)
      return true;
  }
  return false;
}

void world::lose_majorities() {
  auto& luck = rescues_.luck;
  if (rescues_.quiet && luck.percent(50))
    storming_ = false; // no later message shows anybody what is missing
  for (const auto victim : rescues_.victims) {
    auto& node = at(victim);
    const auto life = node.life();
    if (node.is_up()) {
      node.crash(test::unsynced::seeded);
      disconnect(node, life);
    }
    node.keep_down(true);
  }
  if (rescues_.power) {
    ++judge_.count.power_losses;
    for (auto& n : nodes_)
      take_down(*n, luck.between(20 * one_ms, 500 * one_ms));
  }
  for (auto& survivor : nodes_)
    for (const auto victim : rescues_.victims) {
      net_.block(victim, survivor->id(), fuzz::blocked::no);
      net_.block(survivor->id(), victim, fuzz::blocked::no);
    }
  sim_.time.in(rescues_.late ? luck.between(100 * one_ms, 4 * one_second) : 0, [this] { rescue(); });
}

/// Of each shard that has lost its majority: who goes on. Empty with a reason if one cannot be rescued so that it is known
/// what is lost: then the victims come back with their disks.
std::map<shard_id, sim_node*> world::choose_survivors(std::string& why) {
  std::map<shard_id, sim_node*> out;
  const auto sealed = about_to_move(rescues_.victims);
  for (std::uint16_t s = 0; s < profile_.shards; ++s) {
    const shard_id shard{s};
    std::vector<seat> seats;
    for (auto& n : nodes_)
      if (auto r = record_of(*n, shard))
        seats.push_back({n.get(), std::move(*r)});
    const auto newest = std::ranges::max(seats, {}, [](const seat& x) { return x.record.gen; }).record.gen;
    std::uint64_t term = 0;
    std::vector<cluster::member> members;
    for (const auto& x : seats)
      if (x.record.gen == newest) {
        term = std::max(term, x.record.term);
        members = x.record.members;
        if (x.record.as != replica_record::life::live)
          why = fmt::format("shard {} is moving", s);
      }
    const auto lost =
        std::ranges::count_if(members, [&](const auto& m) { return rescues_.victims.contains(m.node); });
    if (2 * static_cast<std::size_t>(lost) < members.size()) {
      if (sealed.contains(shard)) // to members that may be lost, and by then this operator has gone
        why = fmt::format("shard {} is about to move", s);
      continue;
    }
    std::pair<std::uint64_t, std::uint64_t> best{};
    for (const auto& x : seats) {
      if (rescues_.victims.contains(x.node->id()) || x.record.gen != newest)
        continue;
      const auto view = cluster::look_at(*x.node->env().begin_read(), shard, x.node->self());
      if (!view) {
        why = view.error();
        continue;
      }
      if (const std::pair has{view->last_term, view->last}; !out.contains(shard) || has > best)
        out[shard] = x.node, best = has;
    }
    if (!out.contains(shard))
      why = fmt::format("nobody can go on with shard {}", s);
    else if (record_of(*out[shard], shard)->term < term)
      why = fmt::format("the survivor of shard {} has not heard of the newest term", s);
    else if (!knows_all(*out[shard], shard))
      why = fmt::format("the survivor of shard {} lacks a conversation or a device", s);
  }
  return out;
}

bool world::knows_all(sim_node& node, shard_id shard) {
  namespace rows = cluster::rows;
  const auto txn = node.env().begin_read();
  storage::shard_view state{*txn, shard, cluster::replication::state_slot(*txn, shard).value_or(0)};
  const auto has_device = [&](user_id user, device_id device) {
    if (home_shard(user, profile_.shards) != shard)
      return true;
    const auto row = state.get(rows::account_key(user));
    const auto account = row ? rows::read<rows::account>(*row) : std::nullopt;
    return account &&
           std::ranges::find(account->devices, device, &core::device_record::id) != account->devices.end();
  };
  return std::ranges::all_of(
             clients_,
             [&](const auto& c) { return !c->is_member() || has_device(c->user(), c->device()); }) &&
         std::ranges::all_of(sleepers_, [&](const auto& s) { return has_device(s.user, s.device); }) &&
         std::ranges::all_of(judge_.pairs(), [&](const auto& pair) {
           const auto c = core::direct_conversation(pair.first, pair.second);
           return home_shard(c, profile_.shards) != shard || state.get(rows::head_key(c)).has_value();
         });
}

void world::rescue() {
  rescues_.under_way = false;
  if (sim_.failed())
    return;
  std::string why;
  const auto survivors = choose_survivors(why);
  std::set<sim_node*> stopped;
  if (why.empty())
    for (const auto& [shard, node] : survivors) {
      if (stopped.insert(node).second && node->is_up()) {
        const auto life = node->life();
        node->crash(test::unsynced::kept); // as an operator stops it
        disconnect(*node, life);
      }
      node->keep_down(true);
      rescue_shard(*node, shard);
    }
  else if (sim_.prints())
    fmt::print("{:15} no rescue: {}\n", "", why);
  ++(why.empty() ? judge_.count.rescues : judge_.count.not_rescued);
  for (auto* node : stopped)
    sim_.time.in(rescues_.luck.between(20 * one_ms, 500 * one_ms), [node] {
      node->keep_down(false);
      node->start();
    });
  for (const auto victim : rescues_.victims) {
    auto& node = at(victim);
    if (why.empty()) {
      ++judge_.count.lost_disks;
      node.replace_disk(disk_id{++disks_.next_disk});
      ask_to_be_listed(node);
    } else {
      node.keep_down(false);
      node.start();
    }
  }
}

/// As cluster/node/rescue_shard.cpp does it, and tells the judge what there was.
void world::rescue_shard(sim_node& node, shard_id shard) {
  const auto before = *record_of(node, shard);
  judge::survival has;
  has.shards = profile_.shards;
  has.next = generation{static_cast<std::uint32_t>(number(before.gen) + 1)};
  const auto txn = node.env().begin_write();
  storage::shard_view state{*txn, shard, cluster::replication::state_slot(*txn, shard).value_or(0)};
  state.ascend(cluster::rows::row_key{'m'}, cluster::rows::row_key{'m'}.past(),
               [&](std::string_view key, std::string_view) {
                 has.messages.emplace_back(key);
                 return storage::scan::more;
               });
  const auto entries = unapplied(*txn, shard, before);
  const auto counting = core::encode_for(cluster::queries::read_format(state),
                                         core::command{core::count_rescue{profile_.shards}});
  const auto done = cluster::rescue(*txn, shard, node.self(), counting);
  if (!done)
    return sim_.violate(fmt::format("shard {} cannot be rescued on node {}: {}", number(shard),
                                    number(node.id()), done.error()));
  std::uint64_t index = 1; // the state that it is given
  if (done->last_term != before.term)
    has.counted_at = ++index;
  for (const auto& commands : entries) {
    ++index;
    for (std::size_t i = 0; i < commands.size(); ++i)
      has.entries[{index, i}] = fuzz::hash_bytes(commands[i]);
  }
  if (done->last_term == before.term)
    has.counted_at = ++index;
  if (txn->commit() != ec::none)
    sim_.violate("harness: a commit failed");
  node.env().synced();
  sim_.note("rescued", number(node.id()), number(shard), entries.size());
  judge_.rescued(shard, std::move(has));
}

} // namespace parley::sim

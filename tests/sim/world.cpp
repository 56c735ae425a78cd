#include "tests/sim/world.hpp"

#include "cluster/machine/shard_rows.hpp"
#include "cluster/membership/founding.hpp"
#include "tests/sim/story.hpp"
#include "tests/sim/switches.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace parley::sim {
namespace {

constexpr micros join_within = 30 * one_second;

/// What `look` says of the first state of a replica of which it says anything.
template <class Nodes, class Look>
std::string first_said(Nodes& nodes, Look look) {
  std::map<shard_id, generation> newest; // what an earlier generation has left says nothing
  for (auto& n : nodes)
    for (const auto& r : n->status())
      newest[r.shard] = std::max(newest[r.shard], r.gen);
  for (auto& n : nodes) {
    auto txn = n->env().begin_read();
    for (const auto& r : n->status())
      if (const auto slot = cluster::replication::state_slot(*txn, r.shard); slot && r.gen == newest[r.shard])
        if (auto said = look(*n, r, storage::shard_view{*txn, r.shard, *slot}); !said.empty())
          return said;
  }
  return {};
}

} // namespace

world::world(const run_options& options)
    : options_{options}, sim_{options.seed, options.print_trace}, profile_{without(draw_profile(sim_.luck),
                                                                                   options)},
      shape_luck_{options.seed ^ 0x73686170'65000000ULL}, net_{sim_, *this, profile_.network} {
  sim_.keep_events();
  if (!options.disks || has_shape_beside_disks())
    take_shape(options);
  for (const auto& f : all_faults()) // a third of the kinds is left out, so that the others get deeper
    profile_.faults.push_back(sim_.luck.percent(65) ? f.weight : 0);
  for (const auto& w : all_works())
    profile_.works.push_back(sim_.luck.percent(65) ? w.weight : 0);
  profile_.faults[0] = std::max(profile_.faults[0], 1);
  profile_.works[0] = std::max(profile_.works[0], 1);
  if (options.disks)
    draw_disks(), draw_reads();
  if (options.rescues)
    draw_rescues();
  profile_.node.shard.resident.silent_after =
      profile_.node.session.attach_every *
      fuzz::chance{options.seed ^ 0x73696c65'6e740000ULL}.between(15, 30) / 10;
  for (std::size_t n = 1; n <= profile_.nodes; ++n) {
    auto one = profile_.node;
    one.router.node = node_id{n};
    one.store.replication.node = node_id{n};
    one.store.replication.disk = disk_id{100 + n};
    for (const auto& fault :
         {validate(one.router), validate(one.shard), validate(one.session), cluster::validate(one.store)})
      if (fault)
        sim_.violate("harness: " + std::string{fault->field});
    nodes_.push_back(std::make_unique<sim_node>(sim_, judge_, net_, *this, one));
    nodes_.back()->set_clock_rate(sim_.luck.between(970, 1030));
  }
  if (options.variation != 0)
    sim_.luck = fuzz::chance{mix64(sim_.luck.next() ^ options.variation)};
}

std::vector<std::string> world::kinds() {
  std::vector<std::string> out;
  for (const auto* all : {&all_faults(), &all_works(), &all_disk_faults(), &all_read_faults()})
    for (const auto& k : *all)
      out.emplace_back(k.name);
  return out;
}

const std::vector<world::fault>& world::all_works() {
  static const std::vector<fault> all{{"say", 40, &world::say},       {"say-much", 2, &world::say_much},
                                      {"mark", 8, &world::read_mark}, {"read", 3, &world::read_all},
                                      {"open", 2, &world::open_one},  {"device", 1, &world::add_device}};
  return all;
}

// --- what users do -----------------------------------------------------------------------------------------

std::pair<conversation_id, sim_client*> world::any_conversation() {
  const auto [a, b] = sim_.luck.pick(judge_.pairs());
  std::vector<sim_client*> members;
  for (auto& c : clients_)
    if (c->is_member() && (c->user() == a || c->user() == b))
      members.push_back(c.get());
  return {core::direct_conversation(a, b), sim_.luck.pick(members)};
}

void world::say() {
  const auto [to, who] = any_conversation();
  const auto bytes =
      shape_.heavy ? body_bytes() : sim_.luck.below(sim_.luck.one_in(20) ? profile_.body_bytes_max : 40) + 1;
  who->send(to, bytes);
}

void world::say_much() {
  const auto [to, who] = any_conversation();
  for (auto n = sim_.luck.between(5, 20); n > 0; --n)
    who->send(to, 1 + sim_.luck.below(40));
}

void world::read_mark() {
  const auto [of, who] = any_conversation();
  who->mark_read(of);
}

void world::read_all() {
  const auto [of, who] = any_conversation();
  who->sync(of);
}

void world::open_one() {
  auto& a = any_client();
  auto& b = any_client();
  if (a.user() == b.user() || !a.is_member())
    return;
  a.open(b.user());
}

void world::add_device() {
  auto& first = any_client();
  const auto has = std::ranges::count_if(clients_, [&](const auto& c) { return c->user() == first.user(); });
  if (!first.is_member() || has >= 3)
    return;
  clients_.push_back(std::make_unique<sim_client>(sim_, judge_, *this, profile_.client, first.user(),
                                                  device_id{next_device_++}));
  clients_.back()->join(phones_.phone_of(first.user()));
}

sim_node* world::find_node(device_id device) {
  auto& any = any_node();
  auto& n = has_started(any) ? any : *nodes_.front();
  if (shape_.prefers_foreign && shape_luck_.percent(65))
    for (const auto& c : clients_)
      if (c->device() == device)
        if (auto* foreign = foreign_node(c->user()))
          return foreign;
  return n.is_up() ? &n : nullptr;
}

std::vector<sim_node*> world::known_nodes() {
  std::vector<sim_node*> found;
  for (auto& n : nodes_)
    if (has_started(*n))
      found.push_back(n.get());
  return found;
}

// --- the course of a run -----------------------------------------------------------------------------------

void world::found() {
  cluster::founding record;
  record.shards = profile_.shards;
  record.replicas = static_cast<std::uint16_t>(profile_.replicas);
  const auto founders = shape_.founders != 0 ? shape_.founders : nodes_.size();
  for (std::size_t i = 0; i < founders; ++i) {
    const auto& n = nodes_[i];
    record.nodes.push_back(n->record());
  }
  for (auto& n : nodes_) {
    auto txn = n->env().begin_write();
    for (std::uint16_t s = 0; s < profile_.shards; ++s) {
      const auto members = cluster::first_members(record, shard_id{s});
      if (std::ranges::find(members, n->self()) != members.end())
        cluster::replication::found(*txn, shard_id{s}, members, n->self());
    }
    if (txn->commit() != ec::none)
      sim_.violate("harness: a commit failed");
    txn.reset();
    n->env().synced();
  }
  for (std::size_t n = 0; n < founders; ++n)
    nodes_[n]->start();
  for (auto& n : nodes_)
    net_.break_all_of(n->id(), nodes_.size()); // so that sessions begin
  for (std::size_t u = 1; u <= profile_.users; ++u) {
    clients_.push_back(std::make_unique<sim_client>(sim_, judge_, *this, profile_.client, user_id{u},
                                                    device_id{next_device_++}));
    clients_.back()->join();
  }
  const auto all = [&](auto is) { return std::ranges::all_of(clients_, is); };
  if (!until(join_within, [&] { return all([](const auto& c) { return c->is_member(); }); }))
    return sim_.violate(
        fmt::format("liveness: not all users could register: {}", clients_.front()->describe()));
  for (std::size_t i = 0; i < profile_.conversations; ++i) {
    const auto a = sim_.luck.below(profile_.users), b = sim_.luck.below(profile_.users);
    if (a == b)
      continue;
    clients_[a]->open(clients_[b]->user());
  }
  clients_[0]->open(clients_[1]->user());
  if (!until(join_within, [&] { return all_have_settled(); }))
    sim_.violate("liveness: not all conversations could be opened");
  if (!sim_.failed())
    register_sleepers();
}

void world::every(micros mean, const std::vector<fault>& kinds, const std::vector<int>& weights,
                  fuzz::chance plan) {
  int sum = 0;
  for (const auto w : weights)
    sum += w;
  if (sum == 0)
    return;
  sim_.time.in(plan.between(0, 2 * mean),
               [this, mean, &kinds, &weights, plan, sum, storm = storm_]() mutable {
                 if (!storming_ || storm != storm_ || sim_.failed())
                   return;
                 auto at = static_cast<int>(plan.below(static_cast<std::uint64_t>(sum)));
                 fuzz::chance own{plan.next()};
                 for (std::size_t i = 0; i < kinds.size(); ++i)
                   if (at -= weights[i]; at < 0) {
                     if (options_.without.contains(kinds[i].name))
                       break;
                     sim_.note(kinds[i].name, &kinds == &all_works());
                     std::swap(own, sim_.luck);
                     (this->*kinds[i].strike)();
                     std::swap(own, sim_.luck);
                     break;
                   }
                 every(mean, kinds, weights, plan);
               });
}

bool world::until(micros within, const std::function<bool()>& reached) {
  const auto deadline = sim_.time.now() + within;
  while (sim_.time.now() < deadline && !sim_.failed()) {
    const auto next = std::min(deadline, sim_.time.now() + 100 * one_ms);
    while (sim_.time.step(next) && !sim_.failed()) {
    }
    if (!sim_.failed() && reached())
      return true;
  }
  return sim_.failed();
}

sim_client* world::member_of(user_id user) {
  const auto it =
      std::ranges::find_if(clients_, [&](const auto& c) { return c->is_member() && c->user() == user; });
  return it == clients_.end() ? nullptr : it->get();
}

bool world::all_have_settled() const {
  return std::ranges::all_of(clients_, [](const auto& c) { return c->settled(); });
}

std::string world::unsettled() {
  if (options_.disks || options_.rescues)
    if (auto what = ailing(); !what.empty())
      return what;
  for (auto& c : clients_)
    if (!c->settled())
      return c->describe();
  if (auto what = judge_.missing(); !what.empty())
    return what;
  if (auto what = unplaced(); !what.empty())
    return what;
  if (auto what = unshaped(); !what.empty())
    return what;
  if (auto what = unequal(); !what.empty())
    return what;
  // What stands in the rows: nothing is owed, and each device's cursor is where its inbox ends.
  return first_said(nodes_, [&](sim_node&, const cluster::replica_status& r, storage::shard_view state) {
    namespace rows = cluster::rows;
    std::string found;
    state.ascend(rows::row_key{'o'}, rows::row_key{'o'}.past(), [&](std::string_view key, std::string_view) {
      found = fmt::format("shard {} still owes debt {}", number(r.shard), rows::parse_debt_key(key));
      return storage::scan::stop;
    });
    for (auto& c : clients_)
      if (const auto row = state.get(rows::inbox_head_key(c->user())))
        if (auto head = rows::read<rows::inbox_head>(*row))
          if (const auto* d = head->find(c->device());
              found.empty() && (d == nullptr || d->acknowledged != head->last))
            found =
                fmt::format("the inbox of user {} ends at {}, and device {} has acknowledged {} and holds {}",
                            number(c->user()), number(head->last), number(c->device()),
                            d ? number(d->acknowledged) : 0, number(c->cursor()));
    return found;
  });
}

/// Replicas that are not equal.
std::string world::unequal() {
  std::map<shard_id, std::pair<std::uint64_t, std::uint64_t>> seen; // what was applied, and its rows
  return first_said(
      nodes_, [&](sim_node& n, const cluster::replica_status& r, storage::shard_view state) -> std::string {
        if (r.applied_index != r.last_index)
          return fmt::format("node {} has not applied all of shard {}", number(n.id()), number(r.shard));
        std::uint64_t sum = 0;
        state.ascend({}, {}, [&](std::string_view key, std::string_view value) {
          sum = mix64(sum ^ fuzz::hash_bytes(key)) ^ fuzz::hash_bytes(value);
          return storage::scan::more;
        });
        const auto [i, is_new] = seen.try_emplace(r.shard, r.applied_index, sum);
        if (is_new)
          return {};
        if (i->second.first != r.applied_index)
          return fmt::format("replicas of shard {} have applied {} and {}", number(r.shard), i->second.first,
                             r.applied_index);
        if (i->second.second != sum)
          sim_.violate(fmt::format("rule 11: replicas of shard {} have applied entry {} and hold other rows",
                                   number(r.shard), r.applied_index));
        return {};
      });
}

void world::read_to_the_end() {
  for (const auto& [a, b] : judge_.pairs())
    for (auto& c : clients_)
      if (c->user() == a || c->user() == b)
        c->sync(core::direct_conversation(a, b));
  const auto have_read = [&] { return all_have_settled(); };
  // Where pages are tiny, and few are read at a time, long conversations take longer. Their pages come all the same.
  bool done = until(agree_within_, have_read);
  for (int more = 4; !done && more > 0; --more) {
    const auto before = judge_.count.synced;
    done = until(agree_within_, have_read);
    if (judge_.count.synced == before)
      break;
  }
  if (!done)
    sim_.violate("liveness: the last syncs do not end");
  if (!sim_.failed() && !options_.plain)
    ask_in_the_end();
}

void world::talk() {
  storming_ = true;
  ++storm_;
  every(profile_.send_every, all_works(), profile_.works,
        fuzz::chance{mix64(options_.seed ^ 0x0a7e) + storm_ - 1});
}

void world::begin_storm() {
  net_.calm(false);
  for (auto& n : nodes_)
    n->set_faults(true);
  talk();
  every(profile_.fault_every, all_faults(), profile_.faults,
        fuzz::chance{mix64(options_.seed ^ 0xfa17) + storm_ - 1});
  every(profile_.disk_fault_every, all_disk_faults(), profile_.disk_faults,
        fuzz::chance{mix64(options_.seed ^ 0xd15c) + storm_ - 1});
  static const std::vector<int> one{1};
  if (reads_.every != 0)
    every(reads_.every, all_read_faults(), one, fuzz::chance{mix64(options_.seed ^ 0x4ead) + storm_ - 1});
}

/// Debts, and messages that nobody has acknowledged.
std::size_t world::left_over() {
  namespace rows = cluster::rows;
  std::size_t left = 0;
  for (auto& c : clients_)
    left += c->to_send();
  for (std::uint16_t s = 0; s < profile_.shards; ++s) {
    auto* leader = leader_of(shard_id{s});
    if (leader == nullptr)
      continue;
    const auto txn = leader->env().begin_read();
    if (const auto slot = cluster::replication::state_slot(*txn, shard_id{s}))
      storage::shard_view{*txn, shard_id{s}, *slot}.ascend(rows::row_key{'o'}, rows::row_key{'o'}.past(),
                                                           [&](std::string_view, std::string_view) {
                                                             ++left;
                                                             return storage::scan::more;
                                                           });
  }
  return left;
}

/// A storm may leave more than is paid one by one, or read in tiny pages, in `agree_within_`. Then some of what is left is paid
/// or read in each further quarter of it: what is stuck, or is driven again and again, does not get less.
void world::settle() {
  std::string why;
  const auto is_settled = [&] { return (why = unsettled()).empty() && (why = unmarked()).empty(); };
  bool settled = until(agree_within_, is_settled);
  int quarters = 40; // in case that what is paid is owed again, or the same pages are read
  auto left = left_over();
  for (auto read = judge_.count.synced; !settled && quarters-- > 0;) {
    settled = until(agree_within_ / 4, is_settled);
    const auto now = left_over();
    if (now >= left && judge_.count.synced == read)
      break;
    left = std::min(left, now), read = judge_.count.synced;
  }
  if (!settled) {
    for (auto& n : nodes_)
      why += "\n  " + n->describe();
    sim_.violate("liveness: " + why);
  }
}

/// Everything heals, but for what does not, and is as it shall be.
void world::calm() {
  lose_one_for_good(moment::storm_ends);
  heal();
  settle();
}

outcome world::run(const run_options& options) {
  if (!sim_.failed())
    found();
  micros storm_began = -1;
  const auto length = static_cast<micros>(options.seconds * one_second);
  const bool has_trial = profile_.trial != profile::trial::none;
  if (!sim_.failed()) {
    storm_began = sim_.time.now();
    begin_storm();
    begin_shapes(length);
    plan_rescues(length);
    until(has_trial ? length / 2 : length, [] { return false; });
  }
  if (has_trial && !sim_.failed()) {
    disk_trial();
    if (!sim_.failed()) {
      begin_storm();
      until(length / 2, [] { return false; });
    }
  }
  if (!sim_.failed()) {
    end_shapes();
    calm();
  }
  if (!sim_.failed())
    lose_one_for_good(moment::all_settled);
  if (!sim_.failed())
    expect_truth({});
  if (!sim_.failed())
    expect_silence();
  if (!sim_.failed())
    hold_up_sessions();
  if (!sim_.failed())
    expect_promptness();
  if (!sim_.failed() && sim_.luck.percent(30) && gone_ == node_id::none) // another one would be too many
    examine_cut_off();
  if (!sim_.failed() && sim_.luck.percent(50))
    refuse_some();
  if (!sim_.failed()) {
    settle();
    strike_last();
  }
  if (!sim_.failed())
    settle();
  if (!sim_.failed())
    read_to_the_end();
  if (!sim_.failed())
    judge_.finish();
  return {sim_.violation(),  sim_.failed() ? tell(sim_.events(), sim_.violation()) : "",
          judge_.count,      shapes(),
          sim_.trace_hash(), sim_.time.now(),
          storm_began};
}

outcome run(const run_options& options) {
  return world{options}.run(options);
}

} // namespace parley::sim

// The course of what a seed adds to its usual run (shapes.hpp).
#include "tests/sim/world.hpp"

#include "protocol/values/limits.hpp"

#include <algorithm>

namespace parley::sim {

/// Before the nodes are made.
void world::take_shape(const run_options& options) {
  if (options.plain)
    return;
  shape_ = without(draw_shape(shape_luck_, profile_.nodes), options.without);
  if (shape_.nodes != 0) {
    profile_.nodes = shape_.nodes;
    profile_.replicas = 3;
  }
  auto& n = profile_.node;
  n.publish_every = shape_.publish_every;
  if (shape_.tends_itself) {
    auto& d = n.directory.emplace();
    d.replicas = static_cast<std::uint16_t>(profile_.replicas);
    d.look_every = std::chrono::milliseconds{shape_luck_.between(300, 3000)};
    d.answer_within = std::chrono::milliseconds{shape_luck_.between(1000, 5000)};
  }
  if (shape_.heavy && profile_.body_bytes_max < body_bytes_max) {
    profile_.body_bytes_max = body_bytes_max;
    const auto rows = std::max(profile_.client.page_rows, n.session.pull_rows);
    n.calls_window_bytes += rows * (body_bytes_max + 300) + body_bytes_max;
  }
}

void world::now_and_then(const char* name, micros mean, void (world::*strike)()) {
  if (mean == 0)
    return;
  again_and_again(name, mean, strike, fuzz::chance{mix64(options_.seed ^ fuzz::hash_bytes(name))});
}

/// When it happens is drawn of `plan` alone.
void world::again_and_again(const char* name, micros mean, void (world::*strike)(), fuzz::chance plan) {
  const auto in = plan.between(0, 2 * mean);
  sim_.time.in(in, [this, name, mean, strike, plan] {
    if (!storming_ || sim_.failed())
      return;
    sim_.note(name);
    (this->*strike)();
    again_and_again(name, mean, strike, plan);
  });
}

void world::begin_shapes(micros storm) {
  now_and_then("move-shard", shape_.seal_every, &world::move_shard);
  if (shape_.leaves_behind)
    now_and_then("leave-behind", 2 * shape_.seal_every, &world::leave_behind);
  now_and_then("stuff-lane", shape_.stuff_every, &world::stuff_lane);
  now_and_then("flicker", shape_.flicker_every, &world::flicker);
  now_and_then("newcomer", shape_.newcomer_every, &world::add_newcomer);
  now_and_then("look-up", shape_.newcomer_every / 2, &world::look_up_phone);
  now_and_then("wake", shape_.wake_every, &world::wake_one);
  send_away(storm);
  for (auto n = shape_.founders != 0 ? shape_.founders : nodes_.size(); n < nodes_.size(); ++n)
    sim_.time.in(shape_luck_.between(0, storm / 2), [this, &node = *nodes_[n]] {
      if (node.is_up() || sim_.failed())
        return;
      ++shaped_.joined;
      node.start();
      net_.break_all_of(node.id(), nodes_.size());
    });
}

/// Before all heals: a cluster without load moves its shards, too.
void world::end_shapes() {
  storming_ = false;
  for (auto& n : nodes_)
    for (auto& peer : nodes_)
      n->stuff(peer->id(), false);
  if (shape_.seal_every != 0 && shape_luck_.percent(40))
    move_shard();
  for (auto& n : newcomers_)
    n->set_faults(false);
  for (auto& c : clients_)
    c->come_back();
  // Some of those to whom somebody has written find it now.
  std::size_t woken = 0;
  for (auto& s : sleepers_)
    if (!s.awake && woken < 3 && std::ranges::any_of(judge_.pairs(), [&](const auto& p) {
          return p.first == s.user || p.second == s.user;
        })) {
      ++woken;
      wake(s);
    }
  for (const auto& [phone, user] : phones_.users()) {
    ++looking_up_;
    ask_phone({phone, true}, *clients_.front());
  }
}

std::string world::unshaped() {
  for (const auto& n : newcomers_)
    if (!n->settled())
      return n->describe();
  if (looking_up_ != 0)
    return "a phone is not found";
  return unseated();
}

shape_tally world::shapes() {
  std::map<shard_id, generation> newest;
  for (auto& n : nodes_) {
    shaped_.late_reads += n->late_reads();
    shaped_.unsent += n->unsent();
    for (const auto& r : n->status())
      newest[r.shard] = std::max(newest[r.shard], r.gen);
  }
  for (const auto& [shard, gen] : newest)
    shaped_.generations += number(gen) - 1;
  for (const auto& n : newcomers_)
    shaped_.codes += n->codes();
  return shaped_;
}

} // namespace parley::sim

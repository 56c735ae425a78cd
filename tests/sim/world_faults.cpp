#include "tests/sim/world.hpp"

namespace parley::sim {

const std::vector<world::fault>& world::all_faults() {
  static const std::vector<fault> all{{"kill", 12, &world::kill_node},
                                      {"kill-in-run", 8, &world::kill_in_run},
                                      {"power", 2, &world::lose_power},
                                      {"cut-off", 6, &world::cut_off_node},
                                      {"one-way", 5, &world::cut_one_way},
                                      {"flap", 4, &world::flap_link},
                                      {"break", 8, &world::break_link},
                                      {"pause", 5, &world::pause_node},
                                      {"slow-disk", 3, &world::slow_disk},
                                      {"jump", 2, &world::jump_clock},
                                      {"hand-over", 4, &world::hand_over},
                                      {"kill-client", 6, &world::kill_client},
                                      {"cut-client", 8, &world::cut_client},
                                      {"away", 4, &world::send_client_away},
                                      {"duel", 3, &world::duel}};
  return all;
}

void world::died(node_id n) {
  if (!storming_)
    return;
  take_down(at(n), sim_.luck.between(20 * one_ms, profile_.down_max));
}

void world::take_down(sim_node& node, micros down, test::unsynced what) {
  if (!node.is_up())
    return;
  ++judge_.count.crashes;
  const auto life = node.life();
  node.crash(what);
  disconnect(node, life);
  sim_.time.in(down, [&node] { node.start(); });
}

void world::kill_node() {
  take_down(any_node(), sim_.luck.between(20 * one_ms, profile_.down_max));
}

void world::kill_in_run() {
  any_node().die_after(static_cast<std::uint64_t>(sim_.luck.between(1, 200)));
}

void world::lose_power() {
  ++judge_.count.power_losses;
  for (auto& n : nodes_)
    take_down(*n, sim_.luck.between(20 * one_ms, 500 * one_ms));
}

void world::cut_off_node() {
  ++judge_.count.cuts;
  const auto alone = any_node().id();
  const auto how = sim_.luck.percent(50) ? fuzz::blocked::stalls : fuzz::blocked::drops;
  for (auto& n : nodes_)
    if (n->id() != alone) {
      net_.block(alone, n->id(), how);
      net_.block(n->id(), alone, how);
    }
  sim_.time.in(sim_.luck.between(50 * one_ms, 5 * one_second), [this, alone] {
    for (auto& n : nodes_)
      if (n->id() != alone) {
        net_.block(alone, n->id(), fuzz::blocked::no);
        net_.block(n->id(), alone, fuzz::blocked::no);
      }
  });
}

void world::cut_one_way() {
  ++judge_.count.cuts;
  const auto a = any_node().id(), b = any_node().id();
  if (a == b)
    return;
  net_.block(a, b, sim_.luck.percent(50) ? fuzz::blocked::stalls : fuzz::blocked::drops);
  sim_.time.in(sim_.luck.between(50 * one_ms, 5 * one_second),
               [this, a, b] { net_.block(a, b, fuzz::blocked::no); });
}

void world::flap_link() {
  ++judge_.count.cuts;
  const auto a = any_node().id(), b = any_node().id();
  if (a == b)
    return;
  for (int i = 0; i < 6; ++i)
    sim_.time.in(i * 300 * one_ms, [this, a, b, i, storm = storm_] {
      if (storming_ && storm == storm_)
        net_.block(a, b, i % 2 == 0 ? fuzz::blocked::drops : fuzz::blocked::no);
    });
}

void world::break_link() {
  ++judge_.count.resets;
  const auto a = any_node().id(), b = any_node().id();
  if (a != b)
    net_.break_connection(a, b);
}

void world::pause_node() {
  ++judge_.count.pauses;
  any_node().pause(sim_.time.now() + sim_.luck.between(20 * one_ms, 3 * one_second));
}

void world::slow_disk() {
  ++judge_.count.slow_disks;
  auto& n = any_node();
  n.set_slow(true);
  sim_.time.in(sim_.luck.between(one_second, 5 * one_second), [&n] { n.set_slow(false); });
}

void world::jump_clock() {
  any_node().clock_jump(sim_.luck.between(0, 3 * one_second));
}

void world::hand_over() {
  ++judge_.count.hand_overs;
  any_node().drain_leaderships();
}

void world::kill_client() {
  ++judge_.count.client_crashes;
  auto& c = any_client();
  if (!c.is_member())
    return;
  c.crash();
  sim_.time.in(sim_.luck.between(10 * one_ms, 2 * one_second), [&c] { c.go_online(); });
}

void world::cut_client() {
  any_client().cut();
}

void world::send_client_away() {
  ++judge_.count.absences;
  auto& c = any_client();
  if (!c.is_member())
    return;
  c.go_offline();
  sim_.time.in(sim_.luck.between(one_second, 15 * one_second), [&c] { c.go_online(); });
}

void world::heal() {
  sim_.note("heal");
  storming_ = false;
  net_.unblock_all();
  net_.calm(true);
  for (auto& n : nodes_) {
    n->set_faults(false);
    n->set_slow(false);
    n->set_room(roomy_disk);
    n->die_after(0);
    n->fail_read(0);
    n->start();
  }
  reads_.replaced = node_id::none;
  find_damage();
  for (auto& c : clients_)
    c->go_online();
}

} // namespace parley::sim

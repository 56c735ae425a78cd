#include "tests/sim/shapes.hpp"

namespace parley::sim {

shape_profile draw_shape(fuzz::chance& luck, std::size_t nodes) {
  const auto is_drawn = [&](std::uint64_t percent = 65) { return luck.percent(percent); };
  const auto every = [&](micros low, micros high) { return is_drawn() ? luck.between(low, high) : 0; };
  shape_profile s;
  if (is_drawn(12)) // seven nodes cost twice as much as three
    s.nodes = nodes = 7;
  s.tends_itself = is_drawn();
  if (s.tends_itself && is_drawn(35))
    s.founders = nodes > 3 && is_drawn(50) ? 3 : 1;
  s.prefers_foreign = is_drawn();
  s.seal_every = every(500 * one_ms, (nodes > 5 ? 10 : 5) * one_second);
  s.stuff_every = every(500 * one_ms, 5 * one_second);
  s.flicker_every = every(4 * one_second, 20 * one_second);
  s.publish_every = every(100 * one_ms, 2 * one_second);
  s.newcomer_every = every(one_second, 6 * one_second);
  s.sleepers = is_drawn() ? static_cast<std::size_t>(luck.between(20, is_drawn(50) ? 40 : 300)) : 0;
  s.wake_every = s.sleepers != 0 ? luck.between(2 * one_second, 10 * one_second) : 0;
  s.absent = is_drawn() ? static_cast<std::size_t>(luck.between(1, 2)) : 0;
  s.letters = s.absent != 0 ? static_cast<std::size_t>(luck.between(50, 300)) : 0;
  s.heavy = is_drawn(35); // what links hold is then so much that they are hardly ever full
  return s;
}

namespace {

struct condition {
  const char* name;
  void (*off)(shape_profile& s);
};

constexpr condition conditions[] = {
    {"seven-nodes", [](shape_profile& s) { s.nodes = 0; }},
    {"growth", [](shape_profile& s) { s.founders = 0; }},
    {"directory", [](shape_profile& s) { s.tends_itself = false, s.founders = 0; }},
    {"foreign-nodes", [](shape_profile& s) { s.prefers_foreign = false; }},
    {"move-shard", [](shape_profile& s) { s.seal_every = 0; }},
    {"leave-behind", [](shape_profile& s) { s.leaves_behind = false; }},
    {"stuff-lane", [](shape_profile& s) { s.stuff_every = 0; }},
    {"flicker", [](shape_profile& s) { s.flicker_every = 0; }},
    {"late-reads", [](shape_profile& s) { s.publish_every = 0; }},
    {"newcomers", [](shape_profile& s) { s.newcomer_every = 0; }},
    {"sleepers", [](shape_profile& s) { s.sleepers = 0, s.wake_every = 0; }},
    {"absent", [](shape_profile& s) { s.absent = s.letters = 0; }},
    {"heavy-bodies", [](shape_profile& s) { s.heavy = false; }},
};

} // namespace

std::vector<std::string> shape_switches() {
  std::vector<std::string> out;
  for (const auto& c : conditions)
    out.emplace_back(c.name);
  return out;
}

shape_profile without(shape_profile drawn, const std::set<std::string, std::less<>>& left_out) {
  for (const auto& c : conditions)
    if (left_out.contains(c.name))
      c.off(drawn);
  return drawn;
}

void shape_tally::add(const shape_tally& o) {
  seals_asked += o.seals_asked, generations += o.generations, joined += o.joined, foreign += o.foreign;
  stuffed += o.stuffed, unsent += o.unsent, flickers += o.flickers, late_reads += o.late_reads;
  registered += o.registered, codes += o.codes, found_phones += o.found_phones, sleepers += o.sleepers;
  woken += o.woken, absent += o.absent, letters += o.letters, large_bodies += o.large_bodies;
}

} // namespace parley::sim

#include "tests/sim/switches.hpp"

#include <algorithm>
#include <cstdint>

namespace parley::sim {
namespace {

struct condition {
  const char* name;
  void (*off)(profile& p);
};

constexpr condition conditions[] = {
    {"spikes",
     [](profile& p) {
       p.network.spike_one_in = UINT64_MAX;
       p.client.spike_one_in = UINT64_MAX;
     }},
    {"late-frames", [](profile& p) { p.network.late_frames_cross_over = false; }},
    {"slow-syncs", [](profile& p) { p.node.disk.slow_one_in = UINT64_MAX; }},
    {"crash-in-sync", [](profile& p) { p.node.disk.crash_in_sync_one_in = 0; }},
    {"shuffle", [](profile& p) { p.node.shuffles = false; }},
    {"large-bodies", [](profile& p) { p.body_bytes_max = std::min<std::size_t>(p.body_bytes_max, 200); }},
    {"several-conversations", [](profile& p) { p.conversations = 0; }}, // the first two users have one
};

} // namespace

std::vector<std::string> all_switches() {
  auto out = world::kinds();
  for (const auto& c : conditions)
    out.emplace_back(c.name);
  out.emplace_back("trial");
  out.emplace_back("laggard");
  out.emplace_back("last-strike");
  out.emplace_back("held-sessions");
  out.emplace_back("gone-for-good");
  for (auto& name : rescue_switches())
    out.push_back(std::move(name));
  for (auto& name : shape_switches())
    out.push_back(std::move(name));
  return out;
}

profile without(profile drawn, const run_options& options) {
  for (const auto& c : conditions)
    if (options.without.contains(c.name))
      c.off(drawn);
  if (options.users_max != 0)
    drawn.users = std::min(drawn.users, options.users_max);
  return drawn;
}

} // namespace parley::sim

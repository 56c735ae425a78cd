// When nothing is to be done, hardly anything is done: heartbeats of leaders and of sessions, and
// announcements. A debt that is driven again and again, a cursor that is written over and over, or a
// session that asks in vain would show here.
#include "tests/sim/census.hpp"
#include "tests/sim/world.hpp"

#include <fmt/format.h>

namespace parley::sim {
namespace {

constexpr micros silent_for = 5 * one_second;
constexpr micros silent_within = 60 * one_second;

/// How often something that comes every so often may come in `silent_for`, with clocks that are 3 percent
/// fast, and one that was due already.
std::uint64_t times(std::chrono::milliseconds every) {
  return static_cast<std::uint64_t>(silent_for / one_ms * 105 / 100 / every.count() + 2);
}

} // namespace

std::string world::noise(const census& heard) {
  // A leader sends a heartbeat to each of its followers, who answers it.
  std::size_t followers = 0;
  for (auto& n : nodes_)
    for (const auto& r : n->status())
      if (r.as == cluster::replica_status::role::leader)
        followers += r.members.size() - 1;
  const auto heartbeats = followers * times(profile_.node.store.replication.heartbeat_every);
  const auto links = nodes_.size() * (nodes_.size() - 1);
  const auto announcements = links * times(profile_.node.router.announce_every);
  const auto sessions = clients_.size() * times(profile_.node.session.attach_every);
  // The DIRECTORY of each node asks for the list of nodes, which is a fresh read.
  const auto looks = profile_.node.directory ? nodes_.size() * times(profile_.node.directory->look_every) : 0;
  const std::map<std::string, std::uint64_t, std::less<>> bounds{
      {"raft: heartbeat", heartbeats},
      {"raft: answer to a heartbeat or entries", heartbeats},
      {"announcement: leaders", announcements},
      {"announcement: clock", announcements},
      {"announcement: room", announcements},
      {"call: attach", sessions},
      {"call: list_nodes", looks},
      {"raft: read", 2 * looks * nodes_.size()},
      {"call: answer", sessions + looks}};
  for (const auto& [kind, n] : heard.all()) {
    const auto bound = bounds.find(kind);
    if (bound == bounds.end() || n > bound->second)
      return fmt::format("{}: {} in {} s, and {} may be", kind, n, silent_for / one_second,
                         bound == bounds.end() ? 0 : bound->second);
  }
  return {};
}

void world::expect_silence() {
  const auto deadline = sim_.time.now() + silent_within;
  for (std::string why; !sim_.failed();) {
    census heard;
    census_ = &heard;
    until(silent_for, [] { return false; });
    census_ = nullptr;
    if (sim_.failed() || (why = noise(heard)).empty())
      return;
    if (sim_.time.now() >= deadline)
      sim_.violate("liveness: an idle cluster does not fall silent: " + why);
  }
}

void world::sent(node_id, char lane, std::string_view bytes) {
  if (census_ != nullptr && lane == 'r')
    census_->raft_frame(bytes);
  else if (census_ != nullptr)
    census_->calls_payload(bytes);
}

void world::proposed(node_id, std::string_view command) {
  if (census_ != nullptr)
    census_->proposal(command);
}

} // namespace parley::sim

#pragma once
// Decides which node suffers which fault, and when. It is pure: time and the cluster's state are
// arguments, and randomness comes from the seed.
#include <chrono>
#include <cstdint>
#include <random>
#include <vector>

namespace parley::chaos {

using milliseconds = std::chrono::milliseconds;

struct fault_config {
  milliseconds length{120'000};
  std::uint64_t kills_wanted = 24; ///< over the whole run, evenly spread; more may happen
  std::uint64_t pauses_wanted = 5;
  std::uint64_t disk_losses_wanted = 2;
  milliseconds calm_min{200}, calm_max{1'200}; ///< between faults, once all nodes are running again
  milliseconds down_min{100}, down_max{2'000}; ///< of a killed node
  milliseconds pause_min{100}, pause_max{6'000};
  milliseconds whole_wait{
      20'000}; ///< after a disk loss, other faults wait this long for the cluster to be whole
  milliseconds ready_wait{4'000}; ///< after any fault, the wait for every node to be ready
  milliseconds client_kill_every{1'500};
  unsigned kill_two_percent = 8; ///< the share of kills that also hit a second node, so that
                                 ///< no majority is left
  unsigned kill_all_percent = 4;
  milliseconds outage{0}; ///< one node is down for this long, from the first fifth of the run on; 0: none is
};

struct node_view {
  bool running = false, paused = false, ready = false;
};
struct cluster_view {
  std::vector<node_view> nodes; ///< node n is at index n - 1
  bool whole = false;           ///< every replica of every shard exists and has caught up
  bool held = false;            ///< another trial needs all nodes: no fault of a node begins
};

struct fault {
  enum class kind : std::uint8_t { kill, start, pause, resume, wipe, client_kill } what{};
  std::size_t node = 0; ///< counts from 1; 0 for clients
  bool operator==(const fault&) const = default;
};

class fault_scheduler {
public:
  fault_scheduler(fault_config config, std::uint64_t seed, std::size_t nodes);

  /// Returns the faults to inject now, in this order. A `wipe` follows the `kill` of its node.
  std::vector<fault> tick(milliseconds now, const cluster_view& view);
  /// Returns what ends all faults that are still in progress.
  std::vector<fault> heal();
  bool anything_broken() const;

private:
  struct repair {
    bool due = false;
    milliseconds at{};
    fault::kind how{};
  };
  bool chance(unsigned percent) { return random_() % 100 < percent; }
  milliseconds between(milliseconds low, milliseconds high);
  bool behind(std::uint64_t done, std::uint64_t wanted, milliseconds now) const;
  void strike_kill(std::vector<fault>& out, std::size_t node, milliseconds now);

  fault_config config_;
  std::mt19937_64 random_;
  std::vector<repair> repairs_;
  milliseconds next_fault_, next_client_kill_;
  milliseconds calm_since_{-1};
  milliseconds disk_lost_at_{-1}; ///< reset when the cluster is whole again
  std::uint64_t kills_ = 0, pauses_ = 0, disk_losses_ = 0;
  bool outage_over_ = false;
};

} // namespace parley::chaos

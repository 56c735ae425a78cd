#pragma once
// Decides which fault the network has, and when. It is pure: time and the cluster's state are arguments, and
// randomness comes from the seed. One fault at a time; kills and pauses of nodes go on beside it.
#include "tests/harness/proxy/path.hpp"

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <random>
#include <string_view>
#include <vector>

namespace parley::chaos {

using milliseconds = std::chrono::milliseconds;

enum class network_fault : std::uint8_t {
  alone,   ///< one node is cut off from the others; clients reach it
  halves,  ///< two groups, and clients reach only one of them
  one_way, ///< one node sends and does not receive, or the other way round
  ring,    ///< each node reaches its neighbours on a ring only. Of three nodes, two do not reach each other
  leader_alone, ///< as `alone`: the node that leads the most shards
  flapping,     ///< the connections of one node to the others break every other second
  delay,
  rate,
  stall,
  cut_after,
};
inline constexpr std::size_t network_fault_kinds = 10;
std::string_view name_of(network_fault f);

struct network_config {
  milliseconds length{120'000}; ///< of the run; the last fault ends before
  bool partitions = false, links = false;
  milliseconds partition_min{2'000}, partition_max{30'000};
  milliseconds link_min{2'000}, link_max{15'000};
  milliseconds stall{3'000}, flap{1'000};
  milliseconds calm_min{1'000};      ///< between faults
  milliseconds calm_wait{3'000};     ///< after it, a fault begins although the cluster is not whole
  milliseconds disk_reserve{10'000}; ///< of the run, in which a lost disk may be replaced; 0: none is lost
  milliseconds room_for_each{7'000}; ///< of what is promised: the shortest fault and the wait before it
  milliseconds delay{50}, jitter{30};
  std::uint64_t bytes_per_second = 1'000'000;
  std::uint64_t cut_after_min = 512, cut_after_max = 1 << 20;
};

struct network_view {
  bool whole = false;        ///< every node is ready
  bool disk_missing = false; ///< a lost disk is being replaced; no fault begins
  std::size_t leader = 0;    ///< of the most shards; 0: nobody knows
};

struct network_step {
  enum class what : std::uint8_t { begin, change, end } is{};
  network_fault fault{};
  test::path_settings set;
};

class network_scheduler {
public:
  /// At least three nodes.
  network_scheduler(network_config config, std::uint64_t seed, std::size_t nodes);

  std::optional<network_step> tick(milliseconds now, const network_view& view);
  /// Ends what is in progress.
  std::optional<network_step> heal();
  /// The fault that ended had no effect, because its node was down, for example: it comes again, as the next one.
  void once_more();
  bool active() const { return active_; }
  /// Whether the next fault needs to know the leader.
  bool asks_for_leader() const;
  /// What a run of this length injects at least once each; if it did not, the run does not count.
  const std::vector<network_fault>& promised() const { return promised_; }

private:
  milliseconds between(milliseconds low, milliseconds high);
  bool coin() { return random_() % 2 == 0; }
  std::size_t any_node() { return static_cast<std::size_t>(random_() % nodes_) + 1; }
  void refill();
  bool late(milliseconds now) const;
  network_step begin(milliseconds now, const network_view& view);
  milliseconds draw_length(network_fault f, milliseconds now);
  test::path_settings settings_of(network_fault f, const network_view& view);
  void isolate(test::path_settings& out, std::size_t node, test::path as) const;
  test::path_settings scope(test::path as);
  test::path broken();

  network_config config_;
  std::mt19937_64 random_;
  std::size_t nodes_;
  std::vector<network_fault> promised_, bag_; ///< the next one is at the end
  std::size_t begun_ = 0;
  bool active_ = false, flapped_ = false;
  network_fault now_{};
  test::path_settings broken_;
  milliseconds ends_at_{}, next_at_{}, flaps_at_{};
};

/// What of the counters proves that a fault had an effect. They are those of the settings of its beginning.
std::uint64_t effect(network_fault f, const test::path_counters& c);

} // namespace parley::chaos

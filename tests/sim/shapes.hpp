#pragma once
// What a seed adds to its usual run: more nodes than replicas, shards that move, a cluster that grows, people who
// begin during the storm, long absences. Everything here is drawn from a chance of its own. So a run without
// shapes (`--plain`) is the usual run of its seed, and what they cost and find can be told apart.
#include "tests/sim/judge.hpp"

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

namespace parley::sim {

/// A count or an interval of 0: the seed leaves it out.
struct shape_profile {
  // nodes and shards
  std::size_t nodes = 0;        ///< instead of the profile's
  std::size_t founders = 0;     ///< of them; the others join during the storm. 0: all
  bool tends_itself = false;    ///< each node runs the DIRECTORY, which lists nodes and reconfigures shards
  bool prefers_foreign = false; ///< devices mostly connect to nodes without a replica of their user's shard
  micros seal_every = 0;        ///< a shard goes on with other members
  bool leaves_behind = true;    ///< a node is away meanwhile, and while it goes on once more
  micros stuff_every = 0;       ///< the calls lane between two nodes takes nothing for a while
  micros flicker_every = 0; ///< power fails everywhere just after messages were sent, and again soon after
  micros publish_every = 0; ///< readers see commits this late, unless the store publishes before
  // people
  micros newcomer_every = 0; ///< somebody registers by a code
  std::size_t sleepers = 0;  ///< users who are registered, and nothing more
  micros wake_every = 0;     ///< one of them begins
  std::size_t absent = 0;    ///< devices that are away for most of the storm
  std::size_t letters = 0;   ///< messages to each of their users meanwhile
  bool heavy = false;        ///< bodies up to the largest that are allowed
};

/// `nodes`: as the profile has drawn them.
shape_profile draw_shape(fuzz::chance& luck, std::size_t nodes);

/// Each can be left out (switches.hpp).
std::vector<std::string> shape_switches();
shape_profile without(shape_profile drawn, const std::set<std::string, std::less<>>& left_out);

/// How often things happened, so that a run without them cannot pass for a success.
struct shape_tally {
  std::uint64_t seals_asked = 0, generations = 0, joined = 0, foreign = 0, stuffed = 0, unsent = 0,
                flickers = 0, late_reads = 0;
  std::uint64_t registered = 0, codes = 0, found_phones = 0, sleepers = 0, woken = 0, absent = 0, letters = 0,
                large_bodies = 0;
  void add(const shape_tally& other);
};

} // namespace parley::sim

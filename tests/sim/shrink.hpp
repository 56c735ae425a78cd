#pragma once
// From a seed that fails to the least that fails in the same way: without the faults, the work of users and
// the conditions that it does not need, with fewer users, and with a shorter storm.
#include "tests/sim/seed_process.hpp"

#include <string>

namespace parley::sim {

/// Which rule a complaint is about: those of one kind count as the same failure.
std::string kind_of(std::string_view complaint);

struct shrunk {
  run_options least;
  finding last; ///< of `least`; without a violation, the seed does not fail
  int runs = 0;
};
/// Prints a line for each step that succeeds.
shrunk shrink(const run_options& options);

/// The options of node_sim that show it again.
std::string command_of(const run_options& options);

} // namespace parley::sim

#pragma once
// What a run can do without: each kind of fault and of what users do, and each condition that makes a run
// harder. `node_sim --without a,b` switches some off, and `--shrink` finds out which a violation needs.
#include "tests/sim/world.hpp"

#include <string>
#include <vector>

namespace parley::sim {

/// The names of all.
std::vector<std::string> all_switches();

/// `drawn`, with the conditions off that `options` leaves out, and with no more users than it allows.
profile without(profile drawn, const run_options& options);

} // namespace parley::sim

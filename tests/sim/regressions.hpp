#pragma once
// Seeds that have found a fault, each with what it found. They have to be clean, and where the fault can be planted again,
// the seed has to find it again. What a seed draws changes with the simulator: then its number stands for another run,
// and an entry with a planted bug says so by failing.

namespace parley::sim {

/// Runs them all, with the planted bugs that only a build with PARLEY_PLANTED_BUGS has. The exit status of the program.
int run_regressions();

} // namespace parley::sim

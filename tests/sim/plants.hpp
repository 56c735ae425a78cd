#pragma once
#include <string>
#include <vector>

namespace parley::sim {

/// The names of all planted bugs, in order of the alphabet: also of those that the simulator does not find.
const std::vector<std::string>& all_plants();

} // namespace parley::sim

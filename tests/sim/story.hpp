#pragma once
// The last events before a violation, as a person reads them: one line each, the newest last. The complaint
// names what it is about ("device 3", "conversation 0a1b2c3d", "node 2"), and the story keeps the events of
// those.
#include "tests/cluster/fuzz/simulation.hpp"

#include <cstddef>
#include <deque>
#include <string>
#include <string_view>

namespace parley::sim {

inline constexpr std::size_t story_lines_max = 40;

/// Empty if nothing is known of what the complaint names.
std::string tell(const std::deque<fuzz::event>& events, std::string_view complaint,
                 std::size_t lines_max = story_lines_max);

} // namespace parley::sim

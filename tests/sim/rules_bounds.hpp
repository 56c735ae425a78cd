#pragma once
#include "actors/core/debt_ledger.hpp"

#include <string>
#include <string_view>

namespace parley::sim {

/// Empty, or which bound of a fan-out a command exceeds.
std::string above_bounds(std::string_view command, const core::ledger_config& bounds);

} // namespace parley::sim

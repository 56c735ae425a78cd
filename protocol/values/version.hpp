#pragma once
#include <string_view>

namespace parley {

/// Of all programs of this tree.
inline constexpr std::string_view program_version = "0.1.0";

} // namespace parley

#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace parley {

/// The known word nearest to `unknown`, if it is near enough to be meant.
std::optional<std::string> suggest(std::string_view unknown, const std::vector<std::string>& known);

} // namespace parley

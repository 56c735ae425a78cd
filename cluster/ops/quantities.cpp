#include "cluster/ops/quantities.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <span>

namespace parley::cluster {
namespace {

struct unit {
  std::string_view name;
  std::uint64_t factor;
};

// From the smallest to the largest.
constexpr std::array<unit, 4> times{{{"ms", 1}, {"s", 1'000}, {"min", 60'000}, {"h", 3'600'000}}};
constexpr std::array<unit, 5> sizes{
    {{"B", 1}, {"KiB", 1ULL << 10}, {"MiB", 1ULL << 20}, {"GiB", 1ULL << 30}, {"TiB", 1ULL << 40}}};

std::optional<std::uint64_t> parse_quantity(std::string_view text, std::span<const unit> units) {
  const auto digits = std::min(text.find_first_not_of("0123456789"), text.size());
  const auto value = parse_number<std::uint64_t>(text.substr(0, digits));
  if (!value)
    return std::nullopt;
  const auto name = text.substr(digits);
  for (const auto& u : units) {
    if (name == u.name)
      return *value <= std::numeric_limits<std::int64_t>::max() / u.factor ? std::optional{*value * u.factor}
                                                                           : std::nullopt;
  }
  return *value == 0 && name.empty() ? std::optional<std::uint64_t>{0} : std::nullopt;
}

std::string quantity_text(std::uint64_t value, std::span<const unit> units) {
  auto best = units.front();
  for (const auto& u : units)
    if (value != 0 && value % u.factor == 0)
      best = u;
  return fmt::format("{}{}", value / best.factor, best.name);
}

} // namespace

std::optional<std::chrono::milliseconds> parse_duration(std::string_view text) {
  const auto ms = parse_quantity(text, times);
  return ms ? std::optional{std::chrono::milliseconds{static_cast<std::int64_t>(*ms)}} : std::nullopt;
}

std::optional<std::uint64_t> parse_size(std::string_view text) {
  return parse_quantity(text, sizes);
}

std::string duration_text(std::chrono::milliseconds t) {
  return quantity_text(static_cast<std::uint64_t>(std::max<std::int64_t>(t.count(), 0)), times);
}

std::string size_text(std::uint64_t bytes) {
  return quantity_text(bytes, sizes);
}

} // namespace parley::cluster

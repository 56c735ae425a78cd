#include "protocol/client/tool/metrics_text.hpp"

#include <cmath>
#include <cstdlib>

namespace parley::tool {

metrics_text::metrics_text(std::string_view page) {
  while (!page.empty()) {
    const auto end = page.find('\n');
    const auto line = page.substr(0, end);
    page = end == std::string_view::npos ? std::string_view{} : page.substr(end + 1);
    if (line.empty() || line.front() == '#')
      continue;
    const auto name = line.substr(0, line.find_first_of("{ "));
    // A label's value may hold braces and spaces; what follows the last brace cannot.
    const auto brace = line.rfind('}');
    const auto rest = brace == std::string_view::npos ? line.substr(name.size()) : line.substr(brace + 1);
    const std::string number{rest};
    char* stopped = nullptr;
    const double value = std::strtod(number.c_str(), &stopped);
    if (stopped == number.c_str() || name.empty())
      continue;
    sums_[std::string{name}] += value;
    if (brace != std::string_view::npos)
      sums_[std::string{line.substr(0, brace + 1)}] += value;
  }
}

std::optional<double> metrics_text::sum(const std::string& metric) const {
  const auto i = sums_.find(metric);
  return i == sums_.end() ? std::nullopt : std::optional{i->second};
}

std::optional<double> metrics_text::quantile(const std::string& metric, double q,
                                             const metrics_text& before) const {
  std::map<double, double> buckets; // upper bound → how many are at or below it
  const auto first = metric + "_bucket{le=\"";
  for (auto i = sums_.lower_bound(first); i != sums_.end() && i->first.starts_with(first); ++i)
    buckets[std::strtod(i->first.c_str() + first.size(), nullptr)] =
        i->second - before.sum(i->first).value_or(0);
  if (buckets.empty() || buckets.rbegin()->second <= 0)
    return std::nullopt;
  const auto wanted = q * buckets.rbegin()->second;
  double low = 0, below = 0;
  for (const auto& [bound, upto] : buckets) {
    if (upto >= wanted && upto > below)
      return std::isinf(bound) ? low : low + (bound - low) * (wanted - below) / (upto - below);
    low = bound;
    below = upto;
  }
  return low;
}

} // namespace parley::tool

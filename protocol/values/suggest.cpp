#include "protocol/values/suggest.hpp"

#include <algorithm>
#include <utility>

namespace parley {

std::optional<std::string> suggest(std::string_view unknown, const std::vector<std::string>& known) {
  std::optional<std::string> best;
  auto best_distance = std::max<std::size_t>(2, unknown.size() / 3) + 1;
  for (const auto& candidate : known) {
    std::vector<std::size_t> row(candidate.size() + 1); // Levenshtein, one row at a time
    for (std::size_t j = 0; j < row.size(); ++j)
      row[j] = j;
    for (std::size_t i = 1; i <= unknown.size(); ++i) {
      auto diagonal = std::exchange(row[0], i);
      for (std::size_t j = 1; j < row.size(); ++j) {
        const auto replace = diagonal + (unknown[i - 1] == candidate[j - 1] ? 0 : 1);
        diagonal = std::exchange(row[j], std::min({replace, row[j] + 1, row[j - 1] + 1}));
      }
    }
    if (row.back() < best_distance) {
      best_distance = row.back();
      best = candidate;
    }
  }
  return best;
}

} // namespace parley

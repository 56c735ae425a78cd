#include "tests/tidy/commit_rules.hpp"

#include "tests/tidy/source_tree.hpp"

#include <algorithm>
#include <cctype>

namespace parley::tidy {

std::optional<std::string> objection_to_subject(std::string_view subject) {
  if (columns_of(subject) > subject_columns_max)
    return "has " + std::to_string(columns_of(subject)) + " columns, above " +
           std::to_string(subject_columns_max);
  const auto colon = subject.find(": ");
  const auto area = subject.substr(0, colon);
  const bool is_area = colon != std::string_view::npos && !area.empty() &&
                       std::isalpha(static_cast<unsigned char>(area.front())) != 0 &&
                       std::ranges::all_of(area, [](char c) {
                         return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
                                std::string_view{"_ /,-"}.find(c) != std::string_view::npos;
                       });
  if (!is_area || trimmed(subject.substr(colon + 1)).empty())
    return "does not begin with an area: \"cluster: …\"";
  return std::nullopt;
}

} // namespace parley::tidy

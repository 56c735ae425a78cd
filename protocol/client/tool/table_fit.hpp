#pragma once
// Which columns of a table fit a terminal.
#include <cstddef>
#include <span>
#include <vector>

namespace parley::tool {

struct table_column {
  std::size_t width = 0; ///< in columns of the terminal, with the gap in front of it
  int rank = 0; ///< of two columns the one with the lower rank is left out first; of equals the later one
};

/// By column: whether it is shown, if all that are shown may take `room` columns of the terminal.
inline std::vector<bool> fitting(std::span<const table_column> table, std::size_t room) {
  std::vector<bool> shown(table.size(), true);
  std::size_t used = 0;
  for (const auto& c : table)
    used += c.width;
  while (used > room) {
    std::size_t least = table.size();
    for (std::size_t i = 0; i < table.size(); ++i)
      if (shown[i] && (least == table.size() || table[i].rank <= table[least].rank))
        least = i;
    if (least == table.size())
      break;
    shown[least] = false;
    used -= table[least].width;
  }
  return shown;
}

} // namespace parley::tool

#pragma once
// Which columns of a table fit a terminal, and how its lines are drawn over those that it shows.
#include "protocol/client/tool/terminal_text.hpp"

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
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

/// The words, with `between` between two of them, in lines of at most `width` columns; a longer word has its own.
inline std::vector<std::string> lines_of(std::span<const std::string> words, std::string_view between,
                                         std::size_t width) {
  std::vector<std::string> out;
  for (const auto& w : words) {
    if (!out.empty() && columns(out.back()) + columns(between) + columns(w) <= width)
      out.back().append(between).append(w);
    else
      out.push_back(w);
  }
  return out;
}

/// Clearing all of it first would flicker, so each line is. That comes before its text: behind a line that fills the
/// terminal the cursor still stands on the last character, and would clear that. A longer line is cut off instead of
/// continued, or those below it would be in the wrong place.
inline std::string drawn_over(std::span<const std::string> lines) {
  std::string out = "\x1b[?7l\x1b[H";
  for (const auto& l : lines)
    out += "\x1b[K" + l + "\n";
  return out + "\x1b[J\x1b[?7h";
}

} // namespace parley::tool

#include "tests/tidy/text_rules.hpp"

#include <algorithm>
#include <array>
#include <cctype>

namespace parley::tidy {

namespace {

/// The text of a line that holds nothing but a comment; empty if it is none.
std::string_view comment_text(std::string_view line) {
  line = trimmed(line);
  if (!line.starts_with("//"))
    return {};
  line.remove_prefix(2);
  if (line.starts_with('/'))
    line.remove_prefix(1);
  return line;
}

bool is_comment(std::string_view line) {
  return trimmed(line).starts_with("//");
}

/// Begins a new paragraph, an item of a list, or an entry of a drawing or a table.
bool begins_anew(std::string_view text) {
  if (text.starts_with(' '))
    text.remove_prefix(1); // the one after the slashes
  if (text.empty() || text.front() == ' ' || text.front() == '-' || text.front() == '*' ||
      text.front() == '|' || static_cast<unsigned char>(text.front()) >= 0x80)
    return true;
  const auto word = text.substr(0, text.find(' '));
  return word.ends_with(':') || std::isdigit(static_cast<unsigned char>(word.front())) != 0;
}

} // namespace

complaints long_files(const source_tree& tree) {
  complaints out;
  for (const auto& f : tree.files)
    if ((is_code(f.path) || has_ending(f.path, {".sh", ".mjs", ".capnp"})) && f.lines.size() > file_lines_max)
      out.push_back(
          {f.path, 0,
           "has " + std::to_string(f.lines.size()) + " lines, above " + std::to_string(file_lines_max)});
  return out;
}

complaints trailing_space(const source_tree& tree) {
  complaints out;
  for (const auto& f : tree.files)
    for (std::size_t i = 0; i < f.lines.size(); ++i)
      if (const auto& line = f.lines[i];
          !line.empty() && std::string_view{" \t\r"}.find(line.back()) != line.npos)
        out.push_back({f.path, i + 1, "ends in white space"});
  return out;
}

complaints torn_rules(const source_tree& tree) {
  complaints out;
  for (const auto& f : tree.files) {
    if (!is_code(f.path))
      continue;
    for (std::size_t i = 0; i < f.lines.size(); ++i) {
      const auto line = trimmed(f.lines[i]);
      const auto text = trimmed(comment_text(line));
      if (text.size() > 2 && text.find_first_not_of('-') == std::string_view::npos)
        out.push_back({f.path, i + 1, "is the rest of a rule"});
      else if (text.starts_with("--- ") && text.ends_with("--") && columns_of(f.lines[i]) != rule_columns)
        out.push_back({f.path, i + 1,
                       "is a rule that ends at column " + std::to_string(columns_of(f.lines[i])) +
                           " instead of " + std::to_string(rule_columns)});
    }
  }
  return out;
}

complaints torn_comments(const source_tree& tree) {
  constexpr std::size_t full = 90; // columns; shorter lines were broken on purpose
  constexpr std::size_t few = 3;   // words
  complaints out;
  for (const auto& f : tree.files) {
    if (!is_code(f.path))
      continue;
    for (std::size_t i = 0; i + 2 < f.lines.size(); ++i) {
      const auto &first = f.lines[i], &second = f.lines[i + 1], &third = f.lines[i + 2];
      if (!is_comment(first) || !is_comment(second) || !is_comment(third) || columns_of(first) < full)
        continue;
      const auto words = words_of(comment_text(second)).size();
      if (words > 0 && words <= few && !begins_anew(comment_text(second)) &&
          !begins_anew(comment_text(third)))
        out.push_back({f.path, i + 2, "is a torn line of a comment"});
    }
  }
  return out;
}

complaints wide_markdown(const source_tree& tree) {
  complaints out;
  for (const auto& f : tree.files) {
    if (!has_ending(f.path, {".md"}))
      continue;
    bool is_fenced = false;
    for (std::size_t i = 0; i < f.lines.size(); ++i) {
      const auto& line = f.lines[i];
      if (trimmed(line).starts_with("```"))
        is_fenced = !is_fenced;
      const bool is_prose = !is_fenced && !trimmed(line).starts_with('|') && !line.starts_with("    ");
      if (is_prose && columns_of(line) > markdown_columns_max)
        out.push_back({f.path, i + 1,
                       "has " + std::to_string(columns_of(line)) + " columns, above " +
                           std::to_string(markdown_columns_max)});
    }
  }
  return out;
}

} // namespace parley::tidy

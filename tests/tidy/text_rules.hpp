#pragma once
// How lines look: what the formatter does not check.
#include "tests/tidy/source_tree.hpp"

namespace parley::tidy {

inline constexpr std::size_t file_lines_max = 600;
inline constexpr std::size_t rule_columns = 110; ///< as `ColumnLimit` in .clang-format
inline constexpr std::size_t markdown_columns_max = 130;

/// A file of more than `file_lines_max` lines holds more than one idea.
complaints long_files(const source_tree& tree);

complaints trailing_space(const source_tree& tree);

/// "// --- title ----" fills its line to `rule_columns`, and no line consists of the rest of one.
complaints torn_rules(const source_tree& tree);

/// A full line of a comment is not followed by a line of three words or less in the middle of a paragraph: an editor
/// that broke the first line leaves that behind.
complaints torn_comments(const source_tree& tree);

/// Prose of Markdown is at most `markdown_columns_max` wide; tables and code may be wider.
complaints wide_markdown(const source_tree& tree);

} // namespace parley::tidy

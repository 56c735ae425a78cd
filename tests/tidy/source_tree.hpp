#pragma once
// The source tree as the rules of this folder see it: paths and lines. The tests of the rules build small trees in
// memory; `tree_test.cpp` reads the real one.
#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace parley::tidy {

struct source_file {
  std::string path;               ///< from the root, with slashes
  std::vector<std::string> lines; ///< without their line ends
};

/// Something that a rule refuses. `line` counts from 1; 0 means the file or the folder as a whole.
struct complaint {
  std::string path;
  std::size_t line = 0;
  std::string what;
  bool operator==(const complaint&) const = default;
};

using complaints = std::vector<complaint>;

/// "path:line: what", one complaint on each line.
std::string to_text(const complaints& all);

struct source_tree {
  std::vector<source_file> files; ///< sorted by path

  const source_file* find(std::string_view path) const;
  /// Whether `path` is a file of the tree, or a folder that holds one.
  bool holds(std::string_view path) const;
  /// Every folder that holds C or C++ files directly.
  std::set<std::string> code_folders() const;
};

/// A tree for the test of a rule: pairs of a path and a text.
source_tree tree_of(std::vector<std::pair<std::string, std::string>> files);

/// Reads what belongs to the project below `root`: neither build folders nor what was installed or generated.
source_tree read_tree(const std::filesystem::path& root);

// --- of paths and lines ------------------------------------------------------------------------------------
std::string folder_of(std::string_view path); ///< "" for a file at the top
std::string name_of(std::string_view path);   ///< "a/b.hpp" → "b.hpp"
std::string stem_of(std::string_view path);   ///< "a/b.hpp" → "b"
bool has_ending(std::string_view path, std::initializer_list<std::string_view> endings);
bool is_code(std::string_view path); ///< C or C++
bool is_header(std::string_view path);
bool is_inside(std::string_view path, std::string_view folder); ///< in it, at any depth, or the folder itself

std::size_t columns_of(std::string_view line); ///< characters of UTF-8, each one column wide
std::string_view trimmed(std::string_view text);
std::vector<std::string> words_of(std::string_view text); ///< split at white space
std::vector<std::string> lines_of(std::string_view text);

/// What a page of Markdown writes as code: between backticks, or a line of a fenced block.
struct code_span {
  std::size_t line = 0;
  std::string text;
  bool is_fenced = false;
};
std::vector<code_span> code_spans(const source_file& page);

} // namespace parley::tidy

#pragma once
// Who may include whom. The table of allowed arrows stands in the READMEs: each folder with C or C++ files has one
// paragraph that begins with "Includes: " and lists folders between backticks, up to the first full stop:
//
//   Includes: `actors/core`, `protocol/values`, `protocol/gateway` (only `kj_mailbox`).
//   Includes: nothing of ours.
//
// "only" names the files (without ending) that may use an arrow; the others may not.
#include "tests/tidy/source_tree.hpp"

#include <optional>

namespace parley::tidy {

struct include_line {
  std::size_t line = 0;
  std::string path; ///< as written
};
std::vector<include_line> includes_of(const source_file& file); ///< only those in quotes

/// The file of the tree that `path` means in an include of `from`; empty if there is none. A generated header of
/// a schema means the schema.
std::string resolve_include(const source_tree& tree, const source_file& from, std::string_view path);

struct permission {
  std::string folder;
  std::vector<std::string> only; ///< stems; empty: every file of the folder
};
/// Nothing if the README has no paragraph "Includes: ".
std::optional<std::vector<permission>> permissions_of(const source_file& readme);

/// Every quoted include names a file of the tree.
complaints missing_includes(const source_tree& tree);

/// Every folder with code has a README with its permissions, no include goes beyond them, and none is unused.
complaints forbidden_arrows(const source_tree& tree);

/// What is shipped includes nothing of `tests/`.
complaints shipped_tests(const source_tree& tree);

/// No folder includes itself by way of others. Includes of and by the files in `apart` do not count: each stands above
/// or below the rest of its folder, as a header that gathers what the folders below offer, or as what they share.
complaints folder_cycles(const source_tree& tree, const std::set<std::string>& apart = {});

} // namespace parley::tidy

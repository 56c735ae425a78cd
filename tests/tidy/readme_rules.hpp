#pragma once
// What the pages promise about files.
#include "tests/tidy/source_tree.hpp"

namespace parley::tidy {

/// Each folder with sources has a README.md that names every one of them, as code: `name.hpp`, `name.{hpp,cpp}` or
/// just `name`.
complaints unnamed_files(const source_tree& tree);

/// What a page writes as code and looks like a path of the tree is one: it begins with a folder at the top or with a
/// folder beside the page, or it ends as a source does. The changelog and the decisions are not judged: they tell
/// of files as they were.
complaints missing_paths(const source_tree& tree);

/// A link from one page to another leads somewhere.
complaints broken_links(const source_tree& tree);

/// The README of `docs/decisions` lists every page beside it.
complaints unlisted_decisions(const source_tree& tree);

} // namespace parley::tidy

#pragma once
// What is written and never used: the compiler is silent about it, because another file could use it.
#include "tests/tidy/source_tree.hpp"

namespace parley::tidy {

/// Functions, members, types and enumerators that a header declares and nothing in the tree mentions again. The
/// definition of a function in a source file is no use of it; a mention in a test is one. Names are compared as
/// text, so a dead name that also means something else is missed: that is the price of a rule without a compiler.
complaints dead_declarations(const source_tree& tree, const std::set<std::string>& allowed = {});

/// Source files that no CMakeLists.txt names: they are never compiled.
complaints unbuilt_files(const source_tree& tree);

/// Headers that only the source file of the same name includes, or nobody.
complaints unused_headers(const source_tree& tree);

} // namespace parley::tidy

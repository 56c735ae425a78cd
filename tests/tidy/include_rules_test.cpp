// Each rule on trees that are wrong in one point.
#include "tests/tidy/include_rules.hpp"

#include <doctest/doctest.h>

using namespace parley::tidy;

TEST_CASE("an include that names no file is refused; one of a generated header means its schema") {
  const auto tree =
      tree_of({{"a/x.hpp", "#include <vector>\n#include \"a/y.hpp\"\n#include \"s/api.capnp.h\"\n"},
               {"a/z.hpp", "#  include \"x.hpp\"\n"},
               {"s/api.capnp", ""}});
  CHECK(missing_includes(tree) ==
        complaints{{"a/x.hpp", 2, "includes \"a/y.hpp\", which is no file of the tree"}});
}

TEST_CASE("an arrow that the README does not allow is refused") {
  const auto tree = tree_of({{"a/README.md", "Includes: `b`.\n"},
                             {"a/x.cpp", "#include \"b/b.hpp\"\n#include \"c/c.hpp\"\n"},
                             {"b/README.md", "# b\n\nIncludes: nothing of ours.\n"},
                             {"b/b.hpp", ""},
                             {"c/README.md", "Includes: nothing of ours.\n"},
                             {"c/c.hpp", ""}});
  const auto found = forbidden_arrows(tree);
  REQUIRE(found.size() == 1);
  CHECK(found[0] == complaint{"a/x.cpp", 2, "includes \"c/c.hpp\", but a/README.md does not allow `c`"});
}

TEST_CASE("an arrow that is allowed to one file is refused to the others") {
  const auto tree = tree_of({{"a/README.md", "Includes: `b` (only `seam`).\n"},
                             {"a/seam.cpp", "#include \"b/b.hpp\"\n"},
                             {"a/x.cpp", "#include \"b/b.hpp\"\n"},
                             {"b/README.md", "Includes: nothing of ours.\n"},
                             {"b/b.hpp", ""}});
  const auto found = forbidden_arrows(tree);
  REQUIRE(found.size() == 1);
  CHECK(found[0].path == "a/x.cpp");
}

TEST_CASE("a permission that nobody uses is refused, for a README has to be true") {
  const auto tree = tree_of({{"a/README.md", "Includes: `b`.\n"}, {"a/x.cpp", ""}});
  CHECK(forbidden_arrows(tree) ==
        complaints{{"a/README.md", 0, "allows `b`, which nothing in the folder includes"}});
}

TEST_CASE("a folder with code and without permissions is refused") {
  const auto tree = tree_of({{"a/README.md", "It includes `b`.\n"}, {"a/x.cpp", ""}, {"b/x.cpp", ""}});
  const auto found = forbidden_arrows(tree);
  REQUIRE(found.size() == 2);
  CHECK(found[0].path == "a/README.md");
  CHECK(found[1].path == "b/README.md");
}

TEST_CASE("permissions end at the full stop, and may take more than one line") {
  const auto tree =
      tree_of({{"README.md", "Includes: `a/b`, `c` (only `d`, `e.x`),\n`f`. Never `g`.\n\n`h`\n"}});
  const auto p = permissions_of(tree.files[0]);
  REQUIRE(p);
  REQUIRE(p->size() == 3);
  CHECK((*p)[0].folder == "a/b");
  CHECK((*p)[1].folder == "c");
  CHECK((*p)[1].only == std::vector<std::string>{"d", "e.x"});
  CHECK((*p)[2].folder == "f");
  CHECK((*p)[2].only.empty());
}

TEST_CASE("what is shipped may not include a test; a test may") {
  const auto tree = tree_of({{"a/x.cpp", "#include \"tests/t/t.hpp\"\n"},
                             {"tests/t/t.hpp", ""},
                             {"tests/t/u.cpp", "#include \"tests/t/t.hpp\"\n"}});
  const auto found = shipped_tests(tree);
  REQUIRE(found.size() == 1);
  CHECK(found[0].path == "a/x.cpp");
}

TEST_CASE("folders that include each other are refused, also by a detour, and named with an example") {
  const auto tree = tree_of({{"a/a.hpp", "#include \"b/b.hpp\"\n"},
                             {"b/b.hpp", "#include \"c/c.hpp\"\n"},
                             {"c/c.hpp", ""},
                             {"c/d.hpp", "\n#include \"a/a.hpp\"\n"},
                             {"e/e.hpp", "#include \"a/a.hpp\"\n"}});
  CHECK(folder_cycles(tree) ==
        complaints{{"a", 0,
                    "the folders include each other: a → b (a/a.hpp:1) b → c (b/b.hpp:1) "
                    "c → a (c/d.hpp:2)"}});
}

TEST_CASE("folders that include in one direction are no cycle") {
  const auto tree = tree_of({{"a/a.hpp", "#include \"b/b.hpp\"\n#include \"c/c.hpp\"\n"},
                             {"b/b.hpp", "#include \"c/c.hpp\"\n"},
                             {"c/c.hpp", "#include \"c/d.hpp\"\n"},
                             {"c/d.hpp", "#include \"c/c.hpp\"\n"}});
  CHECK(folder_cycles(tree).empty());
}

TEST_CASE("a file that stands above or below the rest of its folder makes no cycle; any other one does") {
  const auto tree = tree_of({{"a/all.hpp", "#include \"a/b/b.hpp\"\n"},
                             {"a/b/b.hpp", "#include \"a/values.hpp\"\n"},
                             {"a/values.hpp", ""}});
  CHECK(folder_cycles(tree).size() == 1);
  CHECK(folder_cycles(tree, {"a/all.hpp"}).empty());
  CHECK(folder_cycles(tree, {"a/values.hpp"}).empty());
}

// Each rule on pages that promise too much or too little.
#include "tests/tidy/readme_rules.hpp"

#include <doctest/doctest.h>

using namespace parley::tidy;

TEST_CASE("a README that does not name a file of its folder is refused") {
  const auto tree =
      tree_of({{"a/README.md", "`one.{hpp,cpp}`, two, `three_more`, `sub/four`\n\n```\nfive ──> x\n```\n"},
               {"a/one.cpp", ""},
               {"a/two.cpp", ""},
               {"a/three.hpp", ""},
               {"a/four.cpp", ""},
               {"a/five.sh", ""}});
  CHECK(unnamed_files(tree) ==
        complaints{{"a/README.md", 0, "does not name `three`"}, {"a/README.md", 0, "does not name `two`"}});
}

TEST_CASE("a folder with sources and without a README is refused; one with pages only is not") {
  const auto tree = tree_of({{"a/b/x.cpp", ""}, {"docs/x.md", ""}, {"a/README.md", ""}});
  CHECK(unnamed_files(tree) == complaints{{"a/b", 0, "has no README.md"}});
}

TEST_CASE("a path that is not there is refused, with its line") {
  const auto tree =
      tree_of({{"docs/x.md", "`actors/router.cpp`\n\n`actors/gone.cpp` and\nthen `actors/way`\n"},
               {"actors/router.cpp", ""},
               {"actors/router.hpp", ""}});
  CHECK(missing_paths(tree) == complaints{{"docs/x.md", 3, "names `actors/gone.cpp`, which is not there"},
                                          {"docs/x.md", 4, "names `actors/way`, which is not there"}});
}

TEST_CASE("folders, files without their ending, braces, stars and line numbers are understood") {
  const auto page =
      "`actors/` `actors/router` `actors/router.{hpp,cpp}` `actors/ro*.cpp` `actors/router.cpp:12`\n"
      "`router.hpp` `core/x.hpp` `core/x` `build/bin/parley` `a/b` `--flag` `router`\n";
  const auto tree = tree_of({{"actors/README.md", page},
                             {"actors/router.cpp", ""},
                             {"actors/router.hpp", ""},
                             {"actors/core/x.hpp", ""}});
  CHECK(to_text(missing_paths(tree)) == "");
}

TEST_CASE("braces with one missing file, a name of a source that nobody has, and a file beside the page are "
          "refused") {
  const auto tree = tree_of({{"actors/README.md", "`actors/router.{hpp,cpp}`\n\n`gone.hpp`\n\n`core/gone`\n"},
                             {"actors/router.cpp", ""},
                             {"actors/core/x.hpp", ""}});
  const auto found = missing_paths(tree);
  REQUIRE(found.size() == 3);
  CHECK(found[0].what == "names `actors/router.hpp`, which is not there");
  CHECK(found[1].what == "names `gone.hpp`, which is not there");
  CHECK(found[2].what == "names `core/gone`, which is not there");
}

TEST_CASE("the changelog and the decisions may tell of files that are gone") {
  const auto tree = tree_of({{"CHANGELOG.md", "`actors/gone.cpp`\n"},
                             {"docs/decisions/0001-x.md", "`actors/gone.cpp`\n"},
                             {"actors/x.cpp", ""}});
  CHECK(missing_paths(tree).empty());
}

TEST_CASE(
    "a link to a page that is not there is refused; one to a heading or to another site is not judged") {
  const auto tree = tree_of(
      {{"docs/x.md", "[a](y.md) [b](../a/README.md#part) [c](#here) [d](https://x.y/z.md)\n[e](z.md)\n"},
       {"docs/y.md", ""},
       {"a/README.md", ""}});
  CHECK(broken_links(tree) == complaints{{"docs/x.md", 2, "links to z.md, which is not there"}});
}

TEST_CASE("a decision that the list does not have is refused") {
  const auto tree = tree_of({{"docs/decisions/README.md", "| [0001](0001-a.md) | a |\n"},
                             {"docs/decisions/0001-a.md", ""},
                             {"docs/decisions/0002-b.md", ""}});
  CHECK(unlisted_decisions(tree) ==
        complaints{{"docs/decisions/0002-b.md", 0, "is not in the list of docs/decisions/README.md"}});
}

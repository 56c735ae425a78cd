// Each rule on lines that are wrong in one point, and on lines like them that are right.
#include "tests/tidy/text_rules.hpp"

#include <doctest/doctest.h>

using namespace parley::tidy;

namespace {

std::string repeated(std::string_view text, std::size_t n) {
  std::string out;
  while (n-- > 0)
    out += text;
  return out;
}

} // namespace

TEST_CASE("a file of 601 lines is refused, one of 600 is not") {
  const auto tree = tree_of({{"a.cpp", repeated("x\n", 600)},
                             {"b.cpp", repeated("x\n", 601)},
                             {"c.sh", repeated("x\n", 700)},
                             {"d.md", repeated("x\n", 700)}});
  const auto found = long_files(tree);
  REQUIRE(found.size() == 2);
  CHECK(found[0].path == "b.cpp");
  CHECK(found[1].path == "c.sh");
}

TEST_CASE("white space at the end of a line is refused") {
  const auto tree = tree_of({{"a.md", "x \ny\n\t\n"}});
  const auto found = trailing_space(tree);
  REQUIRE(found.size() == 2);
  CHECK(found[0].line == 1);
  CHECK(found[1].line == 3);
}

TEST_CASE("a rule that does not end at column 110 is refused") {
  const std::string whole = "// --- title " + repeated("-", 97);
  REQUIRE(columns_of(whole) == 110);
  const auto tree =
      tree_of({{"a.cpp", whole + "\n" + whole + "-\n// --- of „keys“ --\n  // --- plain heading\n"}});
  const auto found = torn_rules(tree);
  REQUIRE(found.size() == 2);
  CHECK(found[0].line == 2);
  CHECK(found[1].line == 3);
}

TEST_CASE("a line that holds the rest of a rule is refused") {
  const auto tree =
      tree_of({{"a.cpp", "// --- a title that was too long to stay with its rule\n// -----\n"}});
  CHECK(torn_rules(tree) == complaints{{"a.cpp", 2, "is the rest of a rule"}});
}

TEST_CASE("a comment that an editor broke is refused") {
  const auto full = "/// " + repeated("word ", 20) + "end";
  CHECK(torn_comments(
            tree_of({{"a.hpp", full + "\n/// left behind\n/// and on it goes in the next line\n"}})) ==
        complaints{{"a.hpp", 2, "is a torn line of a comment"}});
}

TEST_CASE("a short line that ends a paragraph, or stands before a label, a list or a drawing, is not torn") {
  const auto full = "/// " + repeated("word ", 20) + "end";
  for (const std::string after :
       {"int x;\n", "///\n", "/// Owns:   the rows.\n", "/// - an item\n", "///   a ──> b\n"})
    CHECK_MESSAGE(torn_comments(tree_of({{"a.hpp", full + "\n/// the end.\n" + after}})).empty(), after);
  CHECK(torn_comments(tree_of({{"a.hpp", "/// Short.\n/// Shorter.\n/// And on it goes.\n"}})).empty());
}

TEST_CASE("a Markdown line of 131 columns is refused, but not in a table or in code") {
  const auto wide = repeated("ä", 131);
  const auto tree = tree_of({{"a.md", wide + "\n| " + wide + " |\n    " + wide + "\n```\n" + wide +
                                          "\n```\n" + repeated("ä", 130) + "\n"}});
  CHECK(wide_markdown(tree) == complaints{{"a.md", 1, "has 131 columns, above 130"}});
}

// Each rule on something dead, and on something like it that is alive.
#include "tests/tidy/dead_rules.hpp"

#include <doctest/doctest.h>

using namespace parley::tidy;

namespace {

/// The names that the rule refuses in a header with this text, with a source that says `elsewhere`.
std::vector<std::string> dead_in(std::string header, std::string elsewhere = "") {
  std::vector<std::string> out;
  for (const auto& c :
       dead_declarations(tree_of({{"a.hpp", std::move(header)}, {"a.cpp", std::move(elsewhere)}})))
    out.push_back(words_of(c.what)[1]);
  return out;
}

using names = std::vector<std::string>;

} // namespace

TEST_CASE("a member function that nobody calls is dead, though a source defines it") {
  const std::string header = "struct a {\n  bool has_unsent() const;\n};\n";
  const std::string defined = "bool a::has_unsent() const {\n  return false;\n}\n";
  CHECK(dead_in(header, defined) == names{"has_unsent,"});
  CHECK(dead_in(header, defined + "void f(a& x) {\n  x.has_unsent();\n}\n").empty());
}

TEST_CASE("fields, constants, types, enumerators and free functions can be dead") {
  CHECK(dead_in("struct config {\n  int bytes_max = 3;\n  int rows{4};\n  int left;\n};\n", "config c;\n") ==
        names{"bytes_max,", "rows,", "left,"});
  CHECK(dead_in("inline constexpr int limit = 4;\n") == names{"limit,"});
  CHECK(dead_in("enum class kind { some, other };\n", "auto k = kind::some;\n") == names{"other,"});
  CHECK(dead_in("namespace n {\nvoid run(int count);\n}\n") == names{"run,"});
}

TEST_CASE("a mention in a comment or between quotes is no use") {
  CHECK(dead_in("int f();\n",
                "// f()\n/* f\n f */\nconst char* s = \"f\\\" f\";\nauto r = R\"x(f \" f)x\";\n") ==
        names{"f,"});
}

TEST_CASE("parameters, template parameters, locals and what others declared are not judged") {
  CHECK(dead_in("template <class Unused, int n>\nstruct a {\n  void f(int unused, long other = 3) {\n"
                "    int local = 3;\n    memcpy(1, 2);\n    std::elsewhere(2);\n  }\n};\n",
                "int g() {\n  a x; x.f(1);\n}\n")
            .empty());
}

TEST_CASE("what overrides is called by its base; what a list of template arguments names is used there") {
  CHECK(dead_in("struct a : b {\n  void f(int x) override;\n  int g() const override { return 1; }\n"
                "  std::map<key, value> rows_;\n};\n",
                "int h(a& x) {\n  return x.rows_.size();\n}\n")
            .empty());
}

TEST_CASE("a call in the initializer of a variable is a use, though it begins at the margin") {
  CHECK(dead_in("int f();\n", "int f() {\n  return 1;\n}\nconst int x = f();\n").empty());
}

TEST_CASE("the line of a dead declaration is that of the header, whatever stands above it") {
  const auto found = dead_declarations(
      tree_of({{"a.hpp", "/* two\nlines */\nauto r = R\"(\n)\"; // r\nint f();\n"}}), {"r"});
  CHECK(found == complaints{{"a.hpp", 5, "declares f, which nothing uses"}});
}

TEST_CASE("what is allowed is not refused") {
  CHECK(dead_declarations(tree_of({{"a.hpp", "int f();\n"}}), {"f"}).empty());
}

TEST_CASE("a source that no CMakeLists.txt names is refused") {
  const auto tree =
      tree_of({{"a/CMakeLists.txt", "add_library(a SOURCES x.cpp sub/y.cpp # z.cpp\n ../b/w.cpp)\n"
                                    "add(${PROJECT_SOURCE_DIR}/b/v.c)\n"},
               {"a/x.cpp", ""},
               {"a/sub/y.cpp", ""},
               {"a/z.cpp", ""},
               {"b/w.cpp", ""},
               {"b/v.c", ""},
               {"b/x.cpp", ""}});
  const auto found = unbuilt_files(tree);
  REQUIRE(found.size() == 2);
  CHECK(found[0].path == "a/z.cpp");
  CHECK(found[1].path == "b/x.cpp");
}

TEST_CASE("a header that only its own source includes is refused") {
  const auto tree = tree_of({{"a/x.hpp", ""},
                             {"a/x.cpp", "#include \"a/x.hpp\"\n#include \"a/y.hpp\"\n"},
                             {"a/y.hpp", ""},
                             {"b/x.cpp", "#include \"b/x.hpp\"\n"},
                             {"b/x.hpp", ""},
                             {"b/y.cpp", "#include \"b/x.hpp\"\n"}});
  const auto found = unused_headers(tree);
  REQUIRE(found.size() == 1);
  CHECK(found[0].path == "a/x.hpp");
}

// The rule on subjects that are wrong in one point.
#include "tests/tidy/commit_rules.hpp"

#include <doctest/doctest.h>

using namespace parley::tidy;

TEST_CASE("a subject with an area and at most 72 columns is well made") {
  CHECK(!objection_to_subject("actors: a full queue drops its newest row"));
  CHECK(!objection_to_subject("build, tests/tidy: ask for clang-tidy 19"));
  CHECK(!objection_to_subject("a: " + std::string(69, 'x')));
}

TEST_CASE("a subject of 73 columns is refused; characters count, not bytes") {
  CHECK(objection_to_subject("a: " + std::string(70, 'x')));
  std::string wide = "a: ";
  for (int i = 0; i < 69; ++i)
    wide += "ä";
  CHECK(!objection_to_subject(wide));
}

TEST_CASE("a subject without an area, or with nothing after it, is refused") {
  for (const auto* subject :
       {"Fix the router", "router.cpp: shorter", ": nothing", "actors:", "actors: ", "actors:x", ""})
    CHECK_MESSAGE(objection_to_subject(subject), subject);
}

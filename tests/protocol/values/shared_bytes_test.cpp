#include "protocol/values/shared_bytes.hpp"

#include <doctest/doctest.h>

using namespace parley;

TEST_CASE("what was moved from is empty, and can be given bytes again") {
  shared_bytes a{"hello"};
  const shared_bytes b{std::move(a)};
  CHECK(b == "hello");
  CHECK(a.empty()); // NOLINT(bugprone-use-after-move): this is what is tested
  CHECK(a.view().empty());
  shared_bytes c{"there"};
  a = std::move(c);
  CHECK(a == "there");
  CHECK(c.size() == 0); // NOLINT(bugprone-use-after-move)
  auto& same = a;
  a = std::move(same);
  CHECK(a == "there");
}

TEST_CASE("a copy shares the bytes, and outlives what it was copied from") {
  shared_bytes copy;
  {
    const shared_bytes a{"hello"};
    copy = a;
    CHECK(copy.view().data() == a.view().data());
  }
  CHECK(copy == "hello");
  CHECK(shared_bytes{""}.empty());
}

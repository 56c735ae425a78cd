#include "protocol/client/rules/backoff.hpp"

#include <doctest/doctest.h>

#include <set>

using namespace parley::client;
using namespace std::chrono_literals;

TEST_CASE("the ceiling doubles from the first to the highest, and stays there however often it fails") {
  backoff pace{{500ms, 60'000ms}};
  dice chance{1};
  const auto expected = {500, 1000, 2000, 4000, 8000, 16'000, 32'000, 60'000, 60'000};
  for (auto ceiling : expected) {
    CHECK(pace.ceiling() == std::chrono::milliseconds{ceiling});
    pace.next(chance);
  }
  for (int i = 0; i < 200; ++i)
    pace.next(chance);
  CHECK(pace.ceiling() == 60'000ms);
}

TEST_CASE("a wait is anything from nothing to the ceiling, spread over all of it") {
  dice chance{7};
  std::set<std::int64_t> tenths;
  for (int i = 0; i < 1'000; ++i) {
    backoff pace{{500ms, 60'000ms}};
    pace.next(chance);
    pace.next(chance); // the ceiling is 2 s now
    const auto wait = pace.next(chance);
    REQUIRE(wait >= 0ms);
    REQUIRE(wait <= 2'000ms);
    tenths.insert(std::min<std::int64_t>(wait.count() / 200, 9));
  }
  CHECK(tenths.size() == 10);
}

TEST_CASE("clients that lost the same node at once come back apart") {
  std::set<std::int64_t> waits;
  for (std::uint64_t client = 0; client < 100; ++client) {
    dice chance{client};
    waits.insert(backoff{{500ms, 60'000ms}}.next(chance).count());
  }
  CHECK(waits.size() > 60);
}

TEST_CASE("after a success the next loss starts at the lowest ceiling again") {
  backoff pace{{50ms, 2'000ms}};
  dice chance{3};
  for (int i = 0; i < 9; ++i)
    pace.next(chance);
  pace.reset();
  CHECK(pace.ceiling() == 50ms);
}

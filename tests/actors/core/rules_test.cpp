#include "actors/core/token_bucket.hpp"
#include "actors/core/trusted_time.hpp"
#include "actors/core/watermarks.hpp"

#include <doctest/doctest.h>

using namespace parley;
using namespace parley::core;
using namespace std::chrono_literals;

namespace {
constexpr std::int64_t minute = 60'000;
}

TEST_CASE("watermarks never fall and never pass the end, and a read mark raises the delivered mark") {
  const progress has{seq_no{5}, seq_no{3}};
  CHECK(raise(has, {seq_no{4}, seq_no{2}}, seq_no{9}) == has);
  CHECK(raise(has, {seq_no{99}, {}}, seq_no{9}) == progress{seq_no{9}, seq_no{3}});
  CHECK(raise(has, {{}, seq_no{7}}, seq_no{9}) == progress{seq_no{7}, seq_no{7}});
  CHECK(raise(has, {{}, seq_no{99}}, seq_no{5}) == progress{seq_no{5}, seq_no{5}});
}

TEST_CASE("a token bucket is empty after its burst, and refills at its rate up to that burst") {
  const token_bucket::time_point t{std::chrono::hours{1}};
  token_bucket b{2, 100ms};
  CHECK(b.take(t));
  CHECK(b.take(t));
  CHECK_FALSE(b.take(t));
  CHECK(b.wait(t) == 100ms);
  CHECK(b.wait(t + 60ms) == 40ms);
  CHECK_FALSE(b.take(t + 99ms));
  CHECK(b.take(t + 100ms));
  CHECK(b.wait(t + 10s) == 0ms);
  CHECK(b.take(t + 10s));
  CHECK(b.take(t + 10s));
  CHECK_FALSE(b.take(t + 10s));
}

TEST_CASE("what costs more than a token bucket has is admitted, and earned before the next is") {
  const token_bucket::time_point t{std::chrono::hours{1}};
  token_bucket b{4, 100ms};
  CHECK(b.take(t, 16));
  CHECK(b.wait(t) == 1'300ms);
  CHECK_FALSE(b.take(t + 1'299ms));
  CHECK(b.take(t + 1'300ms));
  CHECK_FALSE(b.take(t + 1'300ms));
  CHECK(b.take(t + 60s, 4));
  CHECK_FALSE(b.take(t + 60s));
}

TEST_CASE("a leader takes a gateway's time of day as it is, within a minute of its own") {
  constexpr unix_ms own{1'800'000'000'000};
  const auto at = [&](std::int64_t difference) {
    return unix_ms{static_cast<std::int64_t>(own) + difference};
  };
  CHECK(trusted(at(0), own) == own);
  CHECK(trusted(at(59'000), own) == at(59'000));
  CHECK(trusted(at(-59'000), own) == at(-59'000));
  constexpr std::int64_t year = 365LL * 24 * 60 * minute;
  CHECK(trusted(at(year), own) == at(minute));
  CHECK(trusted(at(-year), own) == at(-minute));
  CHECK(trusted(unix_ms{INT64_MAX}, own) == at(minute));
  CHECK(trusted(unix_ms{INT64_MIN}, own) == at(-minute));
}

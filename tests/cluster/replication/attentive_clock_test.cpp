#include "cluster/replication/attentive_clock.hpp"

#include <doctest/doctest.h>

using namespace parley::cluster;
using namespace std::chrono_literals;

TEST_CASE("after a long pause the clock advances only by the longest pause of an attentive node") {
  attentive_clock clock{150ms};
  CHECK(clock.at(mono_ms{1'000'000}) == mono_ms{1'000'000});
  CHECK(clock.at(mono_ms{1'010'000}) == mono_ms{1'000'150});
  CHECK(clock.at(mono_ms{1'010'100}) == mono_ms{1'000'250});
}

TEST_CASE("a clock that is read often enough shows the machine's time") {
  attentive_clock clock{150ms};
  for (std::int64_t t = 5000; t < 100'000; t += 150)
    CHECK(clock.at(mono_ms{t}) == mono_ms{t});
}

TEST_CASE("a clock never runs backwards, even if the machine's does") {
  attentive_clock clock{150ms};
  clock.at(mono_ms{5000});
  CHECK(clock.at(mono_ms{4000}) == mono_ms{5000});
  CHECK(clock.at(mono_ms{5100}) == mono_ms{5100});
}

#include "actors/core/cluster_clock.hpp"

#include <doctest/doctest.h>

using namespace parley;
using namespace std::chrono_literals;
using core::cluster_clock;
using core::median_difference;

namespace {

struct hand_clock final : wall_clock {
  std::int64_t at = 1'000'000'000;
  unix_ms now() const override { return unix_ms{at}; }
};

constexpr std::int64_t hour = 3'600'000;
const node_id two{2}, three{3}, four{4};

struct fixture {
  hand_clock own;
  std::vector<std::int64_t> reports;
  cluster_clock clock{[this](std::int64_t d) { reports.push_back(d); }, own};
  cluster_clock::time_point when{};

  void heard(node_id peer, std::int64_t ahead) { clock.heard(peer, unix_ms{own.at + ahead}, when); }
  std::int64_t correction() const { return static_cast<std::int64_t>(clock.now()) - own.at; }
};

} // namespace

TEST_CASE("the median of a node's own clock and its peers', and in doubt the one closer to its own") {
  CHECK(median_difference({}) == 0);
  CHECK(median_difference({hour}) == 0);
  CHECK(median_difference({hour, hour}) == hour);
  CHECK(median_difference({hour, 5}) == 5);
  CHECK(median_difference({-hour, -hour, 3}) == 0);
  CHECK(median_difference({-hour, -hour, -hour}) == -hour);
  CHECK(median_difference({hour, hour, 1, 2}) == 2);
}

TEST_CASE_FIXTURE(fixture,
                  "a node whose clock differs from most of its peers uses theirs until its own is mended") {
  heard(two, hour);
  CHECK(correction() == 0); // who of two is wrong?
  heard(three, hour + 2'000);
  CHECK(correction() == hour);
  CHECK(reports == std::vector{hour});
  own.at += hour;
  heard(two, 0);
  CHECK(correction() == 0);
  CHECK(reports == std::vector{hour, std::int64_t{0}});
}

TEST_CASE_FIXTURE(fixture, "one peer whose clock is wrong moves nobody's time, and neither does a minute") {
  heard(two, 100 * hour);
  heard(three, -20);
  CHECK(correction() == 0);
  heard(two, 60'000);
  heard(three, 60'000);
  CHECK(correction() == 0);
  CHECK(reports.empty());
}

TEST_CASE_FIXTURE(fixture, "what was said long ago does not count, and being alone makes no clock right") {
  heard(two, hour);
  heard(three, hour);
  CHECK(correction() == hour);
  when += 31s;
  CHECK(correction() == hour);
  heard(four, 0); // the others are gone
  CHECK(correction() == 0);
}

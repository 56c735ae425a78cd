#include "cluster/links/passing_refusals.hpp"

#include <doctest/doctest.h>

using namespace parley;
using namespace parley::cluster;
using namespace std::chrono_literals;

namespace {

constexpr node_id one{1}, two{2};
constexpr passing_refusals::time_point start{1h};

} // namespace

TEST_CASE("a node that is refused while the other one begins is no news, and one that still is after ten "
          "seconds is") {
  passing_refusals refusals;
  for (auto at = 0s; at < 10s; ++at)
    CHECK_FALSE(refusals.lasts(one, start + at));
  CHECK(refusals.lasts(one, start + 10s));
  CHECK_FALSE(refusals.lasts(two, start + 10s)); // each by itself
  CHECK(refusals.lasts(one, start + 11s));
}

TEST_CASE("refusals that ended, or came to no more, begin anew") {
  passing_refusals refusals;
  CHECK_FALSE(refusals.lasts(one, start));
  refusals.end(one);
  CHECK_FALSE(refusals.lasts(one, start + 11s));
  CHECK_FALSE(refusals.lasts(one, start + 72s)); // it was started again meanwhile
  CHECK(refusals.lasts(one, start + 82s));
}

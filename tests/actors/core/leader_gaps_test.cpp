#include "actors/core/leader_gaps.hpp"

#include <doctest/doctest.h>

using namespace parley;
using namespace std::chrono_literals;
using core::leader_gaps;

namespace {

constexpr node_id one{1}, two{2}, three{3}, nobody = node_id::none;

struct fixture {
  leader_gaps gaps{one, 2};
  leader_gaps::time_point now{1h};
  std::vector<node_id> leaders{one, two};
  std::set<node_id> linked{two, three};

  void after(leader_gaps::time_point::duration passes) {
    now += passes;
    gaps.look(leaders, linked, now);
  }
  /// For how long shard 1 has lacked a leader; `none`: it has one.
  std::optional<leader_gaps::time_point::duration> lacking() const {
    const auto since = gaps.all().at(1);
    return since ? std::optional{now - *since} : std::nullopt;
  }
};

} // namespace

TEST_CASE_FIXTURE(fixture,
                  "before anything is known every shard has lacked a leader for ever, and then none does") {
  CHECK(lacking() >= 1h);
  leaders = {one, nobody};
  after(1s);
  CHECK_FALSE(gaps.all().at(0)); // led here, which needs no link
  CHECK(lacking() >= 1h);        // it never had one: that is no moment's gap
  leaders[1] = two;
  after(1s);
  CHECK_FALSE(lacking());
}

TEST_CASE_FIXTURE(fixture,
                  "a gap lasts from the first reason to the end of the last one, and the next begins anew") {
  after(0s);
  linked.erase(two);
  after(5s);
  CHECK(lacking() == 0s);
  leaders[1] = nobody;
  after(1s);
  CHECK(lacking() == 1s);
  linked.insert(two); // which does not lead any more
  after(1s);
  CHECK(lacking() == 2s);
  leaders[1] = three;
  after(1s);
  CHECK_FALSE(lacking());
  leaders[1] = nobody;
  after(1s);
  CHECK(lacking() == 0s);
}

#include "cluster/membership/set_aside.hpp"

#include <doctest/doctest.h>

using namespace parley;
using namespace parley::cluster;

namespace {

formation_answer leads(std::vector<std::uint16_t> whole) {
  formation_answer a;
  a.as = formation_answer::standing::member;
  a.what.record.cluster = {1, 2};
  a.what.record.shards = 3;
  a.whole = std::move(whole);
  return a;
}

} // namespace

TEST_CASE("a fenced node begins anew only if the others have everything of every shard") {
  CHECK_FALSE(are_whole({}));
  CHECK_FALSE(are_whole({leads({0, 1})}));
  CHECK_FALSE(are_whole({leads({0, 1}), leads({})}));
  CHECK(are_whole({leads({0, 2}), leads({1})}));
}

TEST_CASE("it stays as it is while another process of it has a session, or answers are of two clusters") {
  auto linked = leads({1});
  linked.has_session = 1;
  CHECK_FALSE(are_whole({leads({0, 2}), linked}));
  auto other = leads({1});
  other.what.record.cluster = {3, 4};
  CHECK_FALSE(are_whole({leads({0, 2}), other}));
  formation_answer empty; // of a node that belongs to no cluster
  CHECK(are_whole({leads({0, 1, 2}), empty}));
}

// To whom a leader hands over that others should replace.
#include "tests/cluster/replication/replication_fixture.hpp"

using namespace parley;
using namespace parley::test;

namespace {

/// Node 1 leads both shards. Node 3 answers it and is sent no entries, so that it lacks the newest.
struct one_lags : three_nodes {
  one_lags() {
    build({s0, s1});
    for (const auto shard : {s0, s1}) {
      for (int i = 0; i < 20 && &settle(shard) != &at(1); ++i) {
        settle(shard).engine->transfer_leadership(shard, node_id{1});
        until([&] { return leader(shard) == &at(1); }, 500);
      }
      REQUIRE(leader(shard) == &at(1));
    }
    at(1).link_to = [this](node_id to) {
      return to == node_id{3} ? std::optional{config.link_bytes_max} : waiting(node_id{1}, to);
    };
    for (const auto shard : {s0, s1})
      for (int i = 0; i < 5; ++i)
        commit("newest", shard);
  }
};

} // namespace

TEST_CASE_FIXTURE(one_lags, "a leader hands over to a member that has everything") {
  REQUIRE(at(3).rows(s0).size() < 5);
  for (const auto shard : {s1, s0}) // in turn, both would be handed to node 3 first
    at(1).engine->damaged(shard);
  CHECK(until([&] { return leader(s0) == &at(2) && leader(s1) == &at(2); }, 300));
}

TEST_CASE_FIXTURE(one_lags, "while no other member has everything, an unfit leader goes on") {
  at(2).env.set_room({settings::disk_reserve.standard * 3 / 4, false});
  until([] { return false; }, 300); // its results have said so
  at(1).engine->damaged(s0);
  const auto before = at(1).refused.size();
  for (int i = 0; i < 200; ++i) {
    propose(at(1), "more");
    until([] { return false; }, 10);
  }
  CHECK(at(1).refused.size() == before);
  CHECK(leader() == &at(1));
  // A drain does not wait for them.
  at(1).link_to = [this](node_id to) { return waiting(node_id{1}, to); };
  at(1).engine->hand_over_all();
  CHECK(until([&] { return leader() && leader() != &at(1); }, 2000));
}

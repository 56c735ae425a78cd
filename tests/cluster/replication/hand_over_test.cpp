// To whom a leader hands over that others should replace.
#include "cluster/replication/disk_pace.hpp"
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

namespace {

/// All disks are known to sync in 5 ms, and nothing happens.
struct calm_nodes : paced_disks {
  test_node* first = nullptr; ///< leads
  test_node* second = nullptr;
  void settles() {
    pass(2'000);
    first = &settle();
    second = &other_than(*first);
  }
  bool offers() { return first->engine->offer_leadership(s0, second->who.node); }
};

} // namespace

TEST_CASE_FIXTURE(calm_nodes,
                  "a leadership that is offered moves at once, and nothing that was stored is lost") {
  settles();
  commit("before");
  REQUIRE(until([&] { return same(1); }));
  CHECK(offers());
  CHECK_FALSE(offers()); // it is on its way
  CHECK(until([&] { return leader() == second; }, 100));
  commit("after");
  CHECK(until([&] { return same(2); }));
  CHECK_FALSE(offers()); // it does not lead any more
}

TEST_CASE_FIXTURE(calm_nodes, "a leadership is not offered while anything is amiss") {
  settles();
  SUBCASE("the disk is not known: nothing was synced lately") {
    for (int i = 0; i < disk_pace::forgets_after_ms + 1'000; ++i)
      step();
  }
  SUBCASE("the receiver's disk is slow") {
    takes[second->who.node] = 80;
    pass(3'000);
  }
  SUBCASE("the receiver has no room") {
    second->env.set_room({settings::disk_reserve.standard * 3 / 4, false});
    pass(1'000);
  }
  SUBCASE("a third node has no room") {
    other_than(*first, second).env.set_room({settings::disk_reserve.standard * 3 / 4, false});
    pass(1'000);
  }
  SUBCASE("a third node is away") {
    cut.insert(other_than(*first, second).who.node);
    pass(2'000);
  }
  SUBCASE("the receiver lacks entries") {
    first->link_to = [&](node_id to) {
      return to == second->who.node ? std::optional{config.link_bytes_max} : waiting(first->who.node, to);
    };
    commit("newest");
  }
  SUBCASE("the generation ends") {
    first->engine->seal(s0, members, ++tickets);
    first->engine->begin_turn(mono_ms{now});
  }
  SUBCASE("the receiver is no member") {
    second->who.node = node_id{9};
  }
  REQUIRE(first->engine->status(s0)->as == replica_status::role::leader);
  CHECK_FALSE(offers());
}

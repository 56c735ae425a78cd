// A replica of which a row does not match its checksum: others lead instead of it.
#include "tests/cluster/replication/replication_fixture.hpp"

using namespace parley;
using namespace parley::test;

TEST_CASE_FIXTURE(three_nodes,
                  "a leader that cannot read a row hands its shard over, and does not lead it again") {
  build({s0, s1});
  auto& first = settle(s0);
  const auto other_shard = [&] { return first.engine->status(s1)->as; };
  settle(s1);
  if (other_shard() != replica_status::role::leader)
    settle(s1).engine->transfer_leadership(s1, first.who.node);
  REQUIRE(until([&] { return other_shard() == replica_status::role::leader; }));
  first.engine->damaged(s0);
  first.engine->damaged(s0); // each question that meets the row reports it
  REQUIRE(until([&] { return leader(s0) && leader(s0) != &first; }));
  CHECK(first.damages == std::vector{s0}); // it is reported once
  CHECK(other_shard() == replica_status::role::leader);

  // It follows, stores and votes; what it acknowledges counts.
  auto& second = settle(s0);
  for (auto& [id, n] : nodes)
    if (n.get() != &first && n.get() != &second) {
      crash(*n);
      break;
    }
  commit("without the third");
  CHECK(leader(s0) == &second);

  // Nobody else can lead: better a leader that cannot read one row than none.
  for (auto& [id, n] : nodes)
    if (!n->engine)
      start(*n);
  REQUIRE(until([&] { return same(1); }));
  crash(second);
  auto& third = settle(s0);
  CHECK(&third != &first);
}

TEST_CASE_FIXTURE(three_nodes, "if all members have damaged rows, one of them leads") {
  settle();
  for (auto& [id, n] : nodes)
    n->engine->damaged(s0);
  commit("all the same");
  CHECK(until([&] { return same(1); }));
}

TEST_CASE_FIXTURE(three_nodes,
                  "a damaged row of a shard that is not here, or that is followed here, moves nothing") {
  auto& first = settle();
  first.engine->damaged(s1);
  for (auto& [id, n] : nodes)
    if (n.get() != &first)
      n->engine->damaged(s0);
  until([] { return false; }, 2000);
  CHECK(leader() == &first);
  CHECK(first.damages.empty());
  commit("as before");
}

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
  at(2).engine->damaged(s0);
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

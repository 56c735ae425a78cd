// What sessions hear of pushes that a link did not take.
#include "tests/actors/router_fixture.hpp"

using namespace parley;
using namespace parley::test;
using fixture = router_fixture;

TEST_CASE_FIXTURE(
    fixture, "sessions whose pushes a full link did not take hear how far they should be when it has room") {
  start();
  peers.reachable = false;
  deliver(3, 10); // to one session
  wait(1s);
  peers.reachable = true;
  wait(1s);
  const auto told = peers.take<core::deliveries_payload>();
  REQUIRE(told.size() == 1);
  CHECK(told[0].to == core::connection_ref{there, 5, 77});
  CHECK(told[0].after == inbox_pos{3});
  CHECK(told[0].rows.empty());
}

TEST_CASE_FIXTURE(fixture, "a session that a full link kept from being closed is closed later") {
  start();
  peers.reachable = false;
  delivery_batch b;
  b.deliveries.push_back({{there, 5, 77}, {}, {}, ec::fenced, {}});
  caf::anon_send(it, std::move(b));
  run();
  peers.reachable = true;
  wait(1s);
  const auto told = peers.take<core::deliveries_payload>();
  REQUIRE(told.size() == 1);
  CHECK(told[0].close == ec::fenced);
}

TEST_CASE_FIXTURE(fixture,
                  "what a lost peer's sessions missed is forgotten, because they will ask by themselves") {
  start();
  peers.reachable = false;
  deliver(3, 10);
  caf::anon_send(it, peer_lost{there});
  run();
  deliver(3, 10);
  peers.reachable = true;
  wait(1s);
  CHECK(peers.take<core::deliveries_payload>().empty());
}

TEST_CASE_FIXTURE(fixture, "the number of sessions that are to hear of missed pushes is bounded") {
  config.missed_max = 1;
  start();
  peers.reachable = false;
  deliver(1, 10);
  delivery_batch b;
  b.deliveries.push_back({{there, 6, 77}, {}, {{inbox_pos{9}, core::message_news{}}}, ec::none, {}});
  caf::anon_send(it, std::move(b));
  run();
  peers.reachable = true;
  wait(1s);
  CHECK(peers.take<core::deliveries_payload>().size() == 1);
}

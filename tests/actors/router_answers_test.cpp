// Answers to other nodes' calls that a full link does not take.
#include "tests/actors/router_fixture.hpp"

using namespace parley;
using namespace parley::test;

namespace {

struct fixture : router_fixture {
  /// Asks for a page, which `there` has asked for under `number`, and answers it with one row of `bytes`.
  void page_for_peer(std::uint64_t number, std::size_t bytes) {
    std::uint64_t user = 1;
    while (home_shard(user_id{user}, config.shards) != local)
      ++user;
    from_peer(there, core::calls_payload{{{number, core::pull_inbox{user_id{user}, device_id{2}, {}, 10}}}});
    const auto calls = at_shard.take();
    REQUIRE(calls.size() == 1);
    core::message m;
    m.body = std::string(bytes, 'x');
    core::inbox_page page;
    page.rows.push_back({inbox_pos{1}, core::message_news{{}, m}});
    answer_batch b;
    b.answers.push_back({calls[0].number, core::answer_to<core::pull_inbox>{std::move(page)}});
    caf::anon_send(calls[0].reply_to, std::move(b));
    run();
  }
  void serve() {
    start();
    leads(local, here);
    peers.sent.clear();
  }
};

} // namespace

TEST_CASE_FIXTURE(fixture,
                  "an asker whose answer does not fit into the link hears at once that it is overloaded") {
  serve();
  peers.bytes_max = 10'000;
  page_for_peer(7, 20'000);
  wait(1s);
  const auto told = peers.take<core::answers_payload>();
  REQUIRE(told.size() == 1);
  CHECK(told[0].number == 7);
  CHECK(kind_of(told[0].what) == kind_of(core::call{core::pull_inbox{}}));
  CHECK(core::error_of(told[0].what) == ec::overloaded);
  CHECK(counters.payloads_unsent == 1);
}

TEST_CASE_FIXTURE(fixture, "answers that a full link did not take leave when it has room, each once") {
  serve();
  peers.reachable = false;
  for (std::uint64_t n = 1; n <= 3; ++n)
    page_for_peer(n, 10);
  page_for_peer(4, 100'000); // not kept as it is
  wait(1s);
  peers.reachable = true;
  wait(1s);
  const auto told = peers.take<core::answers_payload>();
  REQUIRE(told.size() == 4);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(told[i].number == i + 1);
    CHECK(core::error_of(told[i].what) == ec::none);
  }
  CHECK(core::error_of(told[3].what) == ec::overloaded);
  wait(1s);
  CHECK(peers.take<core::answers_payload>().empty());
}

TEST_CASE_FIXTURE(fixture,
                  "answers that a full link did not take are bounded, and forgotten with their asker") {
  config.kept.answers_max = 2;
  serve();
  peers.reachable = false;
  for (std::uint64_t n = 1; n <= 4; ++n)
    page_for_peer(n, 10);
  SUBCASE("the link has room") {
    peers.reachable = true;
    wait(1s);
    CHECK(peers.take<core::answers_payload>().size() == 2);
  }
  SUBCASE("the asker is gone") {
    meets(there);
    peers.reachable = true;
    wait(1s);
    CHECK(peers.take<core::answers_payload>().empty());
  }
}

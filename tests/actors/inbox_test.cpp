#include "actors/resident.hpp"
#include "tests/support/actor_fixture.hpp"
#include "tests/support/fake_reader.hpp"

#include <doctest/doctest.h>

using namespace parley;
using namespace std::chrono_literals;

namespace {

struct fixture : test::actor_fixture {
  const user_id alice{1};
  const device_id phone{10};
  test::fake_reader reader;
  fake_store store = make_store();
  fake_router router = make_router();
  sink asker = make_sink();
  resident_config config;
  inbox_actor it = spawn_inbox(sys, {shard_id{1},
                                     {resident_kind::inbox, 0, 1},
                                     7,
                                     config,
                                     &reader,
                                     store.handle,
                                     router.handle,
                                     make_silent_shard()});
  ~fixture() { caf::anon_send_exit(it, caf::exit_reason::user_shutdown); }

  void read_all() {
    for (const auto& r : store.reads.take())
      store.answer(r);
    run();
  }
  core::answer pull(core::connection_ref ref, inbox_pos after = inbox_pos::none) {
    call(it, asker.handle, 1, core::call{core::pull_inbox{alice, phone, after, 100, 1, ref}});
    run();
    read_all();
    auto answers = asker.answers.take();
    REQUIRE(answers.size() == 1);
    return std::move(answers[0].what);
  }
  void arrive(std::uint64_t pos) {
    inbox_arrival a;
    a.rows.push_back({inbox_pos{pos}, core::message_news{}});
    caf::anon_send(it, std::move(a));
    run();
  }
};

const core::connection_ref first{node_id{1}, 1, 9}, second{node_id{2}, 1, 8};

} // namespace

TEST_CASE_FIXTURE(fixture, "without a fresh read there is no page: a stale leader cannot serve one") {
  call(it, asker.handle, 1, core::call{core::pull_inbox{alice, phone, inbox_pos::none, 10, 0, {}}});
  run();
  CHECK(asker.answers.take().empty());
  store.answer(store.reads.take().at(0), ec::not_leader);
  run();
  CHECK(core::error_of(asker.answers.take().at(0).what) == ec::not_leader);
}

TEST_CASE_FIXTURE(fixture, "a page that ends before a row that has arrived is not the last one") {
  arrive(5);
  reader.next_page.next = inbox_pos{4};
  CHECK(std::get<core::inbox_page>(pull(first)).more == 1);
  arrive(6);
  CHECK(router.deliveries.take().empty()); // not live yet
  reader.next_page.next = inbox_pos{6};
  CHECK(std::get<core::inbox_page>(pull(first)).more == 0);
  arrive(7);
  CHECK(router.deliveries.take().size() == 1);
}

TEST_CASE_FIXTURE(fixture, "a second connection of a device fences the first, which cannot win it back") {
  pull(first);
  pull(second);
  const auto out = router.deliveries.take();
  REQUIRE(out.size() == 1);
  CHECK(out[0].to == first);
  CHECK(out[0].close == ec::fenced);
  CHECK(core::error_of(pull(first)) == ec::fenced);
  arrive(1);
  const auto pushed = router.deliveries.take();
  REQUIRE(pushed.size() == 1);
  CHECK(pushed[0].to == second);
}

TEST_CASE_FIXTURE(fixture, "new rows are pushed once, and say what they follow") {
  reader.next_page.next = inbox_pos{3};
  pull(first, inbox_pos{3});
  arrive(3); // was in the page
  CHECK(router.deliveries.take().empty());
  arrive(4);
  const auto out = router.deliveries.take();
  REQUIRE(out.size() == 1);
  CHECK(out[0].after == inbox_pos{3});
  CHECK(out[0].rows.size() == 1);
}

TEST_CASE_FIXTURE(fixture, "a device that acknowledges a lot costs one write a second") {
  for (std::uint64_t n = 1; n <= 50; ++n)
    call(it, asker.handle, n, core::call{core::acknowledge{alice, phone, inbox_pos{n}}});
  run();
  CHECK(asker.answers.take().size() == 50);
  CHECK(store.proposals.take().size() == 1); // the first at once
  advance(1s);
  const auto later = store.proposals.take();
  REQUIRE(later.size() == 1);
  const auto last = core::decode<core::command>(later[0].command);
  REQUIRE(last);
  CHECK(std::get<core::advance_cursor>(*last).upto == inbox_pos{50});
}

TEST_CASE_FIXTURE(
    fixture, "after a quiet second the next acknowledgement is written at once again: ticks feel instant") {
  const auto acknowledge = [&](std::uint64_t n) {
    call(it, asker.handle, n, core::call{core::acknowledge{alice, phone, inbox_pos{n}}});
    run();
  };
  acknowledge(1);
  CHECK(store.proposals.take().size() == 1);
  for (int i = 0; i < 3; ++i)
    advance(1s);
  acknowledge(2);
  CHECK(store.proposals.take().size() == 1);
  acknowledge(3);
  CHECK(store.proposals.take().empty());
  advance(1s);
  CHECK(store.proposals.take().size() == 1);
}

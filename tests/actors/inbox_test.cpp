#include "tests/actors/inbox_fixture.hpp"

using namespace parley;
using namespace parley::test;
using fixture = inbox_fixture;

TEST_CASE_FIXTURE(fixture, "a page that cannot be the last is answered at once") {
  arrive(30);
  reader.next_page.rows.push_back({inbox_pos{10}, core::message_news{}});
  reader.next_page.next = inbox_pos{10};
  reader.next_page.more = 1;
  call(it, asker.handle, 1,
       core::call{core::pull_inbox{alice, phone, inbox_pos::none, 10, 1, first.ref, first.session}});
  run();
  const auto answers = asker.answers.take();
  REQUIRE(answers.size() == 1);
  CHECK(std::get<core::answer_to<core::pull_inbox>>(answers[0].what).what.next == inbox_pos{10});
  CHECK(store.reads.take().empty());
  arrive(31);
  CHECK(router.deliveries.take().empty()); // the device is not live: it has pages to fetch
}

TEST_CASE_FIXTURE(fixture,
                  "a page that may be the last waits for a fresh read, even if rows follow that are known") {
  reader.next_page.next = inbox_pos{30};
  arrive(30);
  SUBCASE("as many rows are known as one page holds") {
    call(it, asker.handle, 1, core::call{core::pull_inbox{alice, phone, inbox_pos{20}, 10, 0, {}}});
  }
  SUBCASE("what was published does not hold them yet") {
    call(it, asker.handle, 1, core::call{core::pull_inbox{alice, phone, inbox_pos{10}, 10, 0, {}}});
  }
  SUBCASE("what was published cannot be read") {
    reader.next_page.error = ec::corrupt;
    call(it, asker.handle, 1, core::call{core::pull_inbox{alice, phone, inbox_pos{10}, 10, 0, {}}});
  }
  run();
  CHECK(asker.answers.take().empty());
  CHECK(store.reads.take().size() == 1);
}

TEST_CASE_FIXTURE(
    fixture, "a connection that announced itself begins at once, if it asks for no more than was published") {
  reader.next_attached.last = reader.next_page.next = inbox_pos{7};
  attach(first);
  call(it, asker.handle, 1,
       core::call{core::pull_inbox{alice, phone, inbox_pos{7}, 10, 1, first.ref, first.session}});
  run();
  CHECK(store.reads.take().empty());
  CHECK(std::get<core::answer_to<core::pull_inbox>>(asker.answers.take().at(0).what).what.more == 0);
  arrive(8);
  CHECK(router.deliveries.take().size() == 1);
}

TEST_CASE_FIXTURE(fixture, "a connection waits for a fresh read before rows are pushed to it") {
  reader.next_attached.last = reader.next_page.next = inbox_pos{7};
  visitor asks = first;
  std::uint8_t live = 1;
  SUBCASE("if it has not announced itself here") {
    attach(first);
    asks = second;
  }
  SUBCASE("if a row has arrived that was not published") {
    attach(first);
    arrive(8);
  }
  SUBCASE("if the inbox has begun anew since") {
    attach(first);
    restart();
  }
  SUBCASE("always, if it does not want rows pushed: it asks for all that was acknowledged before") {
    attach(first);
    live = 0;
  }
  call(it, asker.handle, 1,
       core::call{core::pull_inbox{alice, phone, inbox_pos{7}, 10, live, asks.ref, asks.session}});
  run();
  CHECK(asker.answers.take().empty());
  CHECK(store.reads.take().size() == 1);
}

TEST_CASE_FIXTURE(fixture, "a fenced connection is not answered from what was published") {
  pull(second);
  arrive(30);
  reader.next_page.more = 1;
  CHECK(core::error_of(pull(first)) == ec::fenced);
}

TEST_CASE_FIXTURE(fixture,
                  "a page is answered only after a fresh read, so that a stale leader cannot serve one") {
  call(it, asker.handle, 1, core::call{core::pull_inbox{alice, phone, inbox_pos::none, 10, 0, {}}});
  run();
  CHECK(asker.answers.take().empty());
  store.answer(store.reads.take().at(0), ec::not_leader);
  run();
  CHECK(core::error_of(asker.answers.take().at(0).what) == ec::not_leader);
}

TEST_CASE_FIXTURE(fixture, "a page that ends before a row that has arrived says that there is more") {
  arrive(5);
  reader.next_page.next = inbox_pos{4};
  CHECK(std::get<core::answer_to<core::pull_inbox>>(pull(first)).what.more == 1);
  arrive(6);
  CHECK(router.deliveries.take().empty()); // not live yet
  reader.next_page.next = inbox_pos{6};
  CHECK(std::get<core::answer_to<core::pull_inbox>>(pull(first)).what.more == 0);
  arrive(7);
  CHECK(router.deliveries.take().size() == 1);
}

TEST_CASE_FIXTURE(fixture, "a late heartbeat of an old connection does not close the newer one") {
  pull(second);
  CHECK(core::error_of(attach(first)) == ec::fenced);
  CHECK(router.deliveries.take().empty());
  arrive(1);
  const auto pushed = router.deliveries.take();
  REQUIRE(pushed.size() == 1);
  CHECK(pushed[0].to == second.ref);
}

TEST_CASE_FIXTURE(
    fixture, "a session number that another connection has is refused, because neither of the two is newer") {
  pull(first);
  const visitor copy{third.ref, first.session};
  CHECK(core::error_of(attach(copy)) == ec::fenced);
  CHECK(core::error_of(pull(copy)) == ec::fenced);
  CHECK(core::error_of(attach(first)) == ec::none); // a heartbeat of its own
  CHECK(router.deliveries.take().empty());
  const visitor nameless{third.ref, session_number::none};
  CHECK(core::error_of(attach(nameless)) == ec::fenced);
}

TEST_CASE_FIXTURE(fixture,
                  "a heartbeat that was under way does not bring back a connection that has detached") {
  pull(second);
  call(it, asker.handle, 1, core::call{core::detach{alice, phone, second.ref}});
  run();
  asker.answers.take();
  CHECK(core::error_of(attach(second)) == ec::fenced);
  CHECK(core::error_of(attach(first)) == ec::fenced);
  CHECK(core::error_of(attach(third)) == ec::none);
  CHECK(router.deliveries.take().empty()); // nobody was there to be closed
}

TEST_CASE_FIXTURE(fixture, "a second connection of a device fences the first, which cannot win it back") {
  pull(first);
  pull(second);
  const auto out = router.deliveries.take();
  REQUIRE(out.size() == 1);
  CHECK(out[0].to == first.ref);
  CHECK(out[0].close == ec::fenced);
  CHECK(core::error_of(pull(first)) == ec::fenced);
  arrive(1);
  const auto pushed = router.deliveries.take();
  REQUIRE(pushed.size() == 1);
  CHECK(pushed[0].to == second.ref);
}

TEST_CASE_FIXTURE(
    fixture,
    "after a failover the newest connection stays and all others are fenced, in whatever order they report") {
  struct announcement {
    const visitor* who;
    bool pulls;
  };
  const std::array<announcement, 5> all{
      {{&first, false}, {&first, true}, {&second, true}, {&third, false}, {&third, true}}};
  std::array<std::size_t, 5> order{0, 1, 2, 3, 4};
  do {
    CAPTURE(order);
    restart();
    std::set<core::connection_ref> closed;
    const auto hear = [&] {
      for (const auto& d : router.deliveries.take())
        if (d.close == ec::fenced)
          closed.insert(d.to);
    };
    for (const auto i : order) {
      const auto& v = *all[i].who;
      if (core::error_of(all[i].pulls ? pull(v) : attach(v)) == ec::fenced)
        closed.insert(v.ref);
      hear();
    }
    CHECK(closed == std::set{first.ref, second.ref});
    arrive(1);
    const auto pushed = router.deliveries.take();
    REQUIRE(pushed.size() == 1);
    CHECK(pushed[0].to == third.ref);
    CHECK(pushed[0].close == ec::none);
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_CASE_FIXTURE(fixture, "new rows are pushed once, with the position that they follow") {
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

TEST_CASE_FIXTURE(fixture,
                  "an acknowledgement of rows that do not exist does not cover rows that come later") {
  arrive(3);
  reader.next_attached.last = inbox_pos{3};
  call(it, asker.handle, 1, core::call{core::acknowledge{alice, phone, inbox_pos{1ull << 60}}});
  run();
  arrive(4); // before the store was asked what exists
  reader.next_attached.last = inbox_pos{3};
  read_all();
  CHECK(core::error_of(asker.answers.take().at(0).what) == ec::none);
  arrive(5);
  advance(1s);
  for (const auto& p : store.proposals.take()) {
    const auto written = core::decode<core::command>(p.command);
    REQUIRE(written);
    CHECK(std::get<core::advance_cursor>(*written).upto <= inbox_pos{4});
  }
}

TEST_CASE_FIXTURE(fixture,
                  "a device that reconnects at once is not sent again what it has just acknowledged") {
  arrive(3);
  call(it, asker.handle, 1, core::call{core::acknowledge{alice, phone, inbox_pos{3}}});
  run();
  asker.answers.take();
  reader.next_attached = {}; // nothing is written yet
  reader.next_attached.last = inbox_pos{3};
  CHECK(std::get<core::answer_to<core::attach>>(attach(first)).what.acknowledged == inbox_pos{3});
}

TEST_CASE_FIXTURE(fixture, "after a restart an acknowledgement is checked against what is stored") {
  restart();
  reader.next_attached.last = inbox_pos{5};
  call(it, asker.handle, 1, core::call{core::acknowledge{alice, phone, inbox_pos{4}}});
  run();
  CHECK(store.proposals.take().empty());
  read_all();
  const auto proposals = store.proposals.take();
  REQUIRE(proposals.size() == 1);
  const auto written = core::decode<core::command>(proposals[0].command);
  REQUIRE(written);
  CHECK(std::get<core::advance_cursor>(*written).upto == inbox_pos{4});
}

TEST_CASE_FIXTURE(fixture,
                  "a position whose write was refused is written later, each time after a longer pause") {
  arrive(3);
  acknowledge(3);
  CHECK(cursors(ec::overloaded) == std::vector<std::uint64_t>{3});
  for (const auto pause : {1, 2, 4, 8, 16, 16}) {
    CAPTURE(pause);
    for (int waited = 1; waited < pause; ++waited) {
      advance(1s);
      CHECK(cursors().empty());
    }
    advance(1s);
    CHECK(cursors(ec::disk_full) == std::vector<std::uint64_t>{3});
  }
  for (int waited = 0; waited < 16; ++waited)
    advance(1s);
  CHECK(cursors() == std::vector<std::uint64_t>{3});
  for (int waited = 0; waited < 60; ++waited)
    advance(1s);
  CHECK(cursors().empty()); // it is written
}

TEST_CASE_FIXTURE(fixture, "a refused position is written together with what was acknowledged meanwhile") {
  arrive(5);
  acknowledge(2);
  CHECK(cursors(ec::not_leader) == std::vector<std::uint64_t>{2});
  acknowledge(5);
  CHECK(cursors().empty());
  advance(1s);
  CHECK(cursors() == std::vector<std::uint64_t>{5});
}

TEST_CASE_FIXTURE(fixture, "nothing more is proposed while a proposal has no answer yet") {
  arrive(5);
  acknowledge(2);
  const auto unanswered = store.proposals.take();
  REQUIRE(unanswered.size() == 1);
  acknowledge(5);
  advance(1s);
  CHECK(store.proposals.take().empty());
  store.answer(unanswered[0], core::advanced{ec::none, inbox_pos{2}});
  run();
  advance(1s);
  CHECK(cursors() == std::vector<std::uint64_t>{5});
}

TEST_CASE_FIXTURE(fixture,
                  "a write that would be refused again is not repeated until the device acknowledges again") {
  arrive(3);
  acknowledge(3);
  store.answer(store.proposals.take().at(0), core::advanced{ec::no_such_user, {}});
  run();
  for (int waited = 0; waited < 60; ++waited)
    advance(1s);
  CHECK(cursors().empty());
  acknowledge(3);
  CHECK(cursors() == std::vector<std::uint64_t>{3});
}

TEST_CASE_FIXTURE(fixture,
                  "a cursor that one command does not bring to its end is moved on by others, at once") {
  arrive(10);
  acknowledge(10);
  CHECK(cursors(ec::none, inbox_pos{4}) == std::vector<std::uint64_t>{10});
  CHECK(cursors(ec::none, inbox_pos{8}) == std::vector<std::uint64_t>{10});
  CHECK(cursors() == std::vector<std::uint64_t>{10});
  advance(1s);
  CHECK(cursors().empty());
}

TEST_CASE_FIXTURE(fixture, "a cursor that does not move is not proposed in a hot loop") {
  arrive(10);
  acknowledge(10);
  CHECK(cursors(ec::none, inbox_pos{4}).size() == 1);
  CHECK(cursors(ec::none, inbox_pos{4}).size() == 1);
  CHECK(cursors().empty());
  advance(1s);
  CHECK(cursors().size() == 1);
}

TEST_CASE_FIXTURE(fixture, "an inbox that ends writes what is acknowledged, refused before or not") {
  arrive(3);
  acknowledge(3);
  CHECK(cursors(ec::overloaded) == std::vector<std::uint64_t>{3});
  caf::anon_send(it, atom::stop_v);
  run();
  CHECK(cursors() == std::vector<std::uint64_t>{3});
}

TEST_CASE_FIXTURE(fixture, "a device that acknowledges often causes one write a second") {
  arrive(50);
  for (std::uint64_t n = 1; n <= 50; ++n)
    call(it, asker.handle, n, core::call{core::acknowledge{alice, phone, inbox_pos{n}}});
  run();
  CHECK(asker.answers.take().size() == 50);
  CHECK(cursors() == std::vector<std::uint64_t>{1}); // the first at once
  advance(1s);
  CHECK(cursors() == std::vector<std::uint64_t>{50});
}

TEST_CASE_FIXTURE(fixture, "after a second without acknowledgements the next one is written at once") {
  arrive(3);
  acknowledge(1);
  CHECK(cursors().size() == 1);
  for (int i = 0; i < 3; ++i)
    advance(1s);
  acknowledge(2);
  CHECK(cursors().size() == 1);
  acknowledge(3);
  CHECK(cursors().empty());
  advance(1s);
  CHECK(cursors().size() == 1);
}

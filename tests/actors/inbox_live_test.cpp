// Sessions that are pushed to: heartbeats, logins, and how long an inbox stays.
#include "tests/actors/inbox_fixture.hpp"

using namespace parley;
using namespace parley::test;
using fixture = inbox_fixture;

TEST_CASE_FIXTURE(fixture, "a heartbeat of a live session is answered without asking the replicas") {
  attach(first);
  pull(first);
  reader.next_attached.devices = 2; // the other one was added since
  call(it, asker.handle, 1, core::call{core::attach{alice, phone, first.ref, first.session}});
  run();
  CHECK(store.reads.take().empty());
  const auto answers = asker.answers.take();
  REQUIRE(answers.size() == 1);
  const auto& state = std::get<core::answer_to<core::attach>>(answers[0].what).what;
  CHECK(state.error == ec::none);
  CHECK(state.devices == 2);
  // A newer session is a newcomer, not a heartbeat.
  call(it, asker.handle, 2, core::call{core::attach{alice, phone, second.ref, second.session}});
  run();
  CHECK(store.reads.take().size() == 1);
}

TEST_CASE_FIXTURE(fixture, "a login with another key than the device's is refused, and fences nobody") {
  reader.found.device.key.fill(5);
  std::array<std::uint8_t, 32> key{};
  key.fill(5);
  attach(first);
  pull(first);
  const auto log_in = [&] {
    const auto answer = ask(core::call{core::log_in{alice, phone, second.ref, second.session, key}});
    return core::error_of(answer);
  };
  SUBCASE("a key of somebody's own") {
    key.fill(6);
    CHECK(log_in() == ec::bad_signature);
  }
  SUBCASE("a device that does not exist") {
    reader.nobody = true;
    CHECK(log_in() == ec::no_such_user);
  }
  CHECK(router.deliveries.take().empty());
  arrive(1);
  REQUIRE(router.deliveries.all->size() == 1);
  CHECK(router.deliveries.all->front().to == first.ref);
}

TEST_CASE_FIXTURE(fixture,
                  "a login with the device's key takes a fresh look, and fences the session before it") {
  std::array<std::uint8_t, 32> key{};
  key.fill(5);
  attach(first);
  const core::call login{core::log_in{alice, phone, second.ref, second.session, key}};
  call(it, asker.handle, 1, login);
  run();
  CHECK(asker.answers.take().empty());
  reader.found.device.key = key; // it was added a moment ago
  read_all();
  const auto answers = asker.answers.take();
  REQUIRE(answers.size() == 1);
  CHECK(core::error_of(answers[0].what) == ec::none);
  const auto told = router.deliveries.take();
  REQUIRE(told.size() == 1);
  CHECK(told[0].to == first.ref);
  CHECK(told[0].close == ec::fenced);
}

TEST_CASE_FIXTURE(fixture, "a live inbox that has nothing to do is not swept between two heartbeats") {
  const auto sweeps_in = [&](std::chrono::seconds time) {
    int sweeps = 0;
    for (auto passed = 0s; passed < time; passed += 1s) {
      sched.advance_time(1s);
      sweeps += sched.has_job();
      run();
    }
    return sweeps;
  };
  attach(first);
  pull(first);
  advance(1s); // after the calls
  CHECK(sweeps_in(20s) == 0);
  arrive(1);
  CHECK(router.deliveries.take().size() == 1);
  CHECK(sweeps_in(20s) == 0);
  acknowledge(1);
  CHECK(cursors(ec::overloaded).size() == 1);
  advance(1s);
  CHECK(cursors().size() == 1);
  advance(1s);
  CHECK(sweeps_in(20s) == 0);
}

TEST_CASE_FIXTURE(fixture, "an inbox whose last device has detached reports to its shard that it is idle") {
  attach(first);
  pull(first);
  for (int i = 0; i < 100; ++i) {
    advance(1s);
    if (i % 30 == 0)
      attach(first);
  }
  CHECK(*idles == 0);
  call(it, asker.handle, 1, core::call{core::detach{alice, phone, first.ref}});
  run();
  advance(1s);
  CHECK(*idles == 0);
  for (auto waited = 1s; waited < 60s; waited += 1s)
    advance(1s);
  CHECK(*idles == 1);
}

TEST_CASE_FIXTURE(fixture,
                  "a connection that missed its heartbeats is pushed to no more, and keeps no inbox alive") {
  attach(first);
  pull(first);
  arrive(1);
  CHECK(router.deliveries.take().size() == 1);
  for (int i = 0; i < 3; ++i) { // it is heard of for a while
    advance(30s);
    attach(first);
  }
  for (int i = 0; i < 91; ++i)
    advance(1s);
  arrive(2);
  CHECK(router.deliveries.take().empty());
  for (int i = 0; i < 61; ++i)
    advance(1s);
  CHECK(*idles == 1);
}

TEST_CASE_FIXTURE(fixture,
                  "a connection that was taken for gone asks for what it missed, and is pushed to again") {
  attach(first);
  pull(first);
  for (int i = 0; i < 91; ++i)
    advance(1s);
  arrive(1);
  CHECK(router.deliveries.take().empty());
  reader.next_attached.last = inbox_pos{1};
  const auto answer = attach(first); // its heartbeat was late
  REQUIRE(core::error_of(answer) == ec::none);
  CHECK(core::answer_if<core::attach>(answer)->last == inbox_pos{1});
  CHECK(core::answer_if<core::attach>(answer)->live == 0);
  reader.next_page.next = inbox_pos{1};
  pull(first);
  CHECK(core::answer_if<core::attach>(attach(first))->live == 1);
  arrive(2);
  CHECK(router.deliveries.take().size() == 1);
}

TEST_CASE_FIXTURE(fixture,
                  "an inbox that begins anew says to a heartbeat that nothing is pushed to its session") {
  attach(first);
  pull(first);
  CHECK(core::answer_if<core::attach>(attach(first))->live == 1);
  restart();
  CHECK(core::answer_if<core::attach>(attach(first))->live == 0);
  pull(first);
  CHECK(core::answer_if<core::attach>(attach(first))->live == 1);
}

TEST_CASE_FIXTURE(fixture, "an inbox that somebody uses now and then stays, and is asked about seldom") {
  int sweeps = 0;
  for (int i = 0; i < 10; ++i) {
    attach(first);
    call(it, asker.handle, 1, core::call{core::detach{alice, phone, first.ref}});
    run();
    asker.answers.take();
    for (int waited = 0; waited < 30; ++waited) {
      sched.advance_time(1s);
      sweeps += sched.has_job();
      run();
    }
  }
  CHECK(*idles == 0);
  CHECK(sweeps <= 20); // one after each call, and one a minute
}

TEST_CASE_FIXTURE(fixture, "an inbox goes on to tell the conversations of a second device until all know") {
  const auto asks = [&] { // and leaves the proposals of cursors out
    std::vector<proposal> out;
    for (auto& p : store.proposals.take())
      if (const auto c = core::decode<core::command>(p.command);
          c && std::holds_alternative<core::ask_copies>(*c))
        out.push_back(std::move(p));
    return out;
  };
  attach(first);
  CHECK(asks().empty());
  reader.next_attached.copies_due = 1;
  attach(first);
  auto asked = asks();
  REQUIRE(asked.size() == 1);
  attach(first); // a heartbeat meanwhile
  CHECK(asks().empty());
  store.answer(asked[0], core::copies_asked{ec::none, 1});
  run();
  asked = asks();
  REQUIRE(asked.size() == 1);
  SUBCASE("after an error the next heartbeat goes on") {
    store.refuse(asked[0], ec::unavailable);
    run();
    CHECK(asks().empty());
    attach(first);
    CHECK(asks().size() == 1);
  }
  SUBCASE("and ends when there are no more") {
    store.answer(asked[0], core::copies_asked{ec::none, 0});
    run();
    CHECK(asks().empty());
  }
}

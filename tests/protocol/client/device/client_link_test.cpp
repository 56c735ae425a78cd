// One connection alone: what ends it.
#include "tests/protocol/client/device/lone_part.hpp"

using namespace parley;
using namespace parley::client;
using namespace parley::test;

TEST_CASE_FIXTURE(part_fixture, "a call that gets no answer in time ends the link") {
  settings.call_timeout = 15'000ms;
  auto& link = connect();
  auto first = link.begin_call();
  pass(10'000ms);
  auto second = link.begin_call();
  pass(4'999ms);
  CHECK(!link.ended());
  pass(1ms);
  CHECK(link.ended());
  CHECK(link.why().code == ec::timed_out);
}

TEST_CASE_FIXTURE(part_fixture, "calls that end in time leave the link alone, however many there are") {
  settings.call_timeout = 100ms;
  auto& link = connect();
  for (int i = 0; i < 50; ++i) {
    auto ticket = link.begin_call();
    pass(60ms);
  }
  pass(1'000ms);
  CHECK(!link.ended());
}

TEST_CASE_FIXTURE(part_fixture, "a link ends when the other end of its line is gone") {
  auto& link = connect();
  auto over = link.over();
  CHECK(!over.poll(scope));
  other_end = nullptr;
  turn();
  CHECK(over.poll(scope));
  CHECK(link.why().code == ec::unavailable);
}

TEST_CASE_FIXTURE(part_fixture, "the first reason for the end of a link is kept") {
  auto& link = connect();
  link.end({ec::draining, "", {}});
  link.end({ec::timed_out, "", {}});
  CHECK(link.why().code == ec::draining);
}

TEST_CASE_FIXTURE(part_fixture, "a link ends with the sentence of the task that failed") {
  auto& link = connect();
  link.add(KJ_EXCEPTION(FAILED, "the task failed"));
  turn();
  CHECK(link.ended());
  CHECK(link.why().sentence == "the task failed");
}

TEST_CASE_FIXTURE(part_fixture, "a call that is made while the timer stands still has all its time") {
  settings.call_timeout = 15'000ms;
  auto& link = connect();
  const auto stale = timer.now();
  auto call = link.begin_call();
  timer.advanceTo(stale + 20 * kj::SECONDS); // the program did something else before
  turn();
  CHECK(!link.ended());
  pass(14'999ms);
  CHECK(!link.ended());
  pass(1ms);
  CHECK(link.ended());
}

TEST_CASE_FIXTURE(part_fixture,
                  "after the loop stood still, calls under way are not ended before answers are read") {
  settings.call_timeout = 15'000ms;
  auto& link = connect();
  {
    auto call = link.begin_call();
    pass(1'000ms);
    timer.advanceTo(timer.now() + 60 * kj::SECONDS);
    turn();
    CHECK(!link.ended());
  }
  pass(60'000ms);
  CHECK(!link.ended()); // its answer was there
}

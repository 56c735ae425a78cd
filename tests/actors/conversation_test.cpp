#include "actors/resident.hpp"
#include "tests/support/actor_fixture.hpp"
#include "tests/support/fake_reader.hpp"

#include <doctest/doctest.h>

using namespace parley;
using namespace std::chrono_literals;

namespace {

struct fixture : test::actor_fixture {
  const user_id alice{1}, bob{2}, eve{3};
  const conversation_id id = core::direct_conversation(alice, bob);
  test::fake_reader reader;
  fake_store store = make_store();
  fake_router router = make_router();
  sink asker = make_sink();
  std::shared_ptr<int> idles = std::make_shared<int>(0);
  resident_config config;
  conversation_actor room;

  fixture() { reader.heads[id] = {true, {alice, bob}, seq_no{0}}; }
  ~fixture() { caf::anon_send_exit(room, caf::exit_reason::user_shutdown); }
  void open() {
    room = spawn_conversation(sys, {shard_id{1},
                                    core::format_number::newest,
                                    {resident_kind::conversation, id.hi, id.lo},
                                    7,
                                    config,
                                    &reader,
                                    store.handle,
                                    router.handle,
                                    make_silent_shard(idles)});
  }
  core::call message(user_id from, std::uint64_t counter = 1) {
    core::submission s;
    s.conversation = id;
    s.from = from;
    s.id = {device_id{number(from)}, counter};
    s.body = "x";
    return core::call{core::submit{s}};
  }
};

} // namespace

TEST_CASE_FIXTURE(fixture,
                  "a resident with as many calls that wait as it may have refuses more, which is counted") {
  refused_calls refused;
  config.refused = &refused;
  config.waiting_calls_max = 1;
  open();
  call(room, asker.handle, 1, message(alice, 1));
  run();
  CHECK(asker.answers.take().empty());
  call(room, asker.handle, 2, message(alice, 2));
  run();
  const auto answers = asker.answers.take();
  REQUIRE(answers.size() == 1);
  CHECK(answers[0].number == 2);
  CHECK(core::error_of(answers[0].what) == ec::overloaded);
  CHECK(refused.calls_of_resident == 1);
}

TEST_CASE_FIXTURE(fixture, "a conversation that exists is opened without a write, and the answer says so") {
  open();
  const auto ask = [&](std::uint64_t number, user_id by, user_id with) {
    call(room, asker.handle, number, core::call{core::open_conversation{by, with, unix_ms{1}}});
    run();
  };
  ask(5, bob, alice);
  CHECK(store.proposals.take().empty());
  auto answers = asker.answers.take();
  REQUIRE(answers.size() == 1);
  const auto* opened = core::answer_if<core::open_conversation>(answers[0].what);
  REQUIRE(opened != nullptr);
  CHECK(opened->error == ec::none);
  CHECK(opened->conversation == id);
  CHECK(opened->existed == 1);
  SUBCASE("one that could not be read is written: that is never wrong") {
    caf::anon_send_exit(room, caf::exit_reason::user_shutdown);
    reader.heads[id].error = ec::corrupt;
    reader.heads[id].exists = false;
    open();
    ask(6, alice, bob);
    CHECK(store.proposals.take().size() == 1);
  }
}

TEST_CASE_FIXTURE(fixture, "an error of the store is the answer to the call that it concerns") {
  open();
  call(room, asker.handle, 5, message(alice));
  run();
  const auto proposals = store.proposals.take();
  REQUIRE(proposals.size() == 1);
  store.refuse(proposals[0], ec::timed_out);
  run();
  const auto answers = asker.answers.take();
  REQUIRE(answers.size() == 1);
  CHECK(answers[0].number == 5);
  CHECK(core::error_of(answers[0].what) == ec::timed_out);
}

TEST_CASE_FIXTURE(fixture, "a call that waits when its actor crashes is answered `internal`") {
  open();
  call(room, asker.handle, 5, message(alice));
  run();
  caf::anon_send_exit(room, caf::exit_reason::kill);
  run();
  const auto answers = asker.answers.take();
  REQUIRE(answers.size() == 1);
  CHECK(core::error_of(answers[0].what) == ec::internal);
}

TEST_CASE_FIXTURE(fixture, "a user who is not a member is refused after a fresh read, without a log entry") {
  open();
  call(room, asker.handle, 1, message(eve));
  run();
  CHECK(asker.answers.take().empty());
  const auto reads = store.reads.take();
  REQUIRE(reads.size() == 1);
  store.answer(reads[0]);
  run();
  const auto answers = asker.answers.take();
  REQUIRE(answers.size() == 1);
  CHECK(core::error_of(answers[0].what) == ec::not_a_member);
  CHECK(store.proposals.take().empty());
}

TEST_CASE_FIXTURE(fixture, "a conversation counts as unknown only if a fresh read does not find it either") {
  reader.heads.clear();
  open();
  call(room, asker.handle, 1, message(alice));
  run();
  reader.heads[id] = {true, {alice, bob}, seq_no{0}}; // it had been opened at another node a moment ago
  store.answer(store.reads.take().at(0));
  run();
  CHECK(asker.answers.take().empty());
  CHECK(store.proposals.take().size() == 1);
}

TEST_CASE_FIXTURE(fixture, "a member whom only a fresh read finds may send") {
  const auto opened = std::exchange(reader.heads, {}); // a moment ago: it was not published yet
  open();
  call(room, asker.handle, 1, message(alice));
  run();
  CHECK(store.proposals.take().empty());
  reader.heads = opened;
  store.answer(store.reads.take().at(0));
  run();
  CHECK(asker.answers.take().empty());
  CHECK(store.proposals.take().size() == 1);
}

TEST_CASE_FIXTURE(fixture, "the first message to a passivated conversation does not wait for a commit") {
  open();
  call(room, asker.handle, 1, message(alice));
  run();
  CHECK(store.proposals.take().size() == 1);
  CHECK(store.reads.take().empty());
}

TEST_CASE_FIXTURE(fixture, "a conversation that cannot be read at the moment is not reported as unknown") {
  reader.heads.clear();
  reader.heads[id].error = ec::overloaded;
  open();
  call(room, asker.handle, 1, message(alice));
  run();
  store.answer(store.reads.take().at(0));
  run();
  const auto answers = asker.answers.take();
  REQUIRE(answers.size() == 1);
  CHECK(core::error_of(answers[0].what) == ec::overloaded);
}

TEST_CASE_FIXTURE(fixture, "above the rate limit a retry is still answered, and a new message is refused") {
  config.conversation_burst_max = 1;
  config.conversation_refill_every = std::chrono::microseconds{1'000'000};
  open();
  advance(2s);
  core::placement first;
  first.seq = seq_no{9};
  first.duplicate = 1;
  reader.retries[{id, 2}] = first;
  call(room, asker.handle, 1, message(alice, 1));
  call(room, asker.handle, 2, message(alice, 2));
  call(room, asker.handle, 3, message(alice, 3));
  run();
  const auto answers = asker.answers.take();
  REQUIRE(answers.size() == 2);
  CHECK(std::get<core::answer_to<core::submit>>(answers[0].what).what.seq == seq_no{9});
  CHECK(core::error_of(answers[1].what) == ec::rate_limited);
}

TEST_CASE_FIXTURE(fixture, "the sender is answered the number that its message was given") {
  open();
  call(room, asker.handle, 8, message(bob));
  run();
  core::placement placed;
  placed.seq = seq_no{3};
  store.answer(store.proposals.take().at(0), placed);
  run();
  const auto answers = asker.answers.take();
  REQUIRE(answers.size() == 1);
  CHECK(answers[0].number == 8);
  CHECK(std::get<core::answer_to<core::submit>>(answers[0].what).what.seq == seq_no{3});
}

TEST_CASE_FIXTURE(
    fixture, "the first read mark is written at once, and those of the next second are written together") {
  open();
  call(room, asker.handle, 1, core::call{core::mark_read{id, alice, seq_no{1}}});
  run();
  auto first = store.proposals.take();
  REQUIRE(first.size() == 1);
  store.answer(first[0], core::done{});
  run();
  CHECK(asker.answers.take().size() == 1);
  call(room, asker.handle, 2, core::call{core::mark_read{id, alice, seq_no{2}}});
  call(room, asker.handle, 3, core::call{core::mark_read{id, alice, seq_no{5}}});
  run();
  CHECK(store.proposals.take().empty());
  advance(1s);
  const auto second = store.proposals.take();
  REQUIRE(second.size() == 1);
  const auto command = core::decode<core::command>(second[0].command);
  REQUIRE(command);
  CHECK(std::get<core::raise_watermarks>(*command).marks.at(0).read == seq_no{5});
  store.answer(second[0], core::done{});
  run();
  CHECK(asker.answers.take().size() == 2);
}

TEST_CASE_FIXTURE(fixture,
                  "a read mark in a busy conversation is written at once if none was in the last second") {
  open();
  call(room, asker.handle, 1, message(alice)); // from now on it sweeps
  run();
  store.answer(store.proposals.take().at(0), core::placement{});
  run();
  call(room, asker.handle, 2, core::call{core::mark_read{id, alice, seq_no{1}}});
  run();
  CHECK(store.proposals.take().size() == 1);
}

TEST_CASE_FIXTURE(fixture,
                  "an idle conversation reports to its shard, and stops when the shard tells it to") {
  config.passivate_after = 3s;
  open();
  call(room, asker.handle, 1, message(alice));
  run();
  store.answer(store.proposals.take().at(0), core::placement{});
  run();
  for (int i = 0; i < 5; ++i)
    advance(1s);
  CHECK(*idles == 1);
  caf::anon_send(room, atom::stop_v);
  run();
  call(room, asker.handle, 2, message(alice, 2));
  run();
  CHECK(store.proposals.take().empty());
}

TEST_CASE_FIXTURE(fixture, "a gateway whose clock is a year ahead does not date a message") {
  struct fixed final : wall_clock {
    unix_ms now() const override { return unix_ms{1'800'000'000'000}; }
  };
  static const fixed clock;
  config.time_of_day = &clock;
  open();
  core::submission what;
  what.conversation = id;
  what.from = alice;
  what.at = unix_ms{1'831'536'000'000};
  call(room, asker.handle, 1, core::call{core::submit{what}});
  run();
  const auto proposed = store.proposals.take();
  REQUIRE(proposed.size() == 1);
  const auto command = core::decode<core::command>(proposed[0].command);
  REQUIRE(command);
  CHECK(std::get<core::append_message>(*command).what.at == unix_ms{1'800'000'060'000});
}

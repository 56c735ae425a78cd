// The sender alone: a session that is silent, refuses, answers late or is full, and a store that fails.
#include "protocol/client/device/sender.hpp"
#include "tests/protocol/client/device/lone_part.hpp"

using namespace parley;
using namespace parley::client;
using namespace parley::test;
using kind = history_event::kind;

namespace {

struct sender_fixture : part_fixture {
  virtual_calendar calendar;
  old_copy old{seen};
  kj::Own<sender> out;

  sender_fixture() {
    calendar.ms = 0; // counters are 1, 2, 3 …
  }

  sender& make(client_store& in) {
    out = kj::heap<sender>(timer, host, settings, in, seen, history, who, chance, calendar, old);
    return *out;
  }
  sender& make() { return make(store); }
  void online() {
    connect();
    out->online();
    turn();
  }
  void lose() {
    out->lost({ec::unavailable, "", {}});
    cut();
  }
  const std::vector<std::uint64_t>& asked() const { return session->counters; }
  /// The newest send is answered: the cluster had it before.
  void answer_duplicate() {
    session->sends.back().context.getResults().setDuplicate(true);
    session->sends.back().accept();
    turn();
  }
  void answer_error(ec why) {
    session->sends.back().refuse(why);
    turn();
  }
  std::size_t history_of(kind k) const {
    return static_cast<std::size_t>(
        std::count_if(seen.history.begin(), seen.history.end(), [k](const auto& e) { return e.type == k; }));
  }
};

} // namespace

TEST_CASE_FIXTURE(sender_fixture, "without a connection a message is kept and waits") {
  make();
  auto promise = out->send(talk, "hello");
  pass(60'000ms);
  CHECK(!promise.poll(scope));
  CHECK(store.waiting().size() == 1);
  CHECK(out->unsettled() == 1);
  online();
  CHECK(asked().size() == 1);
}

TEST_CASE_FIXTURE(sender_fixture,
                  "a silent session leaves the outcome open, and the next gets the same counter") {
  settings.call_timeout = 1'000ms;
  make();
  online();
  auto promise = out->send(talk, "hello");
  turn();
  const auto before = session->counters;
  pass(1'000ms);
  CHECK(host.current->why().code == ec::timed_out);
  lose();
  CHECK(history_of(kind::info) == 1);
  CHECK(!promise.poll(scope));
  online();
  CHECK(asked() == before);
  session->sends[0].accept();
  CHECK(get(promise));
  CHECK(store.waiting().empty());
}

TEST_CASE_FIXTURE(sender_fixture, "nothing is sent on a connection that has ended") {
  make();
  online();
  host.current->end({ec::draining, "", {}});
  REQUIRE(out->post(talk, "hello"));
  turn();
  CHECK(session->sends.empty());
}

TEST_CASE_FIXTURE(sender_fixture,
                  "messages that were kept before a restart are sent when there is a connection") {
  store.enqueue(talk, "one");
  store.enqueue(talk, "two");
  make();
  CHECK(out->unsettled() == 2);
  online();
  CHECK(asked() == std::vector<std::uint64_t>{1});
  session->sends[0].accept();
  turn();
  CHECK(asked() == std::vector<std::uint64_t>{1, 2});
}

TEST_CASE_FIXTURE(
    sender_fixture,
    "after a temporary error a message is sent again with the same counter, and no message overtakes it") {
  make();
  online();
  REQUIRE(out->post(talk, "one"));
  REQUIRE(out->post(talk, "two"));
  turn();
  session->sends[0].refuse(ec::overloaded, 300ms);
  pass(299ms);
  CHECK(asked() == std::vector<std::uint64_t>{1});
  pass(1ms);
  CHECK(asked() == std::vector<std::uint64_t>{1, 1});
  CHECK(seen.failed.empty());
}

TEST_CASE_FIXTURE(sender_fixture, "a final refusal is reported once, and the next message is sent") {
  make();
  online();
  auto first = out->send(talk, "one");
  REQUIRE(out->post(talk, "two"));
  turn();
  session->sends[0].refuse(ec::not_a_member);
  turn();
  const auto outcome = get(first);
  REQUIRE(!outcome);
  CHECK(outcome.error().code == ec::not_a_member);
  CHECK(seen.failed == std::vector<ec>{ec::not_a_member});
  CHECK(store.failures().size() == 1);
  CHECK(asked() == std::vector<std::uint64_t>{1, 2});
}

TEST_CASE_FIXTURE(sender_fixture, "if the session is refused, the message is kept and the host is told") {
  make();
  online();
  REQUIRE(out->post(talk, "one"));
  turn();
  SUBCASE("fenced") {
    session->sends[0].refuse(ec::fenced);
    turn();
    CHECK(host.considered == std::vector<ec>{ec::fenced});
  }
  SUBCASE("not authenticated") {
    session->sends[0].refuse(ec::not_authenticated);
    turn();
    CHECK(host.considered == std::vector<ec>{ec::not_authenticated});
  }
  CHECK(seen.failed.empty());
  CHECK(store.waiting().size() == 1);
}

TEST_CASE_FIXTURE(sender_fixture,
                  "a message is refused and not kept if the outbox is full or its body is above the bound") {
  settings.outbox_messages_max = 2;
  make();
  const auto big = out->post(talk, std::string(body_bytes_max + 1, 'x'));
  REQUIRE(!big);
  CHECK(big.error().code == ec::too_large);
  REQUIRE(out->post(talk, "one"));
  REQUIRE(out->post(talk, "two"));
  const auto third = out->post(talk, "three");
  REQUIRE(!third);
  CHECK(third.error().code == ec::overloaded);
  CHECK(store.waiting().size() == 2);
}

TEST_CASE_FIXTURE(sender_fixture, "no more messages are under way than the settings allow") {
  settings.in_flight_max = 3;
  make();
  online();
  for (std::uint64_t n = 1; n <= 10; ++n)
    REQUIRE(out->post(conversation_id{n, n}, "x"));
  turn();
  CHECK(session->sends.size() == 3);
  session->sends[0].accept();
  turn();
  CHECK(session->sends.size() == 4);
}

TEST_CASE_FIXTURE(sender_fixture, "large messages wait in the device, and not in front of its other calls") {
  make();
  online();
  for (std::uint64_t n = 1; n <= 3; ++n)
    REQUIRE(out->post(conversation_id{n, n}, std::string(body_bytes_max, 'x')));
  for (std::uint64_t n = 4; n <= 200; ++n)
    REQUIRE(out->post(conversation_id{n, n}, "short"));
  turn();
  CHECK(session->sends.size() == 2); // with 1 KiB each they take 130 KiB
  session->sends[0].accept();
  turn();
  CHECK(session->sends.size() == 3);
  session->sends[1].refuse(ec::rate_limited);
  session->sends[2].accept();
  turn();
  CHECK(session->sends.size() == 3 + 128); // of 1,029 bytes each
  lose();
  online();
  CHECK(session->sends.size() > 60); // what was under way takes nothing any more
}

TEST_CASE_FIXTURE(sender_fixture, "a node that refuses again and again is left, unless there is no other") {
  settings.move_after_refusals = 3;
  SUBCASE("another node") {}
  SUBCASE("no other") {
    settings.seeds.resize(1);
  }
  make();
  online();
  REQUIRE(out->post(talk, "one"));
  turn();
  for (std::size_t n = 0; n < 3; ++n) {
    REQUIRE(session->sends.size() == n + 1);
    CHECK(!host.current->ended());
    session->sends[n].refuse(ec::not_leader);
    pass(2'000ms);
  }
  CHECK(host.current->ended() == (settings.seeds.size() > 1));
}

TEST_CASE_FIXTURE(sender_fixture,
                  "a halted device answers the callers that wait, keeps their messages and accepts no more") {
  make();
  online();
  auto promise = out->send(talk, "hello");
  auto settled = out->settled();
  turn();
  CHECK(!settled.poll(scope));
  host.halt(link_state::fenced, refuse(ec::fenced));
  out->halted(refuse(ec::fenced));
  CHECK(get(promise).error().code == ec::fenced);
  CHECK(settled.poll(scope));
  CHECK(store.waiting().size() == 1);
  CHECK(out->post(talk, "more").error().code == ec::fenced);
}

TEST_CASE_FIXTURE(sender_fixture,
                  "if the store cannot keep an outcome, the device halts and reports nothing") {
  struct full_disk final : memory_store {
    void sent(const message&) override { throw store_error{"The profile's database failed: full."}; }
    void failed(std::uint64_t, ec) override { throw store_error{"The profile's database failed: full."}; }
  } full;
  make(full);
  online();
  REQUIRE(out->post(talk, "hello"));
  turn();
  SUBCASE("stored") {
    session->sends[0].accept();
  }
  SUBCASE("refused") {
    session->sends[0].refuse(ec::not_a_member);
  }
  turn();
  CHECK(out->unsettled() == 1); // it has no outcome, and is sent again by the next device
  CHECK(host.now.state == link_state::broken);
  CHECK(host.now.why == ec::storage_failed);
  CHECK(seen.sent.empty());
  CHECK(seen.failed.empty());
}

TEST_CASE_FIXTURE(sender_fixture, "`settled` waits for the last outcome") {
  make();
  online();
  REQUIRE(out->post(talk, "one"));
  REQUIRE(out->post(talk, "two"));
  auto settled = out->settled();
  turn();
  session->sends[0].accept();
  turn();
  CHECK(!settled.poll(scope));
  session->sends[1].accept();
  CHECK(settled.poll(scope));
  CHECK(seen.sent.size() == 2);
}

// --- a profile that was restored from a copy ---------------------------------------------------------------

TEST_CASE_FIXTURE(sender_fixture,
                  "if the first attempt finds its counter used, the text goes out again under a new one") {
  make();
  online();
  auto first = out->send(talk, "ok");
  REQUIRE(out->post(talk, "next"));
  turn();
  SUBCASE("by the same words, which are another message") {
    answer_duplicate();
  }
  SUBCASE("by other words") {
    answer_error(ec::conflict);
  }
  SUBCASE("by a message so old that its words are forgotten") {
    answer_error(ec::retry_too_old);
  }
  CHECK(!first.poll(scope)); // neither sent nor refused
  CHECK(seen.sent.empty());
  CHECK(seen.failed.empty());
  CHECK(seen.old_copies == 1);
  CHECK(asked() == std::vector<std::uint64_t>{1, 3});
  CHECK(history_of(kind::fail) == 1);
  session->sends[1].context.getResults().setSeq(1);
  session->sends[1].accept();
  const auto outcome = get(first);
  REQUIRE(outcome);
  CHECK(outcome->counter == 1); // its name on this device
  CHECK(!outcome->duplicate);
  turn();
  CHECK(asked() == std::vector<std::uint64_t>{1, 3, 2}); // the order in which they were written
  const auto kept = store.history(talk, seq_no::none, 10);
  REQUIRE(!kept.empty());
  CHECK(kept[0].client_id.counter == 3);
}

TEST_CASE_FIXTURE(sender_fixture, "a duplicate of a second attempt is the message itself, and is sent") {
  make();
  online();
  auto first = out->send(talk, "ok");
  turn();
  session->sends[0].refuse(ec::timed_out);
  pass(2'000ms);
  REQUIRE(asked() == std::vector<std::uint64_t>{1, 1});
  answer_duplicate();
  CHECK(get(first)->duplicate);
  CHECK(seen.old_copies == 0);
}

TEST_CASE_FIXTURE(sender_fixture,
                  "a second attempt that is too old is refused, for the first may be stored") {
  make();
  online();
  REQUIRE(out->post(talk, "ok"));
  turn();
  session->sends[0].refuse(ec::timed_out);
  pass(2'000ms);
  answer_error(ec::retry_too_old);
  CHECK(seen.failed == std::vector<ec>{ec::retry_too_old});
  CHECK(asked().size() == 2);
}

TEST_CASE_FIXTURE(sender_fixture,
                  "what an earlier life may have sent is taken for sent, what it never sent is not") {
  store.enqueue(talk, "one");
  SUBCASE("it may have been sent") {
    store.trying(1);
    make();
    online();
    answer_duplicate();
    REQUIRE(seen.sent.size() == 1);
    CHECK(seen.old_copies == 0);
  }
  SUBCASE("it was written without a connection") {
    make();
    online();
    answer_duplicate();
    CHECK(seen.sent.empty());
    CHECK(asked() == std::vector<std::uint64_t>{1, 2});
  }
  SUBCASE("it is known again after a crash") {
    make();
    online();
    make();
    online();
    answer_duplicate();
    CHECK(seen.sent.size() == 1);
  }
}

TEST_CASE_FIXTURE(sender_fixture, "a new counter is kept before it is used, and survives the device") {
  make();
  online();
  REQUIRE(out->post(talk, "ok"));
  turn();
  answer_error(ec::conflict);
  REQUIRE(asked() == std::vector<std::uint64_t>{1, 2});
  lose();
  make();
  online();
  CHECK(asked() == std::vector<std::uint64_t>{2});
  session->sends[0].accept();
  turn();
  CHECK(store.waiting().empty());
  REQUIRE(seen.sent.size() == 1);
  CHECK(seen.sent[0].counter == 1);
}

TEST_CASE_FIXTURE(sender_fixture, "counters are above the calendar and above the cluster's time") {
  calendar.ms = 5'000;
  make();
  online();
  REQUIRE(out->post(talk, "one"));
  turn();
  session->sends[0].context.getResults().setServerTimeMs(9'000);
  session->sends[0].accept();
  turn();
  REQUIRE(out->post(talk, "two"));
  turn();
  CHECK(asked() == std::vector<std::uint64_t>{5'000, 9'000});
}

TEST_CASE_FIXTURE(sender_fixture,
                  "a message whose counters are all used is given up after a few, and never called sent") {
  make();
  online();
  auto promise = out->send(talk, "ok");
  turn();
  std::size_t tries = 0;
  for (; !promise.poll(scope) && tries < 100; ++tries) {
    if (tries % 2 == 0)
      answer_duplicate();
    else
      answer_error(ec::conflict);
  }
  CHECK(tries < 20);
  CHECK(get(promise).error().code == ec::conflict);
  CHECK(seen.sent.empty());
  CHECK(seen.failed == std::vector<ec>{ec::conflict});
  CHECK(store.failures().size() == 1);
  CHECK(seen.old_copies == 1);
  CHECK(std::set(asked().begin(), asked().end()).size() == tries); // never the same counter twice
  CHECK(*std::max_element(asked().begin(), asked().end()) > (1ULL << 40));
}

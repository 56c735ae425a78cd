// What all connections of a gateway may have together, when each keeps to its own bounds.
#include "tests/protocol/gateway/fixture.hpp"

#include "protocol/gateway/page_turns.hpp"

#include <doctest/doctest.h>

using namespace parley;
using namespace parley::test;
using transport::close_reason;

namespace {

/// Calls that the cluster answers when the test says so.
struct slow_cluster {
  std::vector<core::call> calls;
  std::vector<kj::Own<kj::PromiseFulfiller<core::answer>>> waiting;

  explicit slow_cluster(fixture& f) {
    f.cluster.on_session_call = [this](core::call what) -> kj::Promise<core::answer> {
      calls.push_back(std::move(what));
      auto answer = kj::newPromiseAndFulfiller<core::answer>();
      waiting.push_back(kj::mv(answer.fulfiller));
      return kj::mv(answer.promise);
    };
  }
  std::size_t asked() const { return calls.size(); }
  user_id by(std::size_t i) const { return std::get<core::sync_conversation>(calls.at(i)).by; }
  void answer_page(std::size_t i) {
    waiting.at(i)->fulfill(core::answer{core::answer_to<core::sync_conversation>{core::conversation_page{}}});
  }
};

/// A client, and what became of its calls.
struct asker {
  test_client line;
  rpc::Session::Client session;
  kj::Vector<kj::Promise<void>> calls;
  std::size_t answered = 0;
  std::vector<ec> errors;

  asker(fixture& f, user_id who) : line{f}, session{log_in(f, who)} {}
  rpc::Session::Client log_in(fixture& f, user_id who) {
    f.cluster.devices[{who, device_id{2}}] = line.key.public_half;
    return line.login(line.key, who, device_id{2});
  }
  void page() {
    calls.add(session.syncConversationRequest()
                  .send()
                  .then([this](auto&&) { ++answered; })
                  .eagerlyEvaluate(nullptr));
  }
  void send(std::uint64_t counter, std::size_t bytes) {
    auto request = session.sendRequest();
    request.initId().setCounter(counter);
    request.initBody(static_cast<unsigned>(bytes));
    calls.add(request.send()
                  .then([this](auto&& r) { errors.push_back(ec{r.getError().getCode()}); })
                  .eagerlyEvaluate(nullptr));
  }
};

} // namespace

TEST_CASE_FIXTURE(fixture,
                  "when all buffers together take too much, the connection with most of it is closed") {
  config.login_bytes_max = 1 << 20;
  config.stream.outbound_pause_bytes = 32 * 1024;
  config.stream.outbound_bytes_max = 64 * 1024;
  config.buffers_bytes_of_all_max = 300 * 1024;
  start();
  raw_client large{*this}, small{*this};
  REQUIRE(large.handshake());
  REQUIRE(small.handshake());
  large.send(words({0, 40'000}) + std::string(150'000, '\0')); // of 320,000 bytes
  small.send(words({0, 40'000}) + std::string(60'000, '\0'));
  CHECK(until([&] { return closes(close_reason::buffers_full) == 1; }));
  CHECK(until([&] { return large.ended(); }));
  CHECK_FALSE(small.ended());
  test_client decent{*this};
  CHECK(decent.hello().claim.node == config.node);
}

TEST_CASE_FIXTURE(fixture, "of all connections a few pages are read at a time, and who has none comes next") {
  config.pages_of_all_max = 2;
  start();
  slow_cluster slow{*this};
  asker greedy{*this, user_id{1}}, decent{*this, user_id{2}};
  for (int i = 0; i < 4; ++i)
    greedy.page();
  REQUIRE(until([&] { return slow.asked() == 2; }));
  decent.page();
  get(decent.session.pingRequest().send().ignoreResult()); // everything sent before has arrived
  CHECK(slow.asked() == 2);
  slow.answer_page(0);
  REQUIRE(until([&] { return slow.asked() == 3; }));
  CHECK(slow.by(2) == user_id{2});
  for (std::size_t i = 1; i < 5; ++i) {
    REQUIRE(until([&] { return slow.asked() > i; }));
    slow.answer_page(i);
  }
  CHECK(until([&] { return greedy.answered == 4 && decent.answered == 1; }));
  decent.page();
  CHECK(until([&] { return slow.asked() == 6; }));
}

TEST_CASE_FIXTURE(fixture, "the turn of a connection that has gone is the next one's") {
  config.pages_of_all_max = 1;
  start();
  slow_cluster slow{*this};
  auto gone = std::make_unique<asker>(*this, user_id{1});
  for (int i = 0; i < 3; ++i)
    gone->page();
  REQUIRE(until([&] { return slow.asked() == 1; }));
  asker decent{*this, user_id{2}};
  gone.reset();
  REQUIRE(until([&] { return server->connections() == 1; }));
  decent.page();
  slow.answer_page(0);
  REQUIRE(until([&] { return slow.asked() == 2; }));
  slow.answer_page(1);
  CHECK(until([&] { return decent.answered == 1; }));
}

TEST_CASE("a turn that was given to nobody ends at once") {
  kj::EventLoop loop;
  kj::WaitScope scope{loop};
  auto turns = kj::refcounted<gateway::page_turns>(1);
  auto first = turns->begin(true).wait(scope);
  {
    auto second = turns->begin(true);
    CHECK(turns->waiting() == 1);
    first = nullptr; // the second has it, and goes without taking it up
    CHECK(turns->waiting() == 0);
  }
  auto third = turns->begin(false);
  CHECK(third.poll(scope));
}

TEST_CASE_FIXTURE(
    fixture, "messages of all connections that wait for answers are bounded, and a first one still passes") {
  config.sends_bytes_of_all_max = 10'000;
  start();
  slow_cluster slow{*this};
  asker greedy{*this, user_id{1}}, decent{*this, user_id{2}};
  for (std::uint64_t i = 1; i <= 4; ++i) // of 2,024 bytes, as they are counted
    greedy.send(i, 1'000);
  REQUIRE(until([&] { return greedy.errors.size() == 1; }));
  CHECK(greedy.errors.front() == ec::overloaded);
  CHECK(slow.asked() == 3);
  decent.send(1, 1'000);
  REQUIRE(until([&] { return slow.asked() == 4; }));
  for (auto& w : slow.waiting)
    w->fulfill(core::answer{core::answer_to<core::submit>{core::placement{ec::none, seq_no{1}}}});
  CHECK(until([&] { return greedy.errors.size() == 4 && decent.errors.size() == 1; }));
  greedy.send(5, 1'000);
  CHECK(until([&] { return slow.asked() == 5; }));
}

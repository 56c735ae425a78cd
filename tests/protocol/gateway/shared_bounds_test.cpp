// What all connections of a gateway may have together, when each keeps to its own bounds.
#include "tests/protocol/gateway/fixture.hpp"

#include "protocol/gateway/page_turns.hpp"
#include "protocol/gateway/shared_room.hpp"

#include <deque>
#include <doctest/doctest.h>
#include <optional>

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
  std::vector<ec> errors;      ///< of messages
  std::vector<ec> page_errors; ///< of pages

  asker(fixture& f, user_id who) : line{f}, session{log_in(f, who)} {}
  rpc::Session::Client log_in(fixture& f, user_id who) {
    f.cluster.devices[{who, device_id{2}}] = line.key.public_half;
    return line.login(line.key, who, device_id{2});
  }
  void page() {
    calls.add(session.syncConversationRequest()
                  .send()
                  .then([this](auto&& r) {
                    ++answered;
                    page_errors.push_back(ec{r.getError().getCode()});
                  })
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
  config.page_turn_max = patient(std::chrono::minutes{1});
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
  config.page_turn_max = patient(std::chrono::minutes{1});
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

TEST_CASE_FIXTURE(fixture, "pages of a shard that does not answer leave turns to those of others") {
  config.pages_of_all_max = 1;
  config.page_turn_max = std::chrono::milliseconds{1};
  start();
  slow_cluster slow{*this};
  asker hangs{*this, user_id{1}}, decent{*this, user_id{2}};
  hangs.page();
  REQUIRE(until([&] { return slow.asked() == 1; }));
  decent.page();
  REQUIRE(until([&] { return slow.asked() == 2; }));
  slow.answer_page(1);
  CHECK(until([&] { return decent.answered == 1; }));
  CHECK(hangs.answered == 0);
}

TEST_CASE_FIXTURE(fixture,
                  "a page that has waited too long for its turn is refused, and may be asked for again") {
  config.pages_of_all_max = 1;
  config.page_turn_max = patient(std::chrono::minutes{1});
  config.page_wait_max = std::chrono::milliseconds{1};
  start();
  slow_cluster slow{*this};
  asker first{*this, user_id{1}}, late{*this, user_id{2}};
  first.page();
  REQUIRE(until([&] { return slow.asked() == 1; }));
  for (std::uint32_t i = 0; i < 2 * config.pages_max; ++i) {
    late.page();
    REQUIRE(until([&] { return late.page_errors.size() > i; }));
    CHECK(late.page_errors.back() == ec::overloaded);
  }
  CHECK(slow.asked() == 1);
  CHECK(shared.metrics.refused_for(gateway::bound::pages_waiting) == 2 * config.pages_max);
  slow.answer_page(0);
  REQUIRE(until([&] { return first.answered == 1; }));
  late.page();
  CHECK(until([&] { return slow.asked() == 2; }));
}

namespace {

/// A connection has sent most of a long message, and fills more than half of what all buffers may take.
struct crowded_fixture : fixture {
  std::optional<raw_client> hog;

  void crowd() {
    config.login_bytes_max = 1 << 20;
    config.stream.outbound_pause_bytes = 32 * 1024;
    config.stream.outbound_bytes_max = 64 * 1024;
    config.buffers_bytes_of_all_max = 400 * 1024;
    config.login_deadline = patient(std::chrono::minutes{1});
    config.sweep_every = std::chrono::milliseconds{1};
    start();
    hog.emplace(*this);
    REQUIRE(hog->handshake());
    hog->send(words({0, 40'000}) + std::string(250'000, '\0')); // of 320,000 bytes
  }
};

} // namespace

TEST_CASE_FIXTURE(crowded_fixture, "no page is read while the buffers of all are more than half full") {
  config.pages_held_back_max = patient(std::chrono::minutes{1});
  config.page_wait_max = patient(std::chrono::minutes{1});
  crowd();
  slow_cluster slow{*this};
  asker decent{*this, user_id{2}};
  get(decent.session.pingRequest().send().ignoreResult()); // the hog's bytes have arrived as well
  decent.page();
  get(decent.session.pingRequest().send().ignoreResult());
  CHECK(slow.asked() == 0);
  CHECK(closes(close_reason::buffers_full) == 0);
  hog->reset();
  CHECK(until([&] { return slow.asked() == 1; }));
}

TEST_CASE_FIXTURE(crowded_fixture,
                  "whoever fills the buffers for long, and keeps pages from being read, is closed") {
  config.pages_held_back_max = std::chrono::milliseconds{1};
  config.page_wait_max = patient(std::chrono::minutes{1});
  crowd();
  slow_cluster slow{*this};
  asker decent{*this, user_id{2}};
  get(decent.session.pingRequest().send().ignoreResult());
  CHECK(closes(close_reason::buffers_full) == 0); // nobody waits
  decent.page();
  CHECK(until([&] { return slow.asked() == 1; }));
  CHECK(until([&] { return closes(close_reason::buffers_full) == 1; }));
  CHECK(until([&] { return hog->ended(); }));
}

namespace {

/// Turns in virtual time.
struct turns_fixture {
  using turn = kj::Maybe<kj::Own<gateway::page_turns::turn>>;
  kj::EventLoop loop;
  kj::WaitScope scope{loop};
  kj::TimerImpl timer{kj::origin<kj::TimePoint>()};
  gateway::page_turns::bounds most{1, 3, std::chrono::milliseconds{200}, std::chrono::milliseconds{5'000}};
  std::deque<gateway::page_turns::asker> askers;

  auto make() { return kj::refcounted<gateway::page_turns>(timer, most); }
  /// Of a connection that has none under way.
  auto begin(gateway::page_turns& turns, bool only) { return turns.begin(askers.emplace_back(), only); }
  void pass(kj::Duration d) {
    timer.advanceTo(timer.now() + d);
    scope.poll();
  }
};

struct buffers final : transport::stream_buffers {
  explicit buffers(gateway::page_turns& t) : transport::stream_buffers{100}, turns{t} {}
  gateway::page_turns& turns;
  void relieve() override {}
  void eased() override { turns.give(); }
};

} // namespace

TEST_CASE_FIXTURE(turns_fixture, "a turn that was given to nobody ends at once") {
  auto turns = make();
  auto first = begin(*turns, true).wait(scope);
  {
    auto second = begin(*turns, true);
    CHECK(turns->waiting() == 1);
    first = nullptr; // the second has it, and goes without taking it up
    CHECK(turns->waiting() == 0);
  }
  auto third = begin(*turns, false);
  CHECK(third.poll(scope));
}

TEST_CASE_FIXTURE(
    turns_fixture,
    "a connection with several pages gets every fourth turn, however many others ask again and again") {
  auto turns = make();
  auto now = begin(*turns, true).wait(scope);
  auto several = begin(*turns, false);
  std::deque<kj::Promise<turn>> others;
  for (int i = 0; i < 4; ++i)
    others.push_back(begin(*turns, true));
  int before = 0;
  for (; before < 20 && !several.poll(scope); ++before) {
    now = nullptr;
    if (several.poll(scope))
      break;
    now = others.front().wait(scope);
    others.pop_front();
    others.push_back(begin(*turns, true)); // so that there is always one
  }
  CHECK(before == 3);
}

TEST_CASE_FIXTURE(turns_fixture, "a turn ends by itself, and only so many pages are late") {
  auto turns = make();
  auto late = begin(*turns, true).wait(scope);
  auto second = begin(*turns, true), third = begin(*turns, true), fourth = begin(*turns, true);
  pass(199 * kj::MILLISECONDS);
  CHECK_FALSE(second.poll(scope));
  pass(1 * kj::MILLISECONDS);
  REQUIRE(second.poll(scope));
  auto its = second.wait(scope);
  pass(200 * kj::MILLISECONDS);
  REQUIRE(third.poll(scope));
  auto its_too = third.wait(scope);
  pass(1 * kj::SECONDS);
  CHECK_FALSE(fourth.poll(scope)); // three are under way
  late = nullptr;
  CHECK(fourth.poll(scope));
}

TEST_CASE_FIXTURE(turns_fixture,
                  "the turn of a page that is there lasts until it is written, however long that takes") {
  auto turns = make();
  auto page = begin(*turns, true).wait(scope);
  auto next = begin(*turns, true);
  pass(199 * kj::MILLISECONDS);
  KJ_ASSERT_NONNULL(page)->answered();
  pass(4 * kj::SECONDS);
  CHECK_FALSE(next.poll(scope));
  page = nullptr;
  CHECK(next.poll(scope));
}

TEST_CASE_FIXTURE(turns_fixture,
                  "those who ask for several pages while a shard has no leader leave turns to others") {
  most = {100, 16, std::chrono::milliseconds{5}, std::chrono::milliseconds{5'000}};
  auto turns = make();
  std::vector<kj::Promise<turn>> pages;
  for (int i = 0; i < 4; ++i) {
    auto& greedy = askers.emplace_back();
    for (int page = 0; page < 4; ++page)
      pages.push_back(turns->begin(greedy, page == 0));
  }
  std::vector<turn> under_way;
  const auto take = [&] {
    pass(5 * kj::MILLISECONDS);
    for (std::size_t i = 0; i < pages.size(); ++i)
      if (pages[i].poll(scope)) {
        under_way.push_back(pages[i].wait(scope));
        pages.erase(pages.begin() + static_cast<std::ptrdiff_t>(i--));
      }
  };
  take();
  CHECK(under_way.size() == 7); // four of the first, and one of each of the others
  for (int i = 0; i < 9; ++i)
    pages.push_back(begin(*turns, true));
  take();
  CHECK(under_way.size() == 16); // all that there are, and none of those had to wait
  std::size_t read_later = 0;
  for (int i = 0; i < 9 && !under_way.empty(); ++i) {
    under_way.clear();
    take();
    read_later += under_way.size();
  }
  CHECK(read_later == 9); // what the greedy ones asked for is read after all
}

TEST_CASE_FIXTURE(turns_fixture, "whoever has waited too long has no turn, and takes none") {
  most.turn = std::chrono::minutes{1};
  auto turns = make();
  auto first = begin(*turns, true).wait(scope);
  auto second = begin(*turns, true);
  pass(4'999 * kj::MILLISECONDS);
  CHECK_FALSE(second.poll(scope));
  auto third = begin(*turns, true);
  pass(1 * kj::MILLISECONDS);
  REQUIRE(second.poll(scope));
  CHECK((second.wait(scope) == nullptr));
  first = nullptr;
  REQUIRE(third.poll(scope));
  CHECK((third.wait(scope) != nullptr));
}

TEST_CASE_FIXTURE(turns_fixture, "turns that buffers hold back are given as soon as these are half empty") {
  most.at_a_time = most.under_way = 10;
  auto turns = make();
  buffers all{*turns};
  turns->watch(&all);
  all.changed(0, 51);
  pass(1 * kj::SECONDS);
  auto first = begin(*turns, true), second = begin(*turns, false);
  CHECK_FALSE(first.poll(scope));
  CHECK(turns->held_since() == timer.now()); // and not since the beginning
  all.changed(51, 50);
  CHECK(first.poll(scope));
  CHECK(second.poll(scope));
  turns->watch(nullptr);
}

TEST_CASE_FIXTURE(
    fixture, "calls of all connections that wait for answers are bounded, and a first one still passes") {
  config.calls_of_all_max = 4;
  start();
  test_receiver::record got;
  slow_cluster slow{*this};
  asker greedy{*this, user_id{1}}, decent{*this, user_id{2}};
  std::vector<ec> refused;
  const auto mark = [&](asker& by) {
    by.calls.add(by.session.ackReadRequest()
                     .send()
                     .then([&](auto&& r) { refused.push_back(ec{r.getError().getCode()}); })
                     .eagerlyEvaluate(nullptr));
  };
  for (int i = 0; i < 5; ++i)
    mark(greedy);
  REQUIRE(until([&] { return refused.size() == 2; }));
  CHECK(refused == std::vector<ec>{ec::overloaded, ec::overloaded});
  CHECK(slow.asked() == 3);
  CHECK(shared.metrics.refused_for(gateway::bound::calls) == 2);
  mark(decent);
  REQUIRE(until([&] { return slow.asked() == 4; }));
  decent.send(1, 100); // messages have a room of their own
  REQUIRE(until([&] { return slow.asked() == 5; }));
  auto receive = decent.session.receiveRequest(); // which is answered at once, and needs none
  receive.setReceiver(kj::heap<test_receiver>(got));
  CHECK(ec{get(receive.send()).getError().getCode()} == ec::none);
  get(greedy.session.pingRequest().send().ignoreResult());
  for (auto& w : slow.waiting)
    w->fulfill(core::answer{core::answer_to<core::mark_read>{}});
  REQUIRE(until([&] { return refused.size() == 6; }));
  for (int i = 0; i < 3; ++i)
    mark(greedy);
  CHECK(until([&] { return slow.asked() == 8; }));
}

TEST_CASE_FIXTURE(
    fixture, "messages of all connections that wait for answers are bounded, and a first one still passes") {
  config.sends_bytes_of_all_max = config.sends_held_bytes_of_all_max = 10'000;
  start();
  slow_cluster slow{*this};
  asker greedy{*this, user_id{1}}, decent{*this, user_id{2}};
  for (std::uint64_t i = 1; i <= 4; ++i) // of 2,024 bytes, as they are counted
    greedy.send(i, 1'000);
  REQUIRE(until([&] { return greedy.errors.size() == 1; }));
  CHECK(greedy.errors.front() == ec::overloaded);
  CHECK(slow.asked() == 3);
  CHECK(shared.metrics.refused_for(gateway::bound::messages) == 1);
  decent.send(1, 1'000);
  REQUIRE(until([&] { return slow.asked() == 4; }));
  for (auto& w : slow.waiting)
    w->fulfill(core::answer{core::answer_to<core::submit>{core::placement{ec::none, seq_no{1}}}});
  CHECK(until([&] { return greedy.errors.size() == 4 && decent.errors.size() == 1; }));
  greedy.send(5, 1'000);
  CHECK(until([&] { return slow.asked() == 5; }));
}

TEST_CASE_FIXTURE(fixture,
                  "a connection that waits for the answers to many bytes is not read until some are there") {
  config.sends_each_bytes_max = 3'000;
  start();
  slow_cluster slow{*this};
  asker greedy{*this, user_id{1}}, decent{*this, user_id{2}};
  for (std::uint64_t i = 1; i <= 3; ++i) // of 2,024 bytes, as they are counted
    greedy.send(i, 1'000);
  REQUIRE(until([&] { return slow.asked() == 2; }));
  get(decent.session.pingRequest().send().ignoreResult());
  CHECK(slow.asked() == 2);
  slow.waiting.front()->fulfill(
      core::answer{core::answer_to<core::submit>{core::placement{ec::none, seq_no{1}}}});
  CHECK(until([&] { return slow.asked() == 3; }));
}

TEST_CASE_FIXTURE(fixture, "messages that wait for their turn are refused when their session is fenced") {
  config.sends_under_way_of_all_max = config.sends_seldom_max = 1;
  start();
  slow_cluster slow{*this};
  asker a{*this, user_id{1}};
  for (std::uint64_t i = 1; i <= 4; ++i) // one goes at once, and one is under way
    a.send(i, 100);
  REQUIRE(until([&] { return slow.asked() == 2; }));
  cluster.sinks.front()->close(ec::fenced, 0);
  REQUIRE(until([&] { return a.errors.size() == 2; }));
  CHECK(a.errors == std::vector<ec>{ec::fenced, ec::fenced});
  CHECK(slow.asked() == 2);
}

TEST_CASE("however many take all the room that they get, whoever has little of it finds some") {
  for (const std::size_t greedy : {1, 4, 64, 256})
    for (const std::uint64_t bytes : {1'100u, 66'560u}) {
      CAPTURE(greedy);
      CAPTURE(bytes);
      gateway::shared_room room{64 << 20};
      for (std::size_t n = 0; n < greedy; ++n)
        for (std::uint64_t its = 0; its < (2 << 20) && room.take(bytes, its);)
          its += bytes;
      CHECK(room.taken() <= 64 << 20);
      CHECK(room.take(1'100, 0));
      CHECK(room.take(1'100, 20'000));
    }
  gateway::shared_room small{1'000};
  CHECK(small.take(5'000, 0)); // or it would never be sent
  CHECK_FALSE(small.take(1, 0));
}

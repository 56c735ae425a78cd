// Whose message goes next, in virtual time.
#include "protocol/gateway/send_turns.hpp"

#include <algorithm>
#include <deque>
#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace parley;
using namespace std::chrono_literals;

namespace {

/// Messages that are answered when the test says so.
struct slow_session final : gateway::session {
  slow_session(std::string name, std::vector<std::string>& all) : name{std::move(name)}, begun{all} {}
  kj::Promise<core::answer> ask(core::call what) override {
    begun.push_back(name + std::to_string(std::get<core::submit>(what).what.id.counter));
    auto answer = kj::newPromiseAndFulfiller<core::answer>();
    open.push_back(kj::mv(answer.fulfiller));
    return kj::mv(answer.promise);
  }
  bool start_receiving(inbox_pos) override { return true; }
  std::vector<core::outgoing_row> take(std::size_t, std::size_t) override { return {}; }
  bool copies_own() const override { return false; }
  void answer_next() {
    open.front()->fulfill(core::answer{core::answer_to<core::submit>{}});
    open.erase(open.begin());
  }

  std::string name;
  std::vector<std::string>& begun;
  std::vector<kj::Own<kj::PromiseFulfiller<core::answer>>> open;
};

struct fixture {
  kj::EventLoop loop;
  kj::WaitScope scope{loop};
  kj::TimerImpl timer{kj::origin<kj::TimePoint>()};
  kj::Own<gateway::send_turns> turns =
      kj::refcounted<gateway::send_turns>(timer, 4, 1, 100'000, std::chrono::milliseconds{200});
  std::vector<std::string> begun;

  struct client {
    client(fixture& f, std::string name)
        : f{f}, session{std::move(name), f.begun}, lane{kj::refcounted<gateway::send_turns::lane>(session)} {}
    ~client() { lane->close(ec::session_closed); }
    void send(std::uint64_t counter, std::uint32_t units = 1, std::size_t bytes = 100) {
      core::submit s;
      s.what.id.counter = counter;
      calls.push_back(
          f.turns->ask(*lane, core::call{std::move(s)}, {units, bytes})
              .then([this](core::answer a) { ++(core::error_of(a) == ec::none ? answered : refused); })
              .eagerlyEvaluate(nullptr));
    }
    void answer_next() {
      session.answer_next();
      f.scope.poll();
    }
    fixture& f;
    slow_session session;
    kj::Own<gateway::send_turns::lane> lane;
    std::vector<kj::Promise<void>> calls;
    int answered = 0, refused = 0;
  };
  void pass(kj::Duration d) {
    timer.advanceTo(timer.now() + d);
    scope.poll();
  }
  using strings = std::vector<std::string>;
};

} // namespace

TEST_CASE_FIXTURE(fixture, "who sends without end waits for themselves, and others do not") {
  client greedy{*this, "g"}, other{*this, "o"};
  for (std::uint64_t n = 1; n <= 100; ++n)
    greedy.send(n);
  CHECK(begun == strings{"g1", "g2", "g3", "g4", "g5"}); // the first, and the window
  other.send(1);
  CHECK(begun.back() == "o1");
  CHECK(turns->under_way() == 6);
  other.answer_next();
  CHECK(other.answered == 1);
  other.send(2, 2); // no short one: it waits
  greedy.answer_next();
  CHECK(begun.size() == 6); // what went at once had no turn that others could have
  greedy.answer_next();
  CHECK(begun.back() == "g6");
  greedy.answer_next();
  CHECK(begun.back() == "o2");
}

TEST_CASE_FIXTURE(fixture, "those who wait take turns, and the messages of each keep their order") {
  client a{*this, "a"}, b{*this, "b"}, c{*this, "c"};
  for (std::uint64_t n = 1; n <= 8; ++n)
    a.send(n);
  for (std::uint64_t n = 1; n <= 3; ++n)
    b.send(n);
  c.send(1);
  c.send(2);
  CHECK(begun == strings{"a1", "a2", "a3", "a4", "a5", "b1", "c1"});
  begun.clear();
  for (int n = 0; n < 7; ++n)
    a.answer_next();
  CHECK(begun == strings{"a6", "b2", "c2", "a7", "b3", "a8"});
  CHECK(a.answered == 7);
}

TEST_CASE_FIXTURE(fixture, "a large message takes as many turns as the short ones that it costs as much as") {
  client a{*this, "a"}, b{*this, "b"};
  a.send(1, 16); // more than there ever is: it goes all the same
  a.send(2, 16);
  b.send(1);
  b.send(2);
  CHECK(begun == strings{"a1"}); // and takes the room twice over, also that of those who seldom send
  a.answer_next();
  CHECK(begun == strings{"a1", "a2"});
  a.answer_next();
  CHECK(begun == strings{"a1", "a2", "b1", "b2"});
}

TEST_CASE_FIXTURE(fixture,
                  "of those who wait, each gets as much as the others, whatever the size of their messages") {
  client large{*this, "l"}, small{*this, "s"};
  for (std::uint64_t n = 1; n <= 20; ++n)
    large.send(n, 4);
  for (std::uint64_t n = 1; n <= 20; ++n)
    small.send(n);
  begun.clear();
  while (small.answered < 16) {
    while (!small.session.open.empty())
      small.answer_next();
    large.answer_next();
  }
  const auto larges = std::ranges::count_if(begun, [](const std::string& name) { return name[0] == 'l'; });
  CHECK(larges >= 3);
  CHECK(larges <= 6);
}

TEST_CASE_FIXTURE(fixture, "who pays one large message at a time gets no more than who sends many at once") {
  client large{*this, "l"}, many{*this, "m"};
  std::uint64_t sent = 0;
  for (std::uint64_t n = 1; n <= 60; ++n)
    many.send(n);
  large.send(++sent, 4);
  begun.clear();
  while (many.answered < 40) {
    if (!large.session.open.empty()) {
      large.answer_next();
      large.send(++sent, 4);
    }
    many.answer_next();
  }
  CHECK(sent >= 8);
  CHECK(sent <= 14);
}

TEST_CASE_FIXTURE(fixture, "those who seldom send, however many, do not keep the others from their turns") {
  std::deque<client> seldom;
  for (int n = 0; n < 12; ++n)
    seldom.emplace_back(*this, "s");
  client busy{*this, "b"};
  busy.send(1, 2);
  for (std::uint64_t n = 1; n <= 5; ++n, pass(1 * kj::SECONDS))
    for (auto& s : seldom) {
      if (!s.session.open.empty())
        s.answer_next();
      s.send(n);
    }
  busy.send(2, 2);
  busy.answer_next();
  CHECK(busy.session.open.size() == 1);
}

TEST_CASE_FIXTURE(fixture, "a message that has waited for long is refused, and those behind it are not yet") {
  client a{*this, "a"};
  for (std::uint64_t n = 1; n <= 5; ++n)
    a.send(n, 1, 30'000); // no more than 100'000 bytes are under way
  CHECK(begun.size() == 3);
  pass(3 * kj::SECONDS);
  a.send(6);
  pass(3 * kj::SECONDS);
  CHECK(turns->give_up(*a.lane, 5s) == 2);
  scope.poll();
  CHECK(a.refused == 2);
  a.answer_next();
  CHECK(begun == strings{"a1", "a2", "a3", "a6"});
}

TEST_CASE_FIXTURE(fixture, "messages that are not answered keep others waiting for a moment only") {
  client a{*this, "a"}, b{*this, "b"};
  for (std::uint64_t n = 1; n <= 10; ++n)
    a.send(n);
  b.send(1);
  b.send(2);
  pass(199 * kj::MILLISECONDS);
  CHECK(begun == strings{"a1", "a2", "a3", "a4", "a5", "b1"});
  begun.clear();
  pass(1 * kj::MILLISECONDS);
  CHECK(begun == strings{"a6", "b2", "a7", "a8"});
  CHECK(turns->under_way() == 4);
  for (int n = 0; n < 7; ++n)
    a.answer_next(); // late, and each once: the turns of five of them are over
  CHECK(begun.back() == "a10");
  CHECK(turns->under_way() == 4);
  pass(500 * kj::MILLISECONDS);
  for (int n = 0; n < 3; ++n)
    a.answer_next();
  b.answer_next();
  b.answer_next();
  CHECK(turns->under_way() == 0);
}

TEST_CASE_FIXTURE(
    fixture,
    "what is under way has a bound in bytes, whatever became of its turns; the rest of it is for others") {
  client a{*this, "a"}, b{*this, "b"};
  for (std::uint64_t n = 1; n <= 8; ++n)
    a.send(n, 1, 30'000);
  CHECK(begun == strings{"a1", "a2", "a3"});
  pass(1 * kj::SECONDS);
  CHECK(begun.size() == 3);
  b.send(1, 1, 1'000);
  CHECK(begun.back() == "b1");
  a.answer_next();
  CHECK(begun.back() == "a4");
}

TEST_CASE_FIXTURE(fixture, "what waits of a session that ends is refused, and its turns are others'") {
  client b{*this, "b"};
  {
    client a{*this, "a"};
    for (std::uint64_t n = 1; n <= 8; ++n)
      a.send(n);
    for (std::uint64_t n = 1; n <= 6; ++n)
      b.send(n);
    a.lane->close(ec::fenced);
    scope.poll();
    CHECK(a.refused == 3);
  }
  CHECK(begun == strings{"a1", "a2", "a3", "a4", "a5", "b1", "b2", "b3", "b4", "b5"});
  b.answer_next();
  b.answer_next();
  CHECK(begun.back() == "b6");
}

TEST_CASE_FIXTURE(fixture, "a call that was cancelled takes no turn") {
  client a{*this, "a"}, b{*this, "b"};
  for (std::uint64_t n = 1; n <= 5; ++n)
    a.send(n);
  b.send(1);
  b.send(2);
  b.send(3);
  b.calls.erase(b.calls.begin() + 1);
  a.answer_next();
  a.answer_next();
  CHECK(begun == strings{"a1", "a2", "a3", "a4", "a5", "b1", "b3"});
}

// The seam, with real threads: what one side says, the other hears.
#include "actors/kj_mailbox.hpp"
#include "tests/support/fake_router.hpp"
#include "tests/support/patience.hpp"

#include <doctest/doctest.h>

#include <caf/actor_system_config.hpp>
#include <kj/async-io.h>

#include <functional>

using namespace parley;
using namespace std::chrono_literals;

namespace {

/// Of a connection: it counts how often it was told to rest.
struct recording_sink final : gateway::connection_sink {
  void rows_ready() override {}
  void rest(std::chrono::milliseconds time) override {
    ++rests;
    last = time;
  }
  void close(ec, std::uint32_t) override {}
  std::size_t rests = 0;
  std::chrono::milliseconds last{};
};

/// A router that answers every call with a message of its own, from an actor of its own: the worst case for
/// wake-ups.
struct fixture {
  caf::actor_system_config cfg;
  caf::actor_system sys{cfg};
  std::atomic<std::size_t> batches{0};
  std::atomic<bool> silent{false};
  std::atomic<bool> announced{false}; ///< sessions that attach are taken
  router_actor router;
  kj::AsyncIoContext io = kj::setupAsyncIo();
  recording_sink sink;
  session_config sessions;

  fixture() {
    router = sys.spawn([this](router_actor::pointer self) -> router_actor::behavior_type {
      return test::router_behavior(
          [this, self](call_batch& b) {
            ++batches;
            if (silent)
              return;
            for (auto& c : b.calls)
              self->home_system().spawn(
                  [to = c.reply_to, n = c.number, kind = kind_of(c.what), taken = announced.load()] {
                    answer_batch one;
                    if (taken && kind == kind_of(core::call{core::attach{}}))
                      one.answers.push_back({n, core::answer_to<core::attach>{}});
                    else
                      one.answers.push_back({n, core::refusal(kind, ec::unavailable)});
                    caf::anon_send(to, std::move(one));
                  });
          },
          [](delivery_batch&) {});
    });
  }
  ~fixture() { caf::anon_send_exit(router, caf::exit_reason::user_shutdown); }

  kj::Own<gateway::backend> backend() {
    kj_backend_config config;
    config.node = node_id{1};
    config.session = sessions;
    config.session.answer_within = test::patient(20s);
    return make_kj_backend(sys, router, config, std::make_shared<std::atomic<std::uint64_t>>(0),
                           io.unixEventPort);
  }
  kj::Promise<void> ask(gateway::backend& to, std::size_t& answered) {
    return to.ask(core::call{core::find_phone{"+491234567", user_id{1}}}).then([&answered](core::answer a) {
      CHECK(core::error_of(a) == ec::unavailable);
      ++answered;
    });
  }
  std::vector<kj::Own<gateway::session>> open(gateway::backend& at, std::vector<std::uint64_t> users) {
    announced = true;
    std::vector<kj::Own<gateway::session>> all;
    for (const auto user : users)
      wait(at.open_session({user_id{user}, device_id{2}, session_number{3}}, sink).then([&](auto opened) {
        REQUIRE(opened.error == ec::none);
        all.push_back(kj::mv(opened.it));
      }));
    return all;
  }
  void wait(kj::Promise<void> all) {
    auto deadline = io.provider->getTimer().afterDelay(test::patient(10'000) * kj::MILLISECONDS).then([] {
      FAIL("an answer got lost between the threads");
    });
    all.exclusiveJoin(kj::mv(deadline)).wait(io.waitScope);
  }
};

} // namespace

TEST_CASE_FIXTURE(fixture, "a loop may end while calls wait: they get no answer, and nothing crashes") {
  silent = true;
  std::size_t answered = 0;
  {
    auto it = backend();
    auto call = ask(*it, answered).eagerlyEvaluate([](kj::Exception&&) {});
    io.provider->getTimer().afterDelay(5 * kj::MILLISECONDS).wait(io.waitScope);
    call = nullptr;
  }
  CHECK(answered == 0);
}

TEST_CASE_FIXTURE(
    fixture, "a loop may end while a login is under way, and whoever holds the login lets go of it later") {
  silent = true;
  kj::Promise<void> login = nullptr;
  {
    auto it = backend();
    login = it->open_session({user_id{1}, device_id{2}, session_number{3}}, sink)
                .ignoreResult()
                .eagerlyEvaluate([](kj::Exception&&) {});
    io.provider->getTimer().afterDelay(5 * kj::MILLISECONDS).wait(io.waitScope);
  }
  login = nullptr; // the session in it must not speak to the backend that has ended
}

TEST_CASE_FIXTURE(fixture, "nobody logs in as the user 0, to whom a gateway's own session belongs") {
  recording_sink sink;
  auto it = backend();
  for (const auto& key : {std::optional<std::array<std::uint8_t, 32>>{}, {std::array<std::uint8_t, 32>{}}})
    wait(it->open_session({user_id{}, device_id{2}, session_number{3}, key}, sink).then([](auto opened) {
      CHECK(opened.error == ec::no_such_user);
      CHECK(opened.it.get() == nullptr);
    }));
}

TEST_CASE_FIXTURE(fixture, "to receive counts as a call of the user, at whichever connection") {
  auto it = backend();
  auto sessions_of = open(*it, {1, 1, 2});
  const auto burst = session_config{}.calls_burst_max;
  std::int64_t begun = 0;
  for (std::int64_t i = 0; i < 3 * burst; ++i)
    begun += sessions_of[static_cast<std::size_t>(i % 2)]->start_receiving({});
  CHECK(begun >= burst);
  CHECK(begun < 3 * burst);
  CHECK(sink.rests > 0);
  CHECK(sessions_of[2]->start_receiving({}));
}

TEST_CASE_FIXTURE(
    fixture,
    "who sends too much is refused at once, and their connection rests; others and other calls go on") {
  refused_calls counted;
  sessions.refused = &counted;
  sessions.sends_burst_max = 20;
  sessions.sends_refill_every = 1h;
  auto it = backend();
  auto sessions_of = open(*it, {1, 1, 2});
  const auto refused = [&](std::size_t by, core::call what) {
    const auto before = sink.rests;
    auto asked = sessions_of[by]->ask(std::move(what));
    return sink.rests > before;
  };
  const auto message = [](std::size_t bytes) {
    core::submit s;
    s.what.body = std::string(bytes, 'x');
    return core::call{std::move(s)};
  };
  CHECK_FALSE(refused(0, message(16'384))); // as much as 16 short ones
  for (int n = 0; n < 4; ++n)
    CHECK_FALSE(refused(n % 2, message(100)));
  CHECK(refused(0, message(1)));
  CHECK(refused(1, message(1))); // the rate is the user's, not the connection's
  CHECK_FALSE(refused(2, message(1)));
  CHECK_FALSE(refused(0, core::call{core::acknowledge{user_id{1}, device_id{2}, inbox_pos{1}}}));
  auto last = sessions_of[0]->ask(message(1));
  wait(last.then([](core::answer a) { CHECK(core::error_of(a) == ec::rate_limited); }));
  CHECK(counted.rate_of_user == 3);
}

TEST_CASE_FIXTURE(
    fixture,
    "whoever has sent a large message is told how long it costs them, and rests for a second at most") {
  sessions.sends_burst_max = 1;
  sessions.sends_refill_every = 1min;
  auto it = backend();
  auto sessions_of = open(*it, {1});
  core::submit large, small;
  large.what.body = std::string(65'536, 'x'); // as much as 64 short ones, of which 63 are owed
  small.what.body = "x";
  auto sent = sessions_of[0]->ask(core::call{large});
  CHECK(sink.rests == 0);
  auto refused = sessions_of[0]->ask(core::call{small});
  CHECK(sink.rests == 1);
  CHECK(sink.last == gateway::rest_max);
  wait(refused.then([](core::answer a) {
    const auto& it = std::get<core::answer_to<core::submit>>(a).what;
    CHECK(it.error == ec::rate_limited);
    CHECK(std::chrono::milliseconds{it.retry_after_ms} > 60min);
    CHECK(std::chrono::milliseconds{it.retry_after_ms} <= 64min);
  }));
}

TEST_CASE_FIXTURE(fixture, "all calls of a user have a rate, whatever they ask") {
  sessions.calls_burst_max = sessions.sends_burst_max = 5;
  sessions.calls_refill_every = sessions.sends_refill_every = 1h;
  auto it = backend();
  auto sessions_of = open(*it, {1});
  for (std::uint64_t n = 1; n <= 8; ++n) {
    auto asked = sessions_of[0]->ask(core::call{core::mark_read{{n, n}, user_id{1}, seq_no{1}}});
    CHECK(sink.rests == (n > 5 ? n - 5 : 0));
  }
}

TEST_CASE_FIXTURE(fixture, "no wake-up is lost, however answers and the loop's sleep interleave") {
  auto it = backend();
  std::size_t answered = 0;
  for (int round = 0; round < 200; ++round) {
    auto calls = kj::heapArrayBuilder<kj::Promise<void>>(10);
    for (int i = 0; i < 10; ++i)
      calls.add(ask(*it, answered));
    wait(kj::joinPromises(calls.finish()));
  }
  CHECK(answered == 2'000);
}

TEST_CASE_FIXTURE(fixture, "calls leave although somebody keeps the loop busy") {
  auto it = backend();
  constexpr unsigned events_between_polls = 32; // as the loops of a node
  io.waitScope.setBusyPollInterval(events_between_polls);
  std::size_t answered = 0;
  auto call = ask(*it, answered).eagerlyEvaluate(nullptr);
  const auto end = std::chrono::steady_clock::now() + test::patient(10s);
  std::function<kj::Promise<void>()> work = [&]() -> kj::Promise<void> {
    if (answered == 1 || std::chrono::steady_clock::now() > end)
      return kj::READY_NOW;
    return kj::evalLater([&work] { return work(); });
  };
  work().wait(io.waitScope);
  CHECK(answered == 1);
}

TEST_CASE_FIXTURE(fixture, "the calls of one turn of the loop leave as one message") {
  auto it = backend();
  std::size_t answered = 0;
  auto calls = kj::heapArrayBuilder<kj::Promise<void>>(500);
  for (int i = 0; i < 500; ++i)
    calls.add(ask(*it, answered));
  wait(kj::joinPromises(calls.finish()));
  CHECK(answered == 500);
  CHECK(batches == 1);
}

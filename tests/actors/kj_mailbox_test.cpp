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
  struct : gateway::connection_sink {
    void rows_ready() override {}
    void close(ec, std::uint32_t) override {}
  } sink;
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

TEST_CASE_FIXTURE(fixture, "to receive counts as a call of the user, at whichever connection") {
  struct : gateway::connection_sink {
    void rows_ready() override {}
    void close(ec, std::uint32_t) override {}
  } sink;
  announced = true;
  auto it = backend();
  std::vector<kj::Own<gateway::session>> sessions;
  for (const std::uint64_t user : {1, 1, 2})
    wait(it->open_session({user_id{user}, device_id{2}, session_number{3}}, sink).then([&](auto opened) {
      REQUIRE(opened.error == ec::none);
      sessions.push_back(kj::mv(opened.it));
    }));
  const auto burst = session_config{}.calls_burst_max;
  std::int64_t begun = 0;
  for (std::int64_t i = 0; i < 3 * burst; ++i)
    begun += sessions[static_cast<std::size_t>(i % 2)]->start_receiving({});
  CHECK(begun >= burst);
  CHECK(begun < 3 * burst);
  CHECK(sessions[2]->start_receiving({}));
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
  constexpr unsigned events_between_polls = 128; // as the loops of a node
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

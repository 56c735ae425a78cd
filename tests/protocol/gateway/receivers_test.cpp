// A session's receiver, and the one that takes its place.
#include "tests/protocol/gateway/fixture.hpp"

#include <doctest/doctest.h>

using namespace parley;
using namespace parley::test;
using transport::close_reason;

namespace {

void receive(fixture& f, rpc::Session::Client& session, test_receiver::record& into) {
  auto request = session.receiveRequest();
  request.setReceiver(kj::heap<test_receiver>(into));
  REQUIRE(f.get(request.send()).getError().getCode() == 0);
}

void arrive(fixture& f, std::uint64_t first, std::uint64_t last, std::size_t body_bytes) {
  for (auto i = first; i <= last; ++i)
    f.cluster.queue.push_back(row(i, body_bytes));
  f.cluster.sinks.front()->rows_ready();
}

} // namespace

TEST_CASE_FIXTURE(fixture,
                  "a receiver that hangs with a full window is replaced, and the new one gets the rows") {
  start();
  test_client c{*this};
  auto session = c.login();
  test_receiver::record stuck, fresh;
  stuck.hangs = true;
  receive(*this, session, stuck);
  arrive(*this, 1, 100, 4096);
  REQUIRE(until([&] { return cluster.queue.size() < 90; })); // a window's worth was taken
  const auto left = cluster.queue.front().pos;
  receive(*this, session, fresh);
  REQUIRE(until([&] { return cluster.queue.empty() && !fresh.seqs.empty() && fresh.seqs.back() == 100; }));
  CHECK(fresh.seqs.front() == number(left));
  CHECK(fresh.closed == ec::none);
  arrive(*this, 101, 101, 10);
  CHECK(until([&] { return fresh.seqs.back() == 101; }));
  CHECK(server->connections() == 1);
  CHECK(cluster.receiving_from.size() == 2);
}

TEST_CASE_FIXTURE(
    fixture, "a receiver that was replaced may throw: only the newest one's failure ends the connection") {
  start();
  test_client c{*this};
  auto session = c.login();
  struct thrower final : rpc::Receiver::Server {
    explicit thrower(kj::Promise<void> until) : when{kj::mv(until)} {}
    kj::Promise<void> deliver(DeliverContext) override {
      return kj::mv(when).then([]() -> kj::Promise<void> { return KJ_EXCEPTION(FAILED, "full"); });
    }
    kj::Promise<void> when;
  };
  auto now = kj::newPromiseAndFulfiller<void>();
  auto request = session.receiveRequest();
  request.setReceiver(kj::heap<thrower>(kj::mv(now.promise)));
  get(request.send());
  arrive(*this, 1, 1, 10);
  REQUIRE(until([&] { return cluster.queue.empty(); }));
  test_receiver::record fresh;
  receive(*this, session, fresh);
  now.fulfiller->fulfill();
  arrive(*this, 2, 2, 10);
  CHECK(until([&] { return fresh.seqs == std::vector<std::uint64_t>{2}; }));
  CHECK(server->connections() == 1);
}

TEST_CASE_FIXTURE(fixture,
                  "a user who receives anew too often has to wait, and the receiver before goes on") {
  cluster.receives_max = 1;
  start();
  test_client c{*this};
  auto session = c.login();
  test_receiver::record first, second;
  receive(*this, session, first);
  auto again = session.receiveRequest();
  again.setReceiver(kj::heap<test_receiver>(second));
  auto answer = get(again.send());
  CHECK(ec{answer.getError().getCode()} == ec::rate_limited);
  CHECK(answer.getError().getRetryAfterMs() > 0);
  arrive(*this, 1, 1, 10);
  CHECK(until([&] { return first.seqs == std::vector<std::uint64_t>{1}; }));
  CHECK(second.seqs.empty());
  CHECK(shared.metrics.refused_for(gateway::bound::receivers) == 1);
}

TEST_CASE_FIXTURE(fixture, "nobody is read while their connection rests, and they are read afterwards") {
  start();
  test_client c{*this};
  auto session = c.login();
  bool read = false;
  const auto ask = [&] {
    return session.pingRequest().send().ignoreResult().then([&] { read = true; }).eagerlyEvaluate(nullptr);
  };
  cluster.sinks.front()->rest(std::chrono::hours{1});
  auto first = ask();
  for (int turns = 0; turns < 200; ++turns)
    io.waitScope.poll();
  CHECK_FALSE(read);
  test_client other{*this};
  auto its = other.login();
  cluster.sinks.back()->rest(std::chrono::milliseconds{1});
  get(its.pingRequest().send());
  CHECK_FALSE(read);
  CHECK(server->connections() == 2);
}

TEST_CASE_FIXTURE(fixture, "receivers that never return are replaced a few times only") {
  config.deliveries_max = 40;
  start();
  test_client c{*this};
  auto session = c.login();
  std::vector<test_receiver::record> stuck(20);
  for (std::size_t i = 0; i < stuck.size() && closes(close_reason::receiver_stalled) == 0; ++i) {
    stuck[i].hangs = true;
    auto request = session.receiveRequest();
    request.setReceiver(kj::heap<test_receiver>(stuck[i]));
    request.send().ignoreResult().detach([](kj::Exception&&) {});
    if (!cluster.sinks.empty())
      arrive(*this, 1 + i * 100, 100 + i * 100, 4096);
    until([&] {
      return closes(close_reason::receiver_stalled) == 1 || cluster.receiving_from.size() == i + 1;
    });
    for (int turns = 0; turns < 20; ++turns)
      io.waitScope.poll();
  }
  CHECK(closed_for(close_reason::receiver_stalled));
}

TEST_CASE_FIXTURE(fixture, "what is noted of rows that a slow client has not read is bounded") {
  config.stream.window_bytes = 1 << 26;
  config.stream.outbound_bytes_max = 1 << 27;
  config.buffers_bytes_of_all_max = 1 << 28;
  start();
  test_client c{*this};
  auto session = c.login();
  test_receiver::record got;
  receive(*this, session, got);
  c.stream->hold_reads();
  cluster.applied_at = std::chrono::steady_clock::now();
  arrive(*this, 1, 60'000, 200);
  REQUIRE(until([&] { return cluster.queue.empty(); }));
  CHECK(shared.metrics.applied_to_written.count < 30'000); // most of them wait for the client
  c.stream->release_reads();
  REQUIRE(until([&] { return got.seqs.size() == 60'000; }));
  CHECK(shared.metrics.applied_to_written.count > 0);
  CHECK(shared.metrics.applied_to_written.count < 35'000);
}

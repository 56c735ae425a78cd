// What a client with many messages under way is answered when their leader goes: what `parley bench` meets now and then.
#include "tests/e2e/neighbours.hpp"

#include <doctest/doctest.h>

#include <set>

using namespace parley;
using namespace parley::test;

TEST_CASE("when a leader ends, the whole window under way is answered with conditions that pass, and is "
          "stored once") {
  process_cluster_config config;
  config.flags = {"--shards", "1"};
  neighbourhood t{config};
  const auto alice = t.enroll(1), bob = t.enroll(2);
  std::size_t leader = 0;
  REQUIRE(t.until(20s, [&] {
    for (std::size_t n = 1; n <= t.cluster.size(); ++n)
      if (t.cluster.leads(n) > 0)
        leader = n;
    return leader != 0;
  }));
  auto alices = t.login(leader % 3 + 1, alice);
  const auto talk = t.open(*alices, bob.user);
  REQUIRE(t.settle(*alices, talk, 1, "first").error == ec::none);

  t.cluster.pause(leader); // what it is sent now, it will not answer
  constexpr std::uint64_t window = 16;
  std::map<std::uint64_t, placed> answers;
  kj::Vector<kj::Promise<void>> under_way;
  const auto body = [](std::uint64_t n) { return "m" + std::to_string(n); };
  for (std::uint64_t n = 2; n < 2 + window; ++n)
    under_way.add(neighbourhood::send(*alices, talk, n, body(n))
                      .then([&answers, n](placed p) { answers.emplace(n, p); })
                      .eagerlyEvaluate(nullptr));
  REQUIRE(t.until(30s, [&] { return answers.size() == window; }));
  std::map<ec, std::size_t> why;
  for (const auto& [n, p] : answers) {
    CAPTURE(n);
    ++why[p.error];
    CHECK_FALSE(p.lost);
    CHECK((p.error == ec::none || describe(p.error).retryable));
  }
  for (const auto& [e, n] : why)
    MESSAGE(n << " of " << window << ": " << describe(e).name);
  CHECK(why[ec::none] < window);
  t.cluster.resume(leader);

  for (std::uint64_t n = 2; n < 2 + window; ++n)
    CHECK(t.settle(*alices, talk, n, body(n)).error == ec::none);
  const auto stored = t.history(*alices, talk);
  std::multiset<std::uint64_t> counters{stored.counters.begin(), stored.counters.end()};
  CHECK(counters.size() == window + 1);
  for (std::uint64_t n = 1; n < 2 + window; ++n)
    CHECK(counters.count(n) == 1);
}

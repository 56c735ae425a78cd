// A device that asks anew from where to stream, while messages arrive.
#include "tests/e2e/neighbours.hpp"

#include <doctest/doctest.h>

#include <deque>

using namespace parley;
using namespace parley::test;

TEST_CASE("a receiver that is replaced while messages flow leaves neither a gap nor a repeat") {
  process_cluster_config one_node;
  one_node.nodes = 1;
  one_node.flags = {"--limits-user-sends-per-second", "100000", "--limits-user-sends-burst", "100000"};
  neighbourhood t{one_node};
  const auto alice = t.enroll(1), bob = t.enroll(2);
  auto alices = t.login(1, alice), bobs = t.login(1, bob);
  const auto talk = t.open(*alices, bob.user);

  std::uint64_t counter = 0, stored = 0;
  std::function<kj::Promise<void>()> keep_sending = [&]() -> kj::Promise<void> {
    return neighbourhood::send(*alices, talk, ++counter, "m").then([&](placed p) {
      stored += p.error == ec::none;
      return keep_sending();
    });
  };
  kj::Vector<kj::Promise<void>> senders;
  for (int i = 0; i < 8; ++i)
    senders.add(keep_sending().eagerlyEvaluate(nullptr));
  REQUIRE(t.until(20s, [&] { return stored > 200; }));

  struct stream {
    letterbox box;
    std::uint64_t after; ///< the seq that its cursor stands for
  };
  std::deque<stream> streams;
  for (int round = 0; round < 60; ++round) {
    CAPTURE(round);
    std::string cursor;
    std::uint64_t after = 0;
    if (round % 3 != 0 && !streams.back().box.letters.empty()) { // else from the beginning
      cursor = streams.back().box.cursor;
      after = number(streams.back().box.letters.back().seq);
    }
    auto& now = streams.emplace_back(stream{{}, after});
    t.receive(*bobs, now.box, cursor);
    // Now and then it is replaced before anything came.
    REQUIRE(t.until(20s, [&] { return round % 4 == 0 || now.box.letters.size() > 20; }));
  }
  senders.clear();
  std::size_t seen = 0;
  for (const auto& s : streams) {
    auto expected = s.after;
    for (const auto& letter : s.box.letters)
      REQUIRE(number(letter.seq) == ++expected);
    seen += s.box.letters.size();
  }
  MESSAGE(seen << " messages in " << streams.size() << " streams, " << stored << " stored");
}

#include "protocol/client/rules/send_lanes.hpp"

#include <doctest/doctest.h>

#include <memory>
#include <set>
#include <vector>

using namespace parley;
using namespace parley::client;
using namespace std::chrono_literals;

namespace {

constexpr conversation_id talk{1, 2};
constexpr conversation_id other{3, 4};

outgoing out(std::uint64_t counter, conversation_id c = talk) {
  return {counter, c, std::make_shared<const std::string>("x")};
}

std::uint64_t take(send_lanes& lanes, instant at = 0ns) {
  const auto* i = lanes.take(at);
  return i ? i->it.counter : 0;
}

} // namespace

TEST_CASE("with a window of one, the second message is sent only after the first has an outcome") {
  send_lanes lanes{1};
  lanes.add(out(1));
  lanes.add(out(2));
  CHECK(take(lanes) == 1);
  CHECK(take(lanes) == 0);
  lanes.settle(talk, 1);
  CHECK(take(lanes) == 2);
  CHECK(take(lanes) == 0);
}

TEST_CASE("an unknown outcome holds the lane: what follows does not overtake the retry") {
  send_lanes lanes{1};
  lanes.add(out(1));
  lanes.add(out(2));
  CHECK(take(lanes, 0ns) == 1);
  lanes.again(talk, 1, 100ns);
  CHECK(take(lanes, 99ns) == 0);
  CHECK(lanes.next_due() == 100ns);
  const auto* i = lanes.take(100ns);
  REQUIRE(i);
  CHECK(i->it.counter == 1);
  CHECK(i->attempts == 2);
}

TEST_CASE("a lane that waits does not hold up another") {
  send_lanes lanes{1};
  lanes.add(out(1));
  lanes.add(out(2, other));
  CHECK(take(lanes) == 1);
  lanes.again(talk, 1, 1s);
  CHECK(take(lanes) == 2);
}

TEST_CASE("when a connection is lost, everything in flight is queued again at once, in order") {
  send_lanes lanes{3};
  for (std::uint64_t n = 1; n <= 4; ++n)
    lanes.add(out(n));
  CHECK(take(lanes) == 1);
  CHECK(take(lanes) == 2);
  CHECK(take(lanes) == 3);
  CHECK(take(lanes) == 0);
  lanes.again(talk, 2, 10s);
  std::vector<std::uint64_t> unknown;
  lanes.all_again([&](const send_lanes::item& i) { unknown.push_back(i.it.counter); });
  CHECK(unknown == std::vector<std::uint64_t>{1, 3});
  CHECK(lanes.in_flight() == 0);
  CHECK(take(lanes) == 1);
  CHECK(take(lanes) == 2);
  CHECK(take(lanes) == 3);
}

TEST_CASE("an outcome that arrives twice, or for an unknown message, changes nothing") {
  send_lanes lanes{1};
  lanes.add(out(1));
  CHECK(take(lanes) == 1);
  CHECK(lanes.settle(talk, 1).body);
  CHECK(!lanes.settle(talk, 1).body);
  CHECK(!lanes.settle(other, 7).body);
  lanes.again(talk, 1, 5s);
  CHECK(lanes.empty());
  CHECK(lanes.in_flight() == 0);
}

TEST_CASE("a window of three keeps three under way, and one that settles makes room for one") {
  send_lanes lanes{3};
  for (std::uint64_t n = 1; n <= 5; ++n)
    lanes.add(out(n));
  for (std::uint64_t n = 1; n <= 3; ++n)
    CHECK(take(lanes) == n);
  CHECK(take(lanes) == 0);
  lanes.settle(talk, 2);
  CHECK(take(lanes) == 4);
  CHECK(take(lanes) == 0);
  CHECK(lanes.size() == 4);
}

// A device that retries more messages than the cluster remembers ids of it is told for some that whether they
// were stored is not known any more.
TEST_CASE(
    "no more messages of a conversation are without an answer than the window, over losses and restarts") {
  dice chance{11};
  for (const std::size_t window : {1U, 3U, 64U}) {
    auto lanes = std::make_unique<send_lanes>(window);
    std::vector<outgoing> outbox;
    std::set<std::uint64_t> unanswered; // sent, and the device does not know what became of it
    for (std::uint64_t n = 1; n <= 500; ++n) {
      outbox.push_back(out(n));
      lanes->add(out(n));
    }
    while (!outbox.empty()) {
      while (const auto counter = take(*lanes))
        unanswered.insert(counter);
      REQUIRE(unanswered.size() <= window);
      REQUIRE(!unanswered.empty());
      switch (chance.upto(7)) {
      case 0: // the connection is lost with all answers
        lanes->all_again([](const auto&) {});
        continue;
      case 1: // the process dies
        lanes = std::make_unique<send_lanes>(window);
        for (const auto& o : outbox)
          lanes->add(o);
        continue;
      default:
        break;
      }
      const auto answered =
          *std::next(unanswered.begin(), static_cast<std::ptrdiff_t>(chance.upto(unanswered.size() - 1)));
      if (chance.upto(3) == 0) {
        lanes->again(talk, answered, 0ns);
        continue;
      }
      lanes->settle(talk, answered);
      unanswered.erase(answered);
      std::erase_if(outbox, [&](const outgoing& o) { return o.counter == answered; });
    }
  }
}

#include "tests/harness/proxy/flow.hpp"

#include <doctest/doctest.h>

using namespace parley::test;
using namespace std::chrono_literals;

namespace {

using mode = path::mode;
using ending = flow::ending;

struct world {
  explicit world(path as = {}, std::uint64_t seed = 1) : it{as, seed, counts, now} {}

  /// Everything that may be delivered now.
  std::string drain() {
    std::string out;
    for (auto bytes = it.due(now); !bytes.empty(); bytes = it.due(now)) {
      out += bytes;
      it.took(bytes.size());
    }
    return out;
  }
  /// Follows `next` to the end, and returns what was delivered on the way.
  std::string follow() {
    auto out = drain();
    while (const auto at = it.next(now)) {
      REQUIRE(*at > now);
      now = *at;
      out += drain();
    }
    return out;
  }

  flow::time_point now{1h};
  path_counters counts;
  flow it;
};

path only(mode how) {
  path p;
  p.how = how;
  return p;
}

} // namespace

TEST_CASE("a full flow takes nothing more until something was delivered") {
  world w;
  w.it.put(std::string(flow::bytes_max, 'x'), w.now);
  CHECK(w.it.room() == 0);
  REQUIRE(w.it.due(w.now).size() == flow::bytes_max);
  w.it.took(1000);
  CHECK(w.it.room() == 1000);
}

TEST_CASE("many tiny chunks fill a flow too") {
  world w;
  for (std::size_t i = 0; i < flow::chunks_max; ++i) {
    REQUIRE(w.it.room() > 0);
    w.it.put("x", w.now);
  }
  CHECK(w.it.room() == 0);
  CHECK(w.drain().size() == flow::chunks_max);
  CHECK(w.it.room() == flow::bytes_max);
}

TEST_CASE("a free flow delivers at once, in order, and then its end") {
  world w;
  w.it.put("one ", w.now);
  w.it.put("two", w.now);
  w.it.end(ending::orderly, w.now);
  CHECK(w.it.ended(w.now) == ending::none);
  CHECK(w.drain() == "one two");
  CHECK(w.it.ended(w.now) == ending::orderly);
  CHECK(w.counts.bytes == 7);
}

TEST_CASE("what is delayed is not due earlier, and neither is the end") {
  path p;
  p.delay = 50ms;
  world w{p};
  w.it.put("late", w.now);
  w.it.end(ending::reset, w.now);
  CHECK(w.drain().empty());
  REQUIRE(w.it.next(w.now));
  CHECK(*w.it.next(w.now) == w.now + 50ms);
  w.now += 49ms;
  CHECK(w.drain().empty());
  w.now += 1ms;
  CHECK(w.drain() == "late");
  CHECK(w.it.ended(w.now) == ending::reset);
  CHECK(w.counts.delayed == 4);
}

TEST_CASE("an end that is reported twice does not come later") {
  path p;
  p.delay = 50ms;
  world w{p};
  w.it.end(ending::reset, w.now);
  w.now += 40ms;
  w.it.end(ending::reset, w.now);
  w.now += 10ms;
  CHECK(w.it.ended(w.now) == ending::reset);
}

TEST_CASE("jitter spreads the delay and never reorders") {
  path p;
  p.delay = 50ms;
  p.jitter = 30ms;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    world w{p, seed};
    const auto began = w.now;
    std::string sent;
    for (char c = 'a'; c <= 'z'; ++c) {
      w.it.put(std::string(1, c), w.now);
      sent += c;
      w.now += 1ms;
    }
    CHECK(w.follow() == sent);
    CHECK(w.now - began >= 20ms);
    CHECK(w.now - began <= 26ms + 80ms);
  }
}

TEST_CASE("a rate bounds what is delivered by any moment, and uses it") {
  path p;
  p.bytes_per_second = 100'000;
  world w{p};
  const auto began = w.now;
  std::size_t delivered = 0;
  for (int i = 0; i < 1000; ++i) {
    while (w.it.room() >= 5000)
      w.it.put(std::string(5000, 'x'), w.now);
    delivered += w.drain().size();
    const auto seconds = std::chrono::duration<double>(w.now - began).count();
    REQUIRE(static_cast<double>(delivered) <= seconds * 100'000 + 2000);
    const auto next = w.it.next(w.now);
    REQUIRE(next);
    w.now = *next;
  }
  const auto seconds = std::chrono::duration<double>(w.now - began).count();
  CHECK(static_cast<double>(delivered) >= seconds * 100'000 - 10'000);
  CHECK(w.counts.paced == delivered);
}

TEST_CASE("a stalled flow holds everything, and delivers it when it is released") {
  world w;
  w.it.put("before ", w.now);
  w.it.set(only(mode::stall), w.now);
  w.it.put("meanwhile", w.now);
  w.it.end(ending::orderly, w.now);
  w.now += 1h;
  CHECK(w.drain().empty());
  CHECK_FALSE(w.it.next(w.now));
  CHECK(w.it.ended(w.now) == ending::none);
  w.it.set({}, w.now);
  CHECK(w.drain() == "before meanwhile");
  CHECK(w.it.ended(w.now) == ending::orderly);
  CHECK_FALSE(w.it.torn());
  CHECK(w.counts.held == 16);
}

TEST_CASE("a blackhole swallows bytes and ends, and the flow is torn afterwards") {
  for (const bool ends : {false, true}) {
    CAPTURE(ends);
    world w;
    w.it.set(only(mode::blackhole), w.now);
    if (ends)
      w.it.end(ending::orderly, w.now);
    else
      w.it.put("lost", w.now);
    CHECK(w.it.room() > 0);
    CHECK(w.drain().empty());
    CHECK(w.it.ended(w.now) == ending::none);
    CHECK_FALSE(w.it.torn());
    w.it.set({}, w.now);
    CHECK(w.it.torn());
    CHECK(w.counts.swallowed == (ends ? 0 : 4));
  }
}

TEST_CASE("what a blackhole finds waiting is lost too") {
  path p;
  p.delay = 50ms;
  world w{p};
  w.it.put("on its way", w.now);
  w.it.set(only(mode::blackhole), w.now);
  w.it.set({}, w.now);
  w.now += 1h;
  CHECK(w.it.torn());
  CHECK(w.drain().empty());
}

TEST_CASE("a blackhole that had nothing to swallow leaves the flow whole") {
  world w;
  w.it.set(only(mode::blackhole), w.now);
  w.it.set({}, w.now);
  w.it.put("after", w.now);
  CHECK_FALSE(w.it.torn());
  CHECK(w.drain() == "after");
}

TEST_CASE("a flow that is cut after n bytes delivers exactly n") {
  path p;
  p.cut_after = 10;
  world w{p};
  w.it.put("sixteen", w.now);
  CHECK(w.drain() == "sixteen");
  CHECK_FALSE(w.it.spent());
  w.it.put("more than that", w.now);
  CHECK(w.drain() == "mor");
  CHECK(w.it.spent());
}

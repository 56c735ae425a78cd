#include "cluster/replication/send_cursor.hpp"

#include <doctest/doctest.h>

#include <random>

using parley::cluster::send_cursor;

namespace {

constexpr std::size_t in_flight_max = 1000;

/// A cursor whose follower is known to take entries: it has acknowledged everything up to `match`.
send_cursor streaming(std::uint64_t match) {
  send_cursor c;
  c.want(match - 1, 1, 1);
  c.put(match, 100);
  c.acknowledged(match);
  return c;
}

} // namespace

TEST_CASE("nothing may leave before libraft wants something") {
  send_cursor c;
  CHECK_FALSE(c.may_send(in_flight_max));
  CHECK_FALSE(c.take_asked());
}

TEST_CASE("a follower that has acknowledged nothing is sent one frame, however often libraft asks") {
  send_cursor c;
  c.want(10, 90, 1);
  REQUIRE(c.may_send(in_flight_max));
  CHECK(c.sent() == 10);
  CHECK(c.wanted() == 100);
  c.put(12, 100);
  for (int i = 0; i < 10; ++i) {
    c.want(10, 90, 1); // a heartbeat of a probe
    CHECK_FALSE(c.may_send(in_flight_max));
    CHECK(c.take_asked());
    CHECK(c.sent() == 12); // heartbeats continue behind the frame
  }
}

TEST_CASE("the acknowledgement of a prefix moves the probe on, and then frames follow up to the bound") {
  send_cursor c;
  c.want(10, 90, 1);
  c.put(12, 100);
  c.acknowledged(12);
  c.want(12, 88, 1); // libraft, after the result
  std::uint64_t last = 12;
  int frames = 0;
  for (; c.may_send(in_flight_max); ++frames)
    c.put(++last, 400);
  CHECK(frames == 3); // at least a frame, and no more once the bound is reached
  CHECK(c.bytes_in_flight() == 1200);
  c.acknowledged(13);
  CHECK(c.bytes_in_flight() == 800);
  CHECK(c.may_send(in_flight_max));
  CHECK(c.sent() == 15);
}

TEST_CASE("an entry above the bound leaves alone") {
  auto c = streaming(5);
  c.want(5, 2, 1);
  REQUIRE(c.may_send(1));
  c.put(6, 5000);
  CHECK_FALSE(c.may_send(1));
  c.acknowledged(6);
  CHECK(c.may_send(1));
}

TEST_CASE("what libraft takes for sent is remembered until there is credit") {
  auto c = streaming(5);
  c.want(5, 3, 1);
  c.want(8, 2, 1); // libraft believes that 8 was sent
  CHECK(c.sent() == 5);
  CHECK(c.wanted() == 10);
  c.want(10, 0, 1); // a heartbeat behind everything that it believes was sent
  CHECK(c.sent() == 5);
  CHECK(c.wanted() == 10);
}

TEST_CASE("a lost session begins again behind what is acknowledged, with one frame") {
  auto c = streaming(5);
  c.want(5, 10, 1);
  c.put(9, 100);
  c.put(12, 100);
  c.lost();
  CHECK_FALSE(c.may_send(in_flight_max));
  CHECK_FALSE(c.take_asked());
  CHECK(c.bytes_in_flight() == 0);
  c.want(15, 0, 1); // libraft does not know of sessions
  CHECK(c.sent() == 5);
  CHECK(c.wanted() == 15);
  REQUIRE(c.may_send(in_flight_max));
  c.put(9, 100);
  CHECK_FALSE(c.may_send(in_flight_max));
}

TEST_CASE("a follower that refuses what was sent is sent it again") {
  auto c = streaming(5);
  c.want(5, 10, 1);
  c.put(9, 100);
  c.refused(9);
  c.want(5, 10, 1);
  CHECK(c.sent() == 5);
  CHECK(c.may_send(in_flight_max));
}

TEST_CASE("a late refusal changes nothing") {
  auto c = streaming(5);
  c.want(5, 10, 1);
  c.put(9, 100);
  c.refused(4);  // below what is acknowledged since
  c.refused(12); // above what was sent
  CHECK(c.sent() == 9);
  CHECK(c.bytes_in_flight() == 100);
}

TEST_CASE("libraft looks for the common prefix of a new follower, and the cursor follows it") {
  send_cursor c;
  c.want(100, 1, 1);
  c.put(101, 100);
  c.refused(100);
  c.want(40, 61, 1);
  CHECK(c.sent() == 40);
  c.put(50, 100);
  c.want(20, 81, 1); // without a refusal that concerned the cursor
  CHECK(c.sent() == 20);
  CHECK(c.wanted() == 101);
}

TEST_CASE("heartbeats follow libraft while the state is sent, and entries follow the state") {
  auto c = streaming(5);
  c.want(5, 10, 1);
  c.anchor();
  c.want(200, 0, 150);
  CHECK(c.take_asked());
  CHECK(c.sent() == 200);
  CHECK_FALSE(c.may_send(in_flight_max));
  c.want(220, 0, 150);
  CHECK(c.sent() == 220);
  c.acknowledged(210);
  c.want(210, 20, 150);
  CHECK(c.sent() == 210);
  CHECK(c.wanted() == 230);
  CHECK(c.may_send(in_flight_max));
}

TEST_CASE("when the log no longer has what must follow, libraft learns it by a refusal of its own index") {
  auto c = streaming(5);
  c.want(5, 95, 1);
  c.trimmed(5);
  CHECK(c.may_send(in_flight_max));
  c.trimmed(50);
  CHECK_FALSE(c.may_send(in_flight_max));
  c.want(100, 0, 50); // the follower lacks 100
  CHECK(c.sent() == 100);
  CHECK_FALSE(c.may_send(in_flight_max));
}

TEST_CASE("a follower that answers nothing is sent nothing more, however often what it was sent is trimmed") {
  send_cursor c;
  c.want(10, 90, 1);
  c.put(12, 100);
  for (std::uint64_t lowest = 50; lowest < 100; lowest += 10) {
    c.trimmed(lowest);
    c.want(lowest, static_cast<std::uint32_t>(100 - lowest), lowest); // behind a state that it was not sent
    CHECK_FALSE(c.may_send(in_flight_max));
    CHECK(c.take_asked()); // heartbeats go on
    CHECK(c.sent() == lowest);
  }
  SUBCASE("until it has answered") {
    c.answered();
  }
  SUBCASE("until another session begins") {
    c.lost();
    c.want(90, 10, 90);
  }
  CHECK(c.may_send(in_flight_max));
}

TEST_CASE("a follower may have more than it was sent") {
  auto c = streaming(5);
  c.want(5, 5, 1);
  c.put(6, 100);
  c.acknowledged(9); // from before a lost session
  CHECK(c.sent() == 9);
  CHECK(c.bytes_in_flight() == 0);
  CHECK(c.may_send(in_flight_max));
  c.acknowledged(10);
  CHECK_FALSE(c.may_send(in_flight_max));
}

TEST_CASE("libraft may want the log from its beginning, which every follower has as a state") {
  send_cursor c;
  c.want(0, 0, 1);
  CHECK(c.sent() == 1);
  c.trimmed(1);
  CHECK(c.take_asked());
}

TEST_CASE(
    "in any order of events no more is in flight than the bound and one frame, and nothing is passed over") {
  std::mt19937 luck{7}; // NOLINT: the same run each time
  const auto below = [&](std::uint64_t n) { return static_cast<std::uint64_t>(luck() % n); };
  for (int run = 0; run < 200; ++run) {
    send_cursor c;
    std::uint64_t last = 50, match = 0, follower = below(50);
    std::uint64_t next = last + 1; // libraft's
    bool probing = true;
    std::uint64_t lowest = 1;
    std::size_t unanswered = 0; // bytes that it was sent in this session since its last answer
    for (int step = 0; step < 300; ++step) {
      last += below(3);
      switch (below(7)) {
      case 0:
        c.lost();
        unanswered = 0;
        break;
      case 1:
        c.answered();
        c.refused(below(last + 1));
        unanswered = 0;
        break;
      case 5: // the log is trimmed; what libraft names next is still in it
        lowest = std::max(lowest, std::min(last, match + below(20)));
        next = std::max(next, lowest + 1);
        c.trimmed(lowest);
        break;
      case 2: // libraft asks
      case 3:
        c.want(next - 1, static_cast<std::uint32_t>(last + 1 - next), lowest);
        if (!probing)
          next = last + 1;
        break;
      case 4: // the follower stores what was sent and fits
        if (c.sent() > follower && c.bytes_in_flight() != 0)
          follower = c.sent();
        match = std::max(match, std::min(follower, last));
        c.answered();
        unanswered = 0;
        c.acknowledged(match);
        next = std::max(next, match + 1);
        probing = false;
        break;
      default: // libraft gives up
        next = std::max(match, lowest) + 1;
        probing = true;
        break;
      }
      if (c.may_send(in_flight_max)) {
        const auto before = c.sent();
        CHECK(before >= match);
        CHECK(before < c.wanted());
        CHECK(c.wanted() <= last);
        const auto bytes = 1 + below(300);
        c.put(before + 1 + below(c.wanted() - before), bytes);
        unanswered += bytes;
        CHECK(c.bytes_in_flight() <= in_flight_max + 300);
        CHECK(unanswered <= in_flight_max + 300);
      }
    }
  }
}

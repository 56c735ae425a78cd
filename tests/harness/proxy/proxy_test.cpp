#include "tests/harness/proxy/proxy.hpp"

#include "tests/harness/proxy/caller.hpp"
#include "tests/harness/proxy/sockets.hpp"
#include "tests/support/patience.hpp"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <cerrno>
#include <chrono>
#include <string>
#include <thread>

using namespace parley::test;
using namespace std::chrono_literals;

namespace {

using mode = path::mode;

constexpr auto deadline = patient(10'000ms);

bool wait_for(int fd, short what, std::chrono::milliseconds time = deadline) {
  pollfd p{fd, what, 0};
  return poll(&p, 1, static_cast<int>(time.count())) == 1;
}

template <class F>
bool until(F&& done) {
  const auto end = std::chrono::steady_clock::now() + deadline;
  while (!done()) {
    if (std::chrono::steady_clock::now() > end)
      return false;
    std::this_thread::sleep_for(1ms);
  }
  return true;
}

path only(mode how) {
  path p;
  p.how = how;
  return p;
}

/// What a socket had to say until it ended.
struct heard {
  std::string bytes;
  bool reset = false;
};

/// Reads at most `at_most` bytes; fewer only if the connection ends or nothing comes before the deadline.
heard listen_to(int fd, std::size_t at_most = SIZE_MAX) {
  heard out;
  char buffer[4096];
  while (out.bytes.size() < at_most) {
    REQUIRE(wait_for(fd, POLLIN));
    const auto n = recv(fd, buffer, std::min(sizeof buffer, at_most - out.bytes.size()), 0);
    if (n < 0 && errno == EAGAIN)
      continue;
    out.reset = n < 0;
    if (n <= 0)
      break;
    out.bytes.append(buffer, static_cast<std::size_t>(n));
  }
  return out;
}

std::string read_exactly(int fd, std::size_t size) {
  return listen_to(fd, size).bytes;
}

void close_now(owned_fd& fd) {
  const owned_fd gone{std::move(fd)};
}

void say(int fd, std::string_view text) {
  REQUIRE(wait_for(fd, POLLOUT));
  REQUIRE(send_some(fd, text) == static_cast<ssize_t>(text.size()));
}

/// Places 0 and 1, each with a port of its own and a door in front of it.
struct two_places {
  two_places() {
    for (place p = 0; p < 2; ++p) {
      own[p] = listen_on(0);
      doors[p] = network.open(p, port_of(own[p].get()), [p](auto, auto) { return 1 - p; });
    }
  }
  owned_fd call(place from) {
    auto s = connect_from(htonl(INADDR_LOOPBACK), doors[1 - from]);
    REQUIRE(s.get() >= 0);
    REQUIRE(wait_for(s.get(), POLLOUT));
    return s;
  }
  owned_fd answer(place at) {
    REQUIRE(wait_for(own[at].get(), POLLIN));
    return std::move(accept_from(own[at].get()).first);
  }
  proxy network{2};
  owned_fd own[2];
  std::uint16_t doors[2]{};
};

} // namespace

TEST_CASE("a caller of a place that is down is reset") {
  two_places t;
  close_now(t.own[1]);
  const auto caller = t.call(0);
  CHECK(listen_to(caller.get()).reset);
  CHECK(until([&] { return t.network.connections() == 0; }));
}

TEST_CASE("a caller that nobody knows is refused and counted") {
  proxy network{1};
  const auto own = listen_on(0);
  const auto door = network.open(0, port_of(own.get()), [](auto, auto) { return std::nullopt; });
  const auto caller = connect_from(htonl(INADDR_LOOPBACK), door);
  CHECK(listen_to(caller.get()).reset);
  CHECK(network.strangers() == 1);
}

TEST_CASE("both directions pass, and each end is passed on by itself") {
  two_places t;
  const auto caller = t.call(0);
  const auto called = t.answer(1);
  say(caller.get(), "question");
  shut_down(caller.get());
  const auto question = listen_to(called.get());
  CHECK(question.bytes == "question");
  CHECK_FALSE(question.reset);
  say(called.get(), "answer");
  shut_down(called.get());
  const auto answer = listen_to(caller.get());
  CHECK(answer.bytes == "answer");
  CHECK_FALSE(answer.reset);
  CHECK(until([&] { return t.network.connections() == 0; }));
  CHECK(t.network.counters(0, 1).bytes == 8);
  CHECK(t.network.counters(1, 0).bytes == 6);
  CHECK(t.network.counters(0, 1).opened == 1);
  CHECK(t.network.counters(1, 0).opened == 0);
}

TEST_CASE("a reset is passed on as a reset") {
  two_places t;
  auto caller = t.call(0);
  const auto called = t.answer(1);
  reset_on_close(caller.get());
  close_now(caller);
  CHECK(listen_to(called.get()).reset);
}

TEST_CASE("a cut ends and refuses what is opened in its direction, and nothing else") {
  two_places t;
  const auto forth = t.call(0), back = t.call(1);
  const auto forth_called = t.answer(1), back_called = t.answer(0);
  t.network.set({{0, 1, only(mode::cut)}});
  CHECK(listen_to(forth.get()).reset);
  CHECK(listen_to(forth_called.get()).reset);
  const auto again = t.call(0); // the kernel accepts before the proxy refuses
  CHECK(listen_to(again.get()).reset);
  say(back.get(), "still here");
  CHECK(read_exactly(back_called.get(), 10) == "still here");
  CHECK(t.network.counters(0, 1).cut == 1);
  CHECK(t.network.counters(0, 1).refused == 1);
  CHECK(t.network.counters(1, 0).cut == 0);
  t.network.set({{0, 1, {}}});
  const auto healed = t.call(0);
  const auto healed_called = t.answer(1);
  say(healed.get(), "back");
  CHECK(read_exactly(healed_called.get(), 4) == "back");
}

TEST_CASE("a blackhole swallows one direction, whoever opened, and resets what lost bytes when it is over") {
  two_places t;
  const auto caller = t.call(1);
  const auto called = t.answer(0);
  const auto idle = t.call(1);
  const auto idle_called = t.answer(0);
  t.network.set({{0, 1, only(mode::blackhole)}});
  say(called.get(), "lost");
  say(caller.get(), "heard");
  CHECK(read_exactly(called.get(), 5) == "heard");
  CHECK(until([&] { return t.network.counters(0, 1).swallowed == 4; }));
  CHECK_FALSE(wait_for(caller.get(), POLLIN, 0ms)); // neither bytes nor an end
  t.network.set({{0, 1, {}}});
  const auto end = listen_to(caller.get());
  CHECK(end.bytes.empty());
  CHECK(end.reset);
  CHECK(listen_to(called.get()).reset);
  CHECK(t.network.counters(0, 1).torn == 1);
  say(idle_called.get(), "nothing was lost here");
  CHECK(read_exactly(idle.get(), 21) == "nothing was lost here");
}

TEST_CASE("behind a blackhole nobody hears of a new caller, nor of the end of an old one") {
  two_places t;
  auto old = t.call(0);
  const auto old_called = t.answer(1);
  t.network.set({{0, 1, only(mode::blackhole)}});
  const auto caller = t.call(0);
  CHECK(until([&] { return t.network.counters(0, 1).swallowed == 1; }));
  CHECK_FALSE(wait_for(t.own[1].get(), POLLIN, 0ms));
  close_now(old);
  say(old_called.get(), "are you there?");
  CHECK_FALSE(wait_for(old_called.get(), POLLIN, 0ms));
  t.network.set({{0, 1, {}}});
  CHECK(listen_to(caller.get()).reset);
  CHECK(listen_to(old_called.get()).reset);
}

TEST_CASE("what is stalled arrives when it is released") {
  two_places t;
  const auto caller = t.call(0);
  const auto called = t.answer(1);
  t.network.set({{0, 1, only(mode::stall)}});
  say(caller.get(), "patience");
  CHECK(until([&] { return t.network.counters(0, 1).held == 8; }));
  CHECK_FALSE(wait_for(called.get(), POLLIN, 0ms));
  t.network.set({{0, 1, {}}});
  CHECK(read_exactly(called.get(), 8) == "patience");
}

TEST_CASE("a connection that is cut after n bytes delivers exactly n, and the next one as many") {
  two_places t;
  path p;
  p.cut_after = 3;
  t.network.set({{0, 1, p}});
  for (int i = 0; i < 2; ++i) {
    const auto caller = t.call(0);
    const auto called = t.answer(1);
    say(caller.get(), "abcdef");
    const auto end = listen_to(called.get());
    CHECK(end.bytes == "abc");
    CHECK_FALSE(end.reset);
    CHECK(listen_to(caller.get()).reset);
  }
  CHECK(t.network.counters(0, 1).cut == 2);
}

TEST_CASE("what is delayed arrives whole and in order") {
  two_places t;
  path p;
  p.delay = 5ms;
  p.jitter = 5ms;
  t.network.set({{0, 1, p}});
  const auto caller = t.call(0);
  const auto called = t.answer(1);
  std::string sent;
  for (int i = 0; i < 50; ++i) {
    say(caller.get(), std::to_string(i) + " ");
    sent += std::to_string(i) + " ";
  }
  shut_down(caller.get());
  CHECK(listen_to(called.get()).bytes == sent);
  CHECK(t.network.counters(0, 1).delayed == sent.size());
}

TEST_CASE("a receiver that does not read stops its sender, and loses nothing") {
  two_places t;
  const auto caller = t.call(0);
  const auto called = t.answer(1);
  constexpr std::size_t much = 64 << 20, some = 8 << 20;
  const std::string block(64 * 1024, 'x');
  std::size_t sent = 0;
  while (sent < much && wait_for(caller.get(), POLLOUT, 200ms)) {
    if (const auto n = send_some(caller.get(), block); n > 0)
      sent += static_cast<std::size_t>(n);
  }
  CHECK(sent < some);
  shut_down(caller.get());
  CHECK(listen_to(called.get()).bytes.size() == sent);
}

TEST_CASE("the one who is called sees the caller's address") {
  proxy network{2};
  const auto own = listen_on(0);
  const auto door = network.open(1, port_of(own.get()), [](auto, auto) { return place{0}; });
  const auto caller = connect_from(inet_addr("127.0.0.9"), door);
  REQUIRE(wait_for(own.get(), POLLIN));
  CHECK(accept_from(own.get()).second.host == inet_addr("127.0.0.9"));
}

TEST_CASE("the kernel tells which process called") {
  const auto own = listen_on(0);
  const auto caller = connect_from(htonl(INADDR_LOOPBACK), port_of(own.get()));
  REQUIRE(wait_for(own.get(), POLLIN));
  const auto from = accept_from(own.get()).second.port;
  CHECK(holder_of(from, port_of(own.get()), {getppid(), getpid()}) == getpid());
  CHECK_FALSE(holder_of(from, port_of(own.get()), {getppid()}));
  CHECK_FALSE(holder_of(from, 1, {getpid()}));
}

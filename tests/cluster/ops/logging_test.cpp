#include "cluster/ops/logging.hpp"

#include "tests/support/patience.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <thread>

using namespace parley;
using namespace std::chrono_literals;

TEST_CASE("log lines cannot be forged by what strangers send, in either format") {
  const std::string evil = "x\nerror fake\x1b[2J \"quoted\"";
  const auto text =
      log::render(log::format::text, "peer-refused", {{"claims", 4}, {"why", evil}, {"left", true}});
  CHECK(text == "peer-refused claims=4 why=\"x\\nerror fake\\u001b[2J \\\"quoted\\\"\" left=true");
  const auto json = log::render(log::format::json, "peer-refused", {{"claims", 4}, {"why", evil}});
  CHECK(json ==
        "\"event\":\"peer-refused\",\"claims\":4,\"why\":\"x\\nerror fake\\u001b[2J \\\"quoted\\\"\"");
  CHECK(log::render(log::format::text, "e", {{"k", "bare"}, {"empty", ""}}) == "e k=bare empty=\"\"");
}

TEST_CASE("a flood of one event is one line and a count") {
  log::limiter l{1000ms};
  const auto t = std::chrono::steady_clock::time_point{} + 1h;
  CHECK(l.admit(t) == 0);
  for (int i = 0; i < 10; ++i)
    CHECK(l.admit(t + 10ms) == -1);
  CHECK(l.admit(t + 1001ms) == 10);
}

TEST_CASE("a log that nobody reads delays the end of a process, and does not prevent it") {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  REQUIRE(::fcntl(ends[1], F_SETPIPE_SZ, 4096) > 0);
  const auto child = ::fork();
  if (child == 0) {
    ::dup2(ends[1], STDERR_FILENO);
    log::start({});
    for (int i = 0; i < 500; ++i)
      log::info("unread", {{"line", i}, {"padding", std::string(100, 'x')}});
    std::_Exit(log::stop(100ms) ? 0 : 3);
  }
  int status = -1;
  const auto end = std::chrono::steady_clock::now() + test::patient(10s);
  while (::waitpid(child, &status, WNOHANG) == 0 && std::chrono::steady_clock::now() < end)
    std::this_thread::sleep_for(10ms);
  if (status == -1) {
    ::kill(child, SIGKILL);
    ::waitpid(child, &status, 0);
  }
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 3);
  ::close(ends[0]);
  ::close(ends[1]);
}

#include "cluster/ops/logging.hpp"

#include <doctest/doctest.h>

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

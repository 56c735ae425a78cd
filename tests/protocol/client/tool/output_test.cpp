#include "protocol/client/tool/output.hpp"

#include "protocol/client/tool/commands.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <ctime>

using namespace parley;
using tool::clock_text;

namespace {

/// An hour east of Greenwich.
struct eastern_zone {
  eastern_zone() {
    ::setenv("TZ", "CET-1", 1);
    ::tzset();
  }
  ~eastern_zone() {
    ::unsetenv("TZ");
    ::tzset();
  }
};

constexpr unix_ms at(std::int64_t seconds) {
  return unix_ms{seconds * 1000};
}

} // namespace

TEST_CASE("a time of today is hours and minutes, and any other says its date, in the local time zone") {
  const eastern_zone zone;
  constexpr std::int64_t midnight = 1'795'993'200; // 2026-11-30 00:00 there
  CHECK(clock_text(at(midnight + 60), at(midnight + 7'200)) == "00:01");
  CHECK(clock_text(at(midnight + 86'399), at(midnight)) == "23:59");
  CHECK(clock_text(at(midnight - 60), at(midnight)) == "2026-11-29 23:59");
  CHECK(clock_text(at(midnight - 365 * 86'400), at(midnight)) == "2025-11-30 00:00");
}

TEST_CASE("what a person is told to do fits a person who numbers no messages, and is told once") {
  for (const auto& row : error_table()) {
    const auto sentence = tool::sentence_of(failure_of(row.code, std::chrono::milliseconds{300'000}));
    CAPTURE(sentence);
    CHECK(sentence.find("same client message id") == std::string::npos);
    CHECK(sentence.find("as the answer advises") == std::string::npos);
    CHECK(sentence.find("5 minutes.") != std::string::npos);
  }
  CHECK(tool::sentence_of(failure_of(ec::unavailable, std::chrono::milliseconds{900})) ==
        "No majority of the replicas can be reached. Try again, and tell the operator if it goes on. "
        "The node advises to wait 1 second.");
  CHECK(
      tool::sentence_of({ec::unavailable, "127.0.0.1:1: Connection refused", {}}) ==
      "127.0.0.1:1: Connection refused. Check that the cluster is running and that --seeds names its nodes.");
}

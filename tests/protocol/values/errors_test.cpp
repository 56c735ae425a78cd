// That every enumerator has a row is checked where the table is: errors.cpp does not compile otherwise.
#include "protocol/values/errors.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cctype>
#include <set>
#include <string>

using namespace parley;

namespace {

constexpr std::uint16_t number_of(ec code) {
  return static_cast<std::uint16_t>(code);
}

/// The rows of errors that have a name of their own.
auto named_rows() {
  std::size_t n = 0;
  while (n < error_rows && is_known(error_table()[n].code))
    ++n;
  return error_table().first(n);
}

} // namespace

TEST_CASE("an unknown error code is judged by its band, and as a fault where there is no band") {
  const struct {
    std::uint16_t code;
    std::string_view name;
    bool retryable;
  } cases[] = {{900, "unknown-outcome", false},   {999, "unknown-outcome", false},
               {1500, "unknown-condition", true}, {1999, "unknown-condition", true},
               {2500, "unknown-fault", true},     {2999, "unknown-fault", true},
               {3000, "unknown-fault", true},     {65535, "unknown-fault", true}};
  for (const auto& c : cases) {
    CAPTURE(c.code);
    const auto& row = describe(ec{c.code});
    CHECK_FALSE(is_known(ec{c.code}));
    CHECK(row.name == c.name);
    CHECK(row.retryable == c.retryable);
    CHECK(row.stored == was_stored::unknown);
  }
}

TEST_CASE("every error code of 16 bits has a row of the table, and a known one has its own") {
  std::size_t known = 0;
  for (std::uint32_t n = 0; n <= 0xffff; ++n) {
    const ec code{static_cast<std::uint16_t>(n)};
    REQUIRE(error_row(code) < error_rows);
    REQUIRE(&error_table()[error_row(code)] == &describe(code));
    if (is_known(code)) {
      REQUIRE(describe(code).code == code);
      ++known;
    }
  }
  CHECK(known == named_rows().size());
}

TEST_CASE("the numbers of errors differ, ascend, and leave out the last one of their band") {
  std::uint16_t last = 0;
  for (const auto& row : named_rows().subspan(1)) {
    CAPTURE(row.name);
    CHECK(number_of(row.code) > last);
    last = number_of(row.code);
    CHECK(last < 3000);
    CHECK(last % 1000 != 999);
  }
}

TEST_CASE("a call may be tried again after a condition, except where only the newer request can succeed") {
  for (const auto& row : named_rows())
    if (band_of(row.code) == error_band::condition && row.code != ec::stale)
      CHECK_MESSAGE(row.retryable, row.name);
}

TEST_CASE("the names of errors differ and are in kebab-case") {
  std::set<std::string_view> names;
  for (const auto& row : error_table()) {
    CAPTURE(row.name);
    CHECK(names.insert(row.name).second);
    CHECK_FALSE(row.name.empty());
    CHECK(std::ranges::all_of(row.name, [](char c) { return (c >= 'a' && c <= 'z') || c == '-'; }));
  }
}

TEST_CASE("an error's sentence says what happened, then what to do next, and ends with a full stop") {
  for (const auto& row : error_table().subspan(1)) {
    CAPTURE(row.name);
    CHECK(std::isupper(static_cast<unsigned char>(row.sentence.front())));
    CHECK(row.sentence.back() == '.');
    CHECK(row.sentence.find(". ") != std::string_view::npos);
    CHECK(row.sentence.find("  ") == std::string_view::npos);
  }
}

TEST_CASE("an error that a retry gets before anybody looks for the message claims nothing about the attempts "
          "before") {
  CHECK(describe(ec::retry_too_old).stored == was_stored::unknown);
  CHECK_FALSE(describe(ec::retry_too_old).retryable);
  for (const auto code : {ec::rate_limited, ec::session_closed, ec::fenced, ec::draining, ec::overloaded})
    CHECK(describe(code).stored == was_stored::unknown);
  CHECK(describe(ec::timed_out).stored == was_stored::unknown);
}

#include "protocol/values/limits.hpp"

#include "protocol/values/errors.hpp"

#include <doctest/doctest.h>

using namespace parley;

TEST_CASE("in a text around a number the digits are in groups of three") {
  CHECK(text_with<"<", 0, ">">::value == "<0>");
  CHECK(text_with<"", 999, "">::value == "999");
  CHECK(text_with<"at most ", 65'536, " bytes">::value == "at most 65,536 bytes");
  CHECK(text_with<"", 1'234'567, ".">::value == "1,234,567.");
  CHECK(*(text_with<"a", 12, "b">::value.end()) == '\0');
}

TEST_CASE("the sentence of `too_large` names the bound that clients meet") {
  CHECK(describe(ec::too_large).sentence.find("65,536 bytes") != std::string_view::npos);
  CHECK(body_bytes_max == 65'536);
}

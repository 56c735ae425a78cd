#include "protocol/client/tool/metrics_text.hpp"
#include "protocol/client/tool/output.hpp"

#include <doctest/doctest.h>

using parley::tool::is_utf8;
using parley::tool::json_line;
using parley::tool::metrics_text;
using parley::tool::printable;

TEST_CASE("a page of metrics is read past comments, labels with braces and spaces, and nonsense") {
  const metrics_text page{"# HELP a Something.\n# TYPE a counter\na 3\nb{x=\"1\"} 2\nb{x=\"} 9\"} 5\n"
                          "broken\nc{ nan?\nd 1e3 1700000000\n\nlast 7"};
  CHECK(page.sum("a") == 3);
  CHECK(page.sum("b") == 7);
  CHECK(page.sum("b{x=\"1\"}") == 2);
  CHECK(page.sum("d") == 1000);
  CHECK(page.sum("last") == 7);
  CHECK(!page.sum("broken"));
  CHECK(!page.sum("HELP"));
}

TEST_CASE("a quantile is that of the values since the last page, and lies within its bucket") {
  const metrics_text before{"h_bucket{le=\"1\"} 100\nh_bucket{le=\"2\"} 100\nh_bucket{le=\"+Inf\"} 100\n"};
  const metrics_text now{"h_bucket{le=\"1\"} 100\nh_bucket{le=\"2\"} 108\nh_bucket{le=\"+Inf\"} 110\n"};
  CHECK(now.quantile("h", 0.4, before) == 1.5);
  CHECK(now.quantile("h", 0.99, before) == 2); // beyond the last bound: at least that
  CHECK(now.quantile("h", 0.5, {}) < 1);
  CHECK(!now.quantile("h", 0.5, now));
  CHECK(!now.quantile("nothing", 0.5, before));
}

TEST_CASE("bytes that are no text do not reach a terminal, nor do control characters that move its cursor") {
  CHECK(!is_utf8("\xff"));
  CHECK(!is_utf8("\xc0\xaf"));         // overlong
  CHECK(!is_utf8("\xed\xa0\x80"));     // half of a pair
  CHECK(!is_utf8("\xf4\x90\x80\x80")); // beyond Unicode
  CHECK(!is_utf8("\xe2\x82"));         // cut off
  CHECK(is_utf8("grüße ✓ 🎉"));
  CHECK(printable("a\x1b[2Jb") == "a·[2Jb");
  CHECK(printable("a\xc2\x9b"
                  "2J") == "a·2J");
  CHECK(printable("\xff\xfe") == "(2 bytes that are no text)");
}

TEST_CASE("a line of JSON escapes what it must, and wraps bytes that are no text") {
  CHECK(json_line{}.put("a", "x\"\\\n\x01").put("n", 3).put("yes", true).text() ==
        "{\"a\":\"x\\\"\\\\\\n\\u0001\",\"n\":3,\"yes\":true}");
  CHECK(json_line{}.body("body", std::string_view{"\xff\x00", 2}).text() == "{\"body_base64\":\"/wA=\"}");
  CHECK(json_line{}.id("user", ~0ULL).text() == "{\"user\":\"18446744073709551615\"}");
}

// What reaches a terminal, and how wide it is.
#include "protocol/client/tool/output.hpp"

#include <doctest/doctest.h>

using namespace parley::tool;

namespace {

const std::string family = "👨‍👩‍👧‍👦";      // four people and three joiners
const std::string scotland = "🏴󠁧󠁢󠁳󠁣󠁴󠁿"; // a flag and the letters of its region

} // namespace

TEST_CASE("what could hide or reorder text, or move a cursor, is made visible") {
  CHECK(printable("plain äöü 漢字") == "plain äöü 漢字");
  CHECK(printable("a\u202eb\u202c") == "a<U+202E>b<U+202C>");
  for (const std::string hidden : {"\u202a", "\u202b", "\u202d", "\u2066",     "\u2067", "\u2068", "\u2069",
                                   "\u200e", "\u200f", "\u061c", "\u200b",     "\u2060", "\ufeff", "\u00ad",
                                   "\u2028", "\u2029", "\u3164", "\U000e0041", "\ufff9", "\u180e"}) {
    CAPTURE(hidden);
    const auto shown = printable("a" + hidden + "b");
    CHECK(shown.starts_with("a<U+"));
    CHECK(shown.ends_with(">b"));
    CHECK(columns(shown) == shown.size());
  }
  CHECK(printable("\x1b[2J\u009b2J\u0085\x7f\b") == "·[2J·2J···");
  CHECK(printable("one\ntwo\r\nthree\tfour") == "one⏎two⏎three four");
  CHECK(printable("\xff\xfe") == "(2 bytes that are no text)");
}

TEST_CASE("emoji and scripts that need joiners stay whole") {
  for (const auto& text : {family, scotland, std::string{"❤️ 👍🏽 🇩🇪 ☠️"},
                           std::string{"می‌خواهم क्‍ष שלום"}})
    CHECK(printable(text) == text);
  CHECK(printable("\u200dx") == "<U+200D>x"); // joins nothing
  std::string heap = "e";
  for (int n = 0; n < 50; ++n)
    heap += "\u0301";
  CHECK(printable(heap).find("<U+0301>") != std::string::npos); // it would cover the lines above
  CHECK(printable("é") == "é");
}

TEST_CASE("columns are counted by what a person sees") {
  CHECK(columns("") == 0);
  CHECK(columns("abc") == 3);
  CHECK(columns("äöü") == 3);
  CHECK(columns("e\u0301") == 1);
  CHECK(columns("漢字") == 4);
  CHECK(columns("ｱ") == 1);
  CHECK(columns("한국") == 4);
  CHECK(columns("👍") == 2);
  CHECK(columns("👍🏽") == 2);
  CHECK(columns(family) == 2);
  CHECK(columns(scotland) == 2);
  CHECK(columns("🇩🇪🇫🇷") == 4);
  CHECK(columns("❤️") == 2);
  CHECK(columns("\xff") == 1);
}

TEST_CASE("rows are counted as a terminal breaks them") {
  CHECK(rows("", 10) == 1);
  CHECK(rows("0123456789", 10) == 1);
  CHECK(rows("0123456789a", 10) == 2);
  CHECK(rows("漢字漢字", 4) == 2);
  CHECK(rows("漢字漢字", 5) == 2); // two in a row, and a column that stays empty
  CHECK(rows("a漢字漢字", 4) == 3);
  CHECK(rows("漢", 1) == 1);
}

TEST_CASE("a text is cut at whole characters only") {
  CHECK(character_before("a" + family, 1 + family.size()) == 1);
  CHECK(character_before("a" + family, 1) == 0);
  CHECK(character_before("e\u0301", 3) == 0);
  CHECK(character_before("", 0) == 0);
  CHECK(character_behind(family + "a", 0) == family.size());
  CHECK(character_behind(family + "a", 4) == family.size()); // from within it
  CHECK(character_behind("a", 1) == 1);
  CHECK(character_behind("", 0) == 0);
  CHECK(whole_characters(family + "a", 4) == family.size());
  CHECK(whole_characters("ab", 1) == 1);
  CHECK(whole_characters(family, 0) == 0);
  CHECK(end_of("ab" + family, 3) == "b" + family);
  CHECK(end_of("ab" + family, 1) == "");
  CHECK(end_of("漢字", 3) == "字");
  CHECK(beginning_of("漢字", 3) == "漢");
  CHECK(beginning_of(family + "ab", 3) == family + "a");
  CHECK(beginning_of("ab", 9) == "ab");
}

TEST_CASE("a line of JSON holds nothing that a terminal obeys, and loses nothing") {
  const auto json = [](std::string_view text) { return json_line{}.put("k", text).text(); };
  CHECK(json("\x7f\u009b\u202e\n\t\"\\") == R"({"k":"\u007f\u009b\u202e\n\u0009\"\\"})");
  CHECK(json("\U000e0041") == R"({"k":"\udb40\udc41"})");
  CHECK(json("a\xffz") == R"({"k":"a\ufffdz"})");
  CHECK(json("äö漢" + family) == "{\"k\":\"äö漢" + family + "\"}");
  CHECK(json_line{}.body("k", "\xff").text() == R"({"k_base64":"/w=="})");
}

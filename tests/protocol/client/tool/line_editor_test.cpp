#include "protocol/client/tool/line_editor.hpp"
#include "protocol/client/tool/terminal_text.hpp"
#include "protocol/client/tool/typed_words.hpp"

#include <doctest/doctest.h>

#include <random>

using namespace parley;
using namespace parley::tool;

namespace {

const std::string family = "👨‍👩‍👧‍👦";
const std::string left = "\x1b[D", right = "\x1b[C", up = "\x1b[A", down = "\x1b[B", home = "\x1b[H",
                  end = "\x1b[F", delete_key = "\x1b[3~", backspace = "\x7f", word_left = "\x1b[1;5D",
                  word_right = "\x1b[1;5C";

struct typist {
  line_editor in;

  void type(const std::string& keys) {
    for (const char c : keys)
      in.key(c);
  }
  std::string taken() {
    const auto line = in.take();
    return line && *line ? **line : "nothing";
  }
  /// The line with | where the next key writes.
  std::string shown() const {
    const auto line = in.typed();
    return std::string{line.text.substr(0, line.cursor)} + "|" + std::string{line.text.substr(line.cursor)};
  }
  std::string after(const std::string& keys) {
    type(keys);
    return shown();
  }
};

} // namespace

TEST_CASE_FIXTURE(typist, "keys make lines, and what is pasted is a part of one") {
  SUBCASE("typed") {
    type("hello there\r");
    CHECK(taken() == "hello there");
    CHECK(taken() == "nothing");
    type("a" + family + "\x7f\x7f" + family + "\n");
    CHECK(taken() == family);
    type("one two  \x17three\x15"
         "four\r");
    CHECK(taken() == "four");
    type("one two  \x17"
         "2\r");
    CHECK(taken() == "one 2");
    type("x\x1b[1;5R\x1bOPy\x1bqz\x1b[21~\r"); // what has no meaning: F1, Alt-q, F10
    CHECK(taken() == "xyz");
  }
  SUBCASE("pasted") {
    type("> \x1b[200~one\r\ntwo\rthree\nfour\x07\x04\tx" + family + "\x1b[201~!\r");
    CHECK(taken() == "> one\ntwo\nthree\nfour\tx" + family + "!");
    CHECK_FALSE(in.ended());
  }
  SUBCASE("pasted into the midst of a line, with keys in it that move nothing") {
    CHECK(after("ad" + left + "\x1b[200~b" + left + up + home + "c\x1b[201~") == "abc|d");
  }
  SUBCASE("longer than a message") {
    type("\x1b[200~" + std::string(line_bytes_max, 'x') + "\ny\x1b[201~\rshort\r");
    const auto line = in.take();
    REQUIRE(line);
    CHECK_FALSE(*line);
    CHECK(taken() == "short");
    type("\x1b[" + std::string(1'000, '1') + "~\r"); // no sequence is that long
    CHECK(taken() != "nothing");
  }
  SUBCASE("ended by Ctrl-D on an empty line only") {
    type("x\x04");
    CHECK_FALSE(in.ended());
    type("\r\x04");
    CHECK(in.ended());
  }
  SUBCASE("Esc alone takes no Enter and no letter of another alphabet with it") {
    type("a\x1b\rb\x1bä\x1b\x1b[Dc\r");
    CHECK(taken() == "a");
    CHECK(taken() == "bcä");
  }
}

TEST_CASE_FIXTURE(typist, "the cursor moves by what a person takes for a character") {
  CHECK(after("a" + family + "e\u0301漢") == "a" + family + "e\u0301漢|");
  CHECK(after(left) == "a" + family + "e\u0301|漢");
  CHECK(after(left) == "a" + family + "|e\u0301漢");
  CHECK(after(left) == "a|" + family + "e\u0301漢");
  CHECK(after(left + left + left) == "|a" + family + "e\u0301漢");
  CHECK(after(right + right) == "a" + family + "|e\u0301漢");
  CHECK(after("!") == "a" + family + "!|e\u0301漢");
  CHECK(after(delete_key) == "a" + family + "!|漢");
  CHECK(after(backspace + backspace) == "a|漢");
  CHECK(after(right + right + delete_key) == "a漢|");
  CHECK(after(home + backspace) == "|a漢");
}

TEST_CASE_FIXTURE(
    typist, "the begin and the end of the line are keys, in each of the ways that terminals send them") {
  type("one two");
  for (const std::string key : {"\x1b[H", "\x1bOH", "\x1b[1~", "\x1b[7~", "\x01"}) {
    CHECK(after(key) == "|one two");
    type("\x1b[F");
  }
  for (const std::string key : {"\x1b[F", "\x1bOF", "\x1b[4~", "\x1b[8~", "\x05"}) {
    type("\x1b[H");
    CHECK(after(key) == "one two|");
  }
  CHECK(after("\x1bOD\x1bOD\x1bOC") == "one tw|o");
}

TEST_CASE_FIXTURE(typist, "words are moved over and removed with the blanks beside them") {
  type("one  two\tthree "); // a tab is typed as a blank
  CHECK(after(word_left) == "one  two |three ");
  CHECK(after("\x1b"
              "b") == "one  |two three ");
  CHECK(after("\x1b[1;3D") == "|one  two three ");
  CHECK(after(word_left) == "|one  two three ");
  CHECK(after(word_right) == "one|  two three ");
  CHECK(after("\x1b"
              "f") == "one  two| three ");
  CHECK(after("\x17") == "one  | three ");
  CHECK(after("\x1b\x7f") == "| three "); // Alt with Backspace
  CHECK(after(word_right + word_right) == " three |");
}

TEST_CASE_FIXTURE(typist, "what is before the cursor, or behind it, is removed at once") {
  CHECK(after("one two" + word_left + "\x15") == "|two");
  CHECK(after(right + "\x0b") == "t|");
  CHECK(after("\x0b") == "t|");
  CHECK(after("\x15") == "|");
}

TEST_CASE_FIXTURE(typist, "up and down go through what was typed, and back to what is being typed") {
  CHECK(after(up + down) == "|");
  type("one\rtwo\r  \r\rtwo\r"); // blanks are no line, and the same again is not kept twice
  CHECK(after("thr") == "thr|");
  CHECK(after(up) == "two|");
  CHECK(after(up) == "one|");
  CHECK(after(up) == "one|");
  CHECK(after(down + down) == "thr|");
  CHECK(after(down) == "thr|");
  CHECK(after(up + up + " more" + "\r") == "|"); // it becomes a line of its own
  CHECK(after(up) == "one more|");
  CHECK(after(up) == "two|");
  CHECK(after(up) == "one|"); // as it was
  CHECK(after("\x1b[200~a\rb\x1b[201~\r\x1bOA") == "onea\nb|");
}

TEST_CASE_FIXTURE(typist, "of what was typed a bounded part is kept") {
  for (std::size_t n = 0; n < 3 * line_editor::kept_lines_max; ++n)
    type(std::to_string(n) + "\r");
  for (std::size_t n = 0; n < 3 * line_editor::kept_lines_max; ++n)
    type(up);
  CHECK(shown() == std::to_string(2 * line_editor::kept_lines_max) + "|");
  type("\x15");
  for (const char c : {'a', 'b', 'c', 'd', 'e', 'f'})
    type(std::string(line_bytes_max, c) + "\r");
  std::string last;
  for (int n = 0; n < 10; ++n)
    last = after(up);
  CHECK(last.front() == 'c'); // four lines of that length
}

TEST_CASE_FIXTURE(typist, "of a line that is too long nothing is taken but all of it") {
  const std::string longest(line_bytes_max, 'x');
  type("kept\r" + longest + "y");
  for (const auto& key : {backspace, left, delete_key, up, down, std::string{"\x17"}, std::string{"\x0b"}})
    type(key);
  CHECK(in.typed().text == longest);
  CHECK(after("\x15") == "|");
  CHECK(after(longest + backspace + "\r") == "|"); // it was as long as a line may be
  CHECK(taken() == "kept");
  CHECK(taken() == longest.substr(1));
}

TEST_CASE_FIXTURE(typist, "a line may be offered to go on with, but not instead of what is typed") {
  in.offer("//x");
  CHECK(shown() == "//x|");
  in.offer("other");
  CHECK(shown() == "//x|");
  type("\r");
  CHECK(taken() == "//x");
}

TEST_CASE_FIXTURE(
    typist, "whatever is typed, the cursor is within the line, and the row is not wider than it may be") {
  const std::vector<std::string> keys{
      left,     right,  up,     down,        home,        end,  delete_key, backspace, word_left, word_right,
      "\x17",   "\x15", "\x0b", "\r",        "a",         " ",  "ä",        "漢",      family,    "\u0301",
      "\u200d", "\xff", "\x1b", "\x1b[200~", "\x1b[201~", "🇩🇪", "\u202e",   "\t"};
  std::mt19937 dice{1};
  for (int n = 0; n < 20'000; ++n) {
    type(keys[dice() % keys.size()]);
    const auto line = in.typed();
    REQUIRE(line.cursor <= line.text.size());
    if (!is_utf8(line.text))
      continue;
    const std::size_t room = 2 + dice() % 30;
    const auto row = row_of(line, room);
    REQUIRE(columns(row.before) + columns(row.behind) <= room);
    const auto all = printable(line.text);
    REQUIRE(all.find(row.before + row.behind) != std::string::npos);
    if (columns(all) <= room)
      REQUIRE(row.before + row.behind == all);
    while (in.take()) {
    }
  }
}

TEST_CASE_FIXTURE(typist, "a line that is not UTF-8 is refused, and not offered again") {
  type("f\xfcr\r");
  const auto line = in.take();
  REQUIRE(line);
  REQUIRE(!*line);
  CHECK(line->error().code == ec::bad_text);
  type(up);
  CHECK(shown() == "|");
}

TEST_CASE_FIXTURE(typist, "of a line that is wider than the row, what is around the cursor is shown") {
  const auto row = [&](std::size_t room) {
    const auto r = row_of(in.typed(), room);
    return r.before + "|" + r.behind;
  };
  type("0123456789abcdefghij");
  CHECK(row(20) == "0123456789abcdefghij|");
  CHECK(row(10) == "abcdefghij|"); // its end
  type(left);
  CHECK(row(10) == "abcdefghi|j");
  type(word_left);
  CHECK(row(10) == "|0123456789");
  for (int n = 0; n < 10; ++n)
    type(right);
  CHECK(row(10) == "23456789|ab"); // a quarter of the row is behind the cursor
  CHECK(row(2) == "89|");
  type("\x05\x15漢字漢字");
  CHECK(row(5) == "漢字|"); // whole characters
  type(left + left);
  CHECK(row(5) == "漢字|");
  CHECK(row(8) == "漢字|漢字");
}

TEST_CASE("a word behind a slash is a command if it is known, and a question if it is not") {
  using kind = typed_words::kind;
  CHECK(meaning_of("/quit").what == kind::quit);
  CHECK(meaning_of("/quit ").what == kind::quit);
  CHECK(meaning_of("/help").what == kind::help);
  for (const auto* line : {"/", "/quit now", "/etc/hosts", "/Quit", "/ quit", "/quit\nor not"})
    CHECK(meaning_of(line).what == kind::unknown);
  for (const auto* line : {"quit", " /quit", "see /quit", ""}) {
    CHECK(meaning_of(line).what == kind::message);
    CHECK(meaning_of(line).text == line);
  }
  CHECK(meaning_of("//quit").what == kind::message);
  CHECK(meaning_of("//quit").text == "/quit");
  CHECK(meaning_of("///").text == "//");
}

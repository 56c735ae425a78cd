#include "protocol/client/tool/line_input.hpp"

#include <doctest/doctest.h>
#include <kj/async-io.h>
#include <unistd.h>

#include <thread>

using namespace parley;
using namespace parley::tool;

namespace {

/// Puts a pipe in the place of standard input, and writes `text` into it as it is read.
class piped_in {
public:
  explicit piped_in(std::string text) : before_{::dup(STDIN_FILENO)} {
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    ::dup2(ends[0], STDIN_FILENO);
    ::close(ends[0]);
    writer_ = std::thread{[to = ends[1], text = std::move(text)] {
      for (std::size_t at = 0; at < text.size();) {
        const auto n = ::write(to, text.data() + at, text.size() - at);
        if (n <= 0)
          break;
        at += static_cast<std::size_t>(n);
      }
      ::close(to);
    }};
  }
  ~piped_in() {
    ::dup2(before_, STDIN_FILENO);
    ::close(before_);
    writer_.join();
  }

private:
  int before_;
  std::thread writer_;
};

} // namespace

TEST_CASE("a line that is longer than a message is refused, and those before and after it are read") {
  const std::string longest(line_bytes_max, 'y');
  const auto text = "one\n" + std::string(50 * line_bytes_max, 'x') + "\n\n" + longest + "\n" + longest + "z";
  std::vector<input_line> lines;
  auto how = input_mode::lines;
  SUBCASE("by send") {}
  SUBCASE("by the chat") {
    how = input_mode::keys;
  } // but there is no terminal
  piped_in input{text};
  auto io = kj::setupAsyncIo();
  line_input in{io.unixEventPort, how};
  while (auto line = in.next().wait(io.waitScope)) {
    lines.push_back(std::move(*line));
    CHECK(in.typed().size() <= line_bytes_max);
  }
  REQUIRE(lines.size() == 5);
  CHECK(lines[0] == "one");
  REQUIRE(!lines[1]);
  CHECK(lines[1].error().code == ec::too_large);
  CHECK(lines[2] == "");
  CHECK(lines[3] == longest);
  REQUIRE(!lines[4]);
  CHECK(lines[4].error().code == ec::too_large);
}

TEST_CASE("a line that grows holds no more than its bound, and a key takes back a whole character") {
  growing_line line;
  for (const char c : std::string{"aä"})
    line.add(c);
  line.remove_last();
  CHECK(line.text() == "a");
  for (std::size_t n = 0; n < 2 * line_bytes_max; ++n)
    line.add('x');
  CHECK(line.text().size() == line_bytes_max);
  line.remove_last(); // the end of it was not kept, so what is left is not what was typed
  CHECK(!line.end());
  CHECK(line.empty());
  CHECK(line.end() == "");
}

TEST_CASE("keys make lines, and what is pasted is a part of one") {
  key_reader in;
  const auto type = [&](const std::string& keys) {
    for (const char c : keys)
      in.key(c);
  };
  const auto taken = [&] {
    const auto line = in.take();
    return line && *line ? **line : "nothing";
  };
  const std::string family = "👨‍👩‍👧‍👦";
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
    type("x\x1b[A\x1b[1;5C\x1bOPy\x1bqz\x1b[3~\r"); // arrows, F1, Alt-q, Delete
    CHECK(taken() == "xyz");
  }
  SUBCASE("pasted") {
    type("> \x1b[200~one\r\ntwo\rthree\nfour\x07\x04\tx" + family + "\x1b[201~!\r");
    CHECK(taken() == "> one\ntwo\nthree\nfour\tx" + family + "!");
    CHECK_FALSE(in.ended());
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
}

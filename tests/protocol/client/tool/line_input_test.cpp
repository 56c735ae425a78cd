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
    CHECK(in.typed().text.size() <= line_bytes_max);
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

TEST_CASE("a line that is not UTF-8 is refused, and those before and after it are read") {
  piped_in input{"für\nf\xfcr\nfür"};
  auto io = kj::setupAsyncIo();
  line_input in{io.unixEventPort, input_mode::lines};
  CHECK(*in.next().wait(io.waitScope) == "für");
  const auto refused = in.next().wait(io.waitScope);
  REQUIRE(refused);
  REQUIRE(!*refused);
  CHECK(refused->error().code == ec::bad_text);
  CHECK(*in.next().wait(io.waitScope) == "für");
}

TEST_CASE("a line that grows holds no more than its bound") {
  growing_line line;
  for (std::size_t n = 0; n < 2 * line_bytes_max; ++n)
    line.add('x');
  CHECK(line.text().size() == line_bytes_max);
  CHECK(!line.end());
  CHECK(line.empty());
  CHECK(line.end() == "");
}

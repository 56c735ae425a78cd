#include "protocol/client/tool/screen.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

#include <functional>

using namespace parley;
using namespace parley::tool;

namespace {

/// What is written to standard output meanwhile; little enough for a pipe.
std::string written(const std::function<void()>& by) {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const int before = ::dup(STDOUT_FILENO);
  ::dup2(ends[1], STDOUT_FILENO);
  ::close(ends[1]);
  by();
  ::dup2(before, STDOUT_FILENO);
  ::close(before);
  std::string out(65'536, '\0');
  const auto n = ::read(ends[0], out.data(), out.size());
  ::close(ends[0]);
  out.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  return out;
}

} // namespace

TEST_CASE("a sentence that came from a node does not command the terminal") {
  const std::string sentence = "No.\x1b]0;title\x07 \u202eolleh\nsecond line";
  const std::string shown = "No.·]0;title· <U+202E>olleh⏎second line";
  const auto text = written([&] {
    standard_output out;
    screen s{out, false, false, [] { return std::string{}; }};
    s.failed(1, sentence);
    s.note("connected to node 1 at " + sentence);
  });
  CAPTURE(text);
  CHECK(text == "✗ " + shown + "\n— connected to node 1 at " + shown + "\n");
}

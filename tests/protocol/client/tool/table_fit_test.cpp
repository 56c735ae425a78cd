#include "protocol/client/tool/table_fit.hpp"

#include <doctest/doctest.h>

using namespace parley::tool;

namespace {

const std::vector<table_column> table{{9, 3}, {7, 9}, {5, 1}, {8, 1}, {9, 2}}; // 38 in all

} // namespace

TEST_CASE("a table that fits is shown whole, and a narrower one lacks the least useful columns") {
  const auto shown = [](std::size_t room) { return fitting(table, room); };
  CHECK(shown(100) == std::vector<bool>{true, true, true, true, true});
  CHECK(shown(38) == shown(100));
  CHECK(shown(37) == std::vector<bool>{true, true, true, false, true});
  CHECK(shown(30) == shown(37));
  CHECK(shown(29) == std::vector<bool>{true, true, false, false, true});
  CHECK(shown(16) == std::vector<bool>{true, true, false, false, false});
  CHECK(shown(15) == std::vector<bool>{false, true, false, false, false});
}

TEST_CASE("where nothing fits nothing is shown") {
  CHECK(fitting(table, 0) == std::vector<bool>(table.size(), false));
  CHECK(fitting({}, 0).empty());
}

TEST_CASE("words below a table are broken into lines that fit, and none is cut") {
  const std::vector<std::string> words{"also: errs/s", "rows/s", "waiting", "MiB"};
  CHECK(lines_of(words, ", ", 34) == std::vector<std::string>{"also: errs/s, rows/s, waiting, MiB"});
  CHECK(lines_of(words, ", ", 33) == std::vector<std::string>{"also: errs/s, rows/s, waiting", "MiB"});
  CHECK(lines_of(words, " · ", 10) == std::vector<std::string>{"also: errs/s", "rows/s", "waiting", "MiB"});
  CHECK(lines_of({}, ", ", 10).empty());
}

TEST_CASE("a line that fills the terminal keeps its last character, and a longer one moves none below it") {
  const std::vector<std::string> lines{"full line", "", "short"};
  CHECK(drawn_over(lines) == "\x1b[?7l\x1b[H\x1b[Kfull line\n\x1b[K\n\x1b[Kshort\n\x1b[J\x1b[?7h");
}

#include "protocol/client/tool/screen.hpp"
#include "protocol/values/wall_clock.hpp"

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
    screen s{out, false, false, [] { return typed_line{}; }};
    s.failed(1, sentence);
    s.note("connected to node 1 at " + sentence);
  });
  CAPTURE(text);
  CHECK(text == "✗ " + shown + "\n— connected to node 1 at " + shown + "\n");
}

namespace {

constexpr std::int64_t day_ms = 86'400'000;
/// Noon in London, and the same day nearly everywhere.
unix_ms noon(std::int64_t day) {
  return unix_ms{1'577'880'000'000 + day * day_ms}; // of 2020-01-01
}
client::message from_bob(std::uint64_t seq, std::string body, unix_ms at) {
  client::message m;
  m.seq = seq_no{seq};
  m.at = at;
  m.body = std::move(body);
  return m;
}
client::sent stored(std::uint64_t counter, std::uint64_t seq) {
  client::sent s;
  s.counter = counter;
  s.seq = seq_no{seq};
  return s;
}
std::string on_terminal(const std::function<void(screen&)>& by, typed_line typed = {}) {
  return written([&] {
    standard_output out;
    screen s{out, true, false, [typed] { return typed; }};
    by(s);
  });
}
std::size_t count(const std::string& in, const std::string& what) {
  std::size_t n = 0;
  for (auto at = in.find(what); at != std::string::npos; at = in.find(what, at + 1))
    ++n;
  return n;
}

} // namespace

TEST_CASE("without colours another sign tells what was read from what was delivered") {
  const auto text = on_terminal([](screen& s) { // standard output is no terminal, so there are no colours
    s.own(1, seq_no::none, noon(0), "hello", tick::waiting);
    s.sent(stored(1, 1));
    s.raise(seq_no{1}, tick::delivered);
    CHECK(s.lowest() == tick::delivered);
    s.raise(seq_no{1}, tick::read);
  });
  CHECK(count(text, "✓✓") == 1);
  CHECK(text.find("✔✔") > text.find("✓✓"));
  CHECK(text.find("\x1b[34m") == std::string::npos);
}

TEST_CASE("a date stands before the first message of another day, and nowhere else") {
  const auto text = on_terminal([](screen& s) {
    s.theirs(from_bob(1, "one", noon(0)), "bob");
    s.own(0, seq_no{2}, noon(0), "two", tick::sent);
    s.own(0, seq_no{3}, noon(1), "three", tick::sent);
    s.theirs(from_bob(4, "four", noon(1)), "bob");
    s.own(7, seq_no::none, unix_ms{}, "kept, who knows since when", tick::waiting);
    s.theirs(from_bob(5, "five", noon(3)), "bob");
    s.own(8, seq_no::none, noon(2), "by a clock that is behind", tick::waiting);
  });
  CAPTURE(text);
  CHECK(count(text, "— 2020-01-0") == 3);
  const auto first = text.find("— 2020-01-01"), second = text.find("— 2020-01-02"),
             third = text.find("— 2020-01-04");
  CHECK(first < text.find("one"));
  CHECK(text.find("two") < second);
  CHECK(second < text.find("three"));
  CHECK(text.find("kept, who") < third);
  CHECK(third < text.find("five"));
  CHECK(count(text, "2020") == 3); // the lines themselves have the time only
  const auto today =
      on_terminal([](screen& s) { s.theirs(from_bob(1, "one", system_time_of_day.now()), "bob"); });
  CHECK(count(today, "— ") == 0);
  const auto piped = written([] {
    standard_output out;
    screen s{out, false, false, [] { return typed_line{}; }};
    s.theirs(from_bob(1, "one", noon(0)), "bob");
  });
  CHECK(count(piped, "— ") == 0); // each line has its date
  CHECK(piped.starts_with("2020-01-01 "));
}

TEST_CASE("a note says that an own message was stored after what is shown below it") {
  const std::string note = "the others see it there";
  const auto now = system_time_of_day.now();
  SUBCASE("two that wait, and are overtaken") {
    const auto text = on_terminal([&](screen& s) {
      s.own(1, seq_no::none, now, "a", tick::waiting);
      s.own(2, seq_no::none, now, "b", tick::waiting);
      s.theirs(from_bob(5, "c", now), "bob");
      s.sent(stored(1, 6));
      s.sent(stored(2, 7));
    });
    CHECK(count(text, note) == 1); // once for both
  }
  SUBCASE("by one that another of the own devices sent") {
    const auto text = on_terminal([&](screen& s) {
      s.own(1, seq_no::none, now, "a", tick::waiting);
      s.own(0, seq_no{5}, now, "b", tick::sent);
      s.sent(stored(1, 6));
    });
    CHECK(count(text, note) == 1);
  }
  SUBCASE("the answer comes late, but the order is as shown") {
    const auto text = on_terminal([&](screen& s) {
      s.own(1, seq_no::none, now, "a", tick::waiting);
      s.theirs(from_bob(6, "c", now), "bob");
      s.sent(stored(1, 5));
    });
    CHECK(count(text, note) == 0);
  }
  SUBCASE("one after the other") {
    const auto text = on_terminal([&](screen& s) {
      s.own(1, seq_no::none, now, "a", tick::waiting);
      s.sent(stored(1, 5));
      s.theirs(from_bob(6, "c", now), "bob");
    });
    CHECK(count(text, note) == 0);
  }
}

TEST_CASE("the row that is typed is overwritten and not wiped first, and ends at the cursor") {
  CHECK(on_terminal([](screen& s) { s.prompt(); }, {"one two", 7}).ends_with("\r> one two\x1b[K"));
  CHECK(on_terminal([](screen& s) { s.prompt(); }, {"one two", 3}).ends_with("\r> one\0337 two\x1b[K\0338"));
  CHECK(on_terminal([](screen& s) { s.prompt(); }, {"ha\xc3", 3}).empty()); // the other half is on its way
  const auto line = on_terminal([](screen& s) { s.note("x"); }, {"ab", 1});
  CHECK(line.find("— x\r\n\r") != std::string::npos); // both in one go
  CHECK(line.ends_with("> a\0337b\x1b[K\0338"));
}

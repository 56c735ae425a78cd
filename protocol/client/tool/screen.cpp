#include "protocol/client/tool/screen.hpp"
#include "protocol/values/wall_clock.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

namespace parley::tool {
namespace {

winsize window() {
  winsize w{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) != 0 || w.ws_col == 0 || w.ws_row == 0)
    w = {24, 80, 0, 0};
  return w;
}

std::string_view word(tick t) {
  switch (t) {
  case tick::waiting:
    return "waiting";
  case tick::sent:
    return "sent";
  case tick::delivered:
    return "delivered";
  case tick::read:
    return "read";
  }
  return "";
}

} // namespace

screen::screen(standard_output& out, bool in_place, bool json, std::function<typed_line()> typed)
    : out_{out}, in_place_{in_place && !json}, json_{json}, typed_{std::move(typed)},
      colours_{palette::for_stdout()} {}

std::string screen::mark(tick t) const {
  switch (t) {
  case tick::waiting:
    return fmt::format("{}· {}", colours_.dim, colours_.reset);
  case tick::sent:
    return fmt::format("{}✓ {}", colours_.dim, colours_.reset);
  case tick::delivered:
    return fmt::format("{}✓✓{}", colours_.dim, colours_.reset);
  case tick::read: // without colours another sign has to tell it from `delivered`
    return colours_.blue.empty() && in_place_ ? "✔✔" : fmt::format("{}✓✓{}", colours_.blue, colours_.reset);
  }
  return "";
}

void screen::prompt() {
  if (const auto row = prompt_row(); !row.empty())
    out_.put(row);
}

std::string screen::prompt_row() const {
  const auto line = typed_();
  if (!in_place_ || !is_utf8(line.text)) // half of a character: the other half is on its way
    return {};
  // A part of a long line: one row, so that the rows above can be counted.
  const std::size_t room = window().ws_col > 6 ? window().ws_col - 4U : 2U;
  const auto row = row_of(line, room);
  // What is there is overwritten and then wiped up to the end of the row, so that nothing flickers. The terminal itself
  // remembers where the cursor was: it may take a character for wider than we do.
  constexpr std::string_view wipe = "\x1b[K", keep_place = "\0337", to_kept_place = "\0338";
  const auto begin = fmt::format("\r{}>{} {}", colours_.bold, colours_.reset, row.before);
  if (row.behind.empty())
    return fmt::format("{}{}", begin, wipe);
  return fmt::format("{}{}{}{}{}", begin, keep_place, row.behind, wipe, to_kept_place);
}

void screen::line(const std::string& drawn, const std::string& plain) {
  if (!in_place_) {
    out_.put(drawn + "\n");
    return;
  }
  notice_size();
  rows_ += rows(plain, width_);
  out_.put("\r\x1b[K" + drawn + "\r\n" + prompt_row());
}

/// On a terminal, a line with the date stands before the first message of a later day, and before the first one of all if
/// that is not of today.
void screen::begin_day(unix_ms at) {
  const auto day = date_text(at);
  if (!in_place_ || at == unix_ms{} || day <= day_)
    return;
  const bool first = std::exchange(day_, day).empty();
  if (!first || day != date_text(system_time_of_day.now()))
    line(fmt::format("{}— {}{}", colours_.dim, day, colours_.reset), "— " + day);
}

/// A terminal that gets another width breaks its lines anew: nobody knows where the lines before are now.
void screen::notice_size() {
  const std::size_t width = window().ws_col;
  if (width != width_)
    known_from_ = rows_;
  width_ = width;
}

void screen::note(const std::string& text) {
  if (json_) {
    json_line{}.put("event", "note").put("text", text).print(out_);
    return;
  }
  const auto shown = printable(text);
  line(fmt::format("{}— {}{}", colours_.dim, shown, colours_.reset), "— " + shown);
}

void screen::device_added(const client::device_added& d) {
  if (json_)
    device_event(d).print(out_);
  else
    note(device_text(d));
}

/// A message with this number is written below the own ones that have none yet.
void screen::follow_waiting(seq_no seq) {
  for (auto& l : own_)
    if (l.seq == seq_no::none && l.followed_by == seq_no::none)
      l.followed_by = seq;
}

void screen::theirs(const client::message& m, const std::string& who) {
  if (json_) {
    json_line{}
        .put("event", "message")
        .put("conversation", client::text(m.conversation))
        .put("seq", number(m.seq))
        .id("sender", number(m.sender))
        .put("from", who)
        .put("server_time_ms", static_cast<std::int64_t>(m.at))
        .body("body", m.body)
        .print(out_);
    return;
  }
  begin_day(m.at);
  follow_waiting(m.seq);
  // On a terminal a line above has the date.
  const auto head =
      fmt::format("{} {}: ", clock_text(m.at, in_place_ ? m.at : system_time_of_day.now()), who);
  const auto body = printable(m.body);
  line(fmt::format("{}{}{}{}", colours_.green, head, colours_.reset, body), head + body);
}

void screen::own(std::uint64_t counter, seq_no seq, unix_ms at, const std::string& body, tick t) {
  begin_day(at);
  follow_waiting(seq);
  order_told_ = false;
  if (in_place_)
    notice_size();
  own_line l{counter, seq, t, rows_};
  if (seq != seq_no::none && seq <= read_)
    l.state = tick::read;
  else if (seq != seq_no::none && seq <= delivered_)
    l.state = std::max(l.state, tick::delivered);
  if (own_.size() == own_max)
    own_.pop_front();
  own_.push_back(l);
  if (json_) {
    json_line{}
        .put("event", "kept")
        .put("counter", counter)
        .put("seq", number(seq))
        .body("body", body)
        .print(out_);
    return;
  }
  const auto text = printable(body);
  if (in_place_)
    line(fmt::format("{} {}", mark(l.state), text), "✓✓ " + text);
}

void screen::change(own_line& l, tick t) {
  if (t <= l.state)
    return;
  l.state = t;
  if (json_ || !in_place_) {
    if (l.counter == 0)
      return; // from the history: nobody waits for it
    if (json_)
      json_line{}.put("event", word(t)).put("counter", l.counter).put("seq", number(l.seq)).print(out_);
    else if (t == tick::sent) // in the columns in which `send` writes it
      line(fmt::format("{}✓{} {:<10} {}", colours_.dim, colours_.reset, word(t), number(l.seq)), {});
    else
      line(fmt::format("{} {:<9} {}", mark(t), word(t), number(l.seq)), {});
    return;
  }
  redraw(l);
}

/// Up to the line, over its first two columns, and back down.
void screen::redraw(const own_line& l) {
  notice_size();
  const auto up = rows_ - l.row;
  if (l.row < known_from_ || up + 1 >= window().ws_row)
    return; // somewhere else, or scrolled away
  out_.put(fmt::format("\x1b[{0}A\r{1}\x1b[{0}B", up, mark(l.state)));
  prompt();
}

void screen::sent(const client::sent& s) {
  bool late = false;
  for (auto& l : own_)
    if (l.counter == s.counter && l.counter != 0) {
      l.seq = s.seq;
      late |= l.followed_by != seq_no::none && l.followed_by < s.seq;
      change(l, tick::sent);
      if (s.seq <= delivered_)
        change(l, tick::delivered);
      if (s.seq <= read_)
        change(l, tick::read);
    }
  if (late && in_place_ && !std::exchange(order_told_, true))
    note("yours was stored after what came below it, and the others see it there");
}

void screen::failed(std::uint64_t counter, const std::string& why) {
  if (counter != 0) // 0: a line that was not kept; those of the history have none either
    std::erase_if(own_, [&](const own_line& l) { return l.counter == counter; });
  if (json_) {
    json_line{}.put("event", "failed").put("counter", counter).put("text", why).print(out_);
    return;
  }
  const auto shown = printable(why); // the sentence may be a node's
  line(fmt::format("{}✗ {}{}", colours_.red, shown, colours_.reset), "✗ " + shown);
}

void screen::raise(seq_no upto, tick t) {
  auto& known = t == tick::read ? read_ : delivered_;
  known = std::max(known, upto);
  for (auto& l : own_)
    if (l.seq != seq_no::none && l.seq <= upto)
      change(l, t);
}

tick screen::lowest() const {
  auto t = tick::read;
  for (const auto& l : own_)
    if (l.counter != 0)
      t = std::min(t, l.state);
  return t;
}

void screen::end() {
  if (in_place_)
    out_.put("\r\x1b[K");
}

} // namespace parley::tool

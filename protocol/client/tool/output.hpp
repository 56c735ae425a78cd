#pragma once
// Output for a terminal, a pipe, or a program that reads JSON.
#include "protocol/client/tool/terminal_text.hpp"
#include "protocol/client/values.hpp"

#include <concepts>
#include <string>
#include <string_view>

namespace parley::tool {

/// Standard output. The first write that fails, to a full disk or a pipe that nobody reads, is remembered, and
/// nothing is written after it: what is there has no hole.
///
/// Thread: one.
class standard_output {
public:
  standard_output();
  /// Writes at once, all of it; waits while a pipe is full.
  void put(std::string_view text);
  void line(std::string_view text);
  bool failed() const { return error_ != 0; }
  /// What failed, as a sentence for a person.
  std::string why() const;

private:
  int error_ = 0;
};

/// One JSON object on one line. What a terminal could obey (`is_hidden`) is written as an escape, so that the
/// line can be looked at; bytes that are no text, where text belongs, become U+FFFD.
class json_line {
public:
  json_line& put(std::string_view key, std::string_view text);
  json_line& put(std::string_view key, const char* text) { return put(key, std::string_view{text}); }
  json_line& put(std::string_view key, std::integral auto n) {
    if constexpr (std::same_as<decltype(n), bool>)
      return raw(key, n ? "true" : "false");
    else
      return raw(key, std::to_string(n));
  }
  /// A quantity: all its digits, without an exponent if it is whole; null if it is no number of JSON's.
  json_line& put(std::string_view key, std::floating_point auto n) { return raw(key, number_text(n)); }
  /// Ids use all 64 bits. Most readers of JSON keep fewer of a number, so ids are written as text.
  json_line& id(std::string_view key, std::uint64_t n) {
    return put(key, std::string_view{std::to_string(n)});
  }
  json_line& raw(std::string_view key, std::string_view value);
  /// Writes `key` if the bytes are text, else `key`_base64.
  json_line& body(std::string_view key, std::string_view bytes);
  std::string text() const { return out_ + "}"; }
  void print() const; ///< with a newline, flushed
  void print(standard_output& to) const { to.line(text()); }

private:
  static std::string number_text(double n);
  std::string out_ = "{";
};

/// Escape sequences, empty unless standard output is a terminal and NO_COLOR is not set.
struct palette {
  std::string_view dim, bold, green, blue, red, reset;
  static palette for_stdout();
};

/// The date in the local time zone, as 2026-11-30: a later one is greater as a text, too.
std::string date_text(unix_ms at);
/// Hours and minutes in the local time zone; behind the date, unless it is that of `now`.
std::string clock_text(unix_ms at, unix_ms now);

/// News of another device of this user, as a line for a person and as an event.
std::string device_text(const client::device_added& d);
json_line device_event(const client::device_added& d);

} // namespace parley::tool

#pragma once
// The line that a person types at a terminal: keys come in, and a line with a cursor, or lines that are ended, come out.
#include "protocol/client/values.hpp"

#include <cstddef>
#include <deque>
#include <optional>
#include <string>
#include <string_view>

namespace parley::tool {

/// A line, or `too_large` for one above `line_bytes_max`: it was skipped up to its end.
using input_line = client::result<std::string>;

/// The line that is being typed, and where in it the next key writes.
struct typed_line {
  std::string_view text;
  std::size_t cursor = 0; ///< in bytes
};

/// What one row shows of it: whole characters, made printable.
struct typed_row {
  std::string before, behind; ///< the cursor
};
/// All of it if it fits into so many columns. Else the cursor is shown with what is before it, and with a quarter of the
/// row behind it, as far as there is text.
typed_row row_of(const typed_line& line, std::size_t columns_max);

/// What a person's keys mean: a line that is edited, and lines that are ended. Pasted text becomes a part of the line,
/// line breaks and all, so that it is one message. Up and down go through the lines that were ended.
///
/// Pure: it is given the bytes that a terminal sends.
/// Holds:  a line has at most `line_bytes_max` bytes. Of what is longer the rest is not known, so nothing is taken from
///         such a line but all of it. Ended lines are kept in memory only: the newest `kept_lines_max`, of
///         `kept_bytes_max` together.
class line_editor {
public:
  static constexpr std::size_t kept_lines_max = 100;
  static constexpr std::size_t kept_bytes_max = 4 * line_bytes_max;

  void key(char c);
  typed_line typed() const { return {text_, cursor_}; }
  /// The oldest line that is ended.
  std::optional<input_line> take();
  bool ended() const { return ended_; } ///< by Ctrl-D on an empty line
  /// Begins the next line with `text`, for the person to go on with; unless something is typed already.
  void offer(std::string text);

private:
  struct binding;

  void add(char c);
  void after_escape(char c);
  void pasted(char c);
  void control(char c);

  void left();
  void right();
  void home() { cursor_ = 0; }
  void end() { cursor_ = text_.size(); }
  void word_left() { cursor_ = word_before(); }
  void word_right() { cursor_ = word_behind(); }
  void take_back();    ///< the character before the cursor
  void remove();       ///< the one behind it
  void remove_word();  ///< the word before it, and the blanks between
  void remove_begin(); ///< all before it
  void remove_end();   ///< all behind it
  void earlier();      ///< the line that was ended before
  void later();
  void end_line();

  std::size_t word_before() const;
  std::size_t word_behind() const;
  void erase(std::size_t from, std::size_t to);
  void show(std::string text);
  void keep(const std::string& text);

  std::string text_;
  std::size_t cursor_ = 0;
  bool too_long_ = false;
  std::deque<input_line> lines_;
  std::deque<std::string> kept_; ///< lines that were ended, oldest first
  std::size_t kept_bytes_ = 0;
  std::size_t shown_ = 0; ///< in `kept_`, or its size: then it is none of them
  std::string draft_;     ///< what was typed before one of them was shown
  std::string escape_;    ///< an escape sequence so far, without the escape
  bool escaped_ = false;  ///< within one
  bool pasting_ = false;  ///< between the brackets of a paste
  bool after_cr_ = false; ///< so that "\r\n" in a paste is one line break
  bool ended_ = false;
};

} // namespace parley::tool

#pragma once
// Reads the lines that a person types or a pipe delivers, without blocking the loop.
#include "protocol/client/values.hpp"

#include <kj/async-unix.h>

#include <deque>
#include <functional>
#include <iosfwd>
#include <memory>
#include <optional>
#include <string>

namespace parley::tool {

/// A line, or `too_large` for one above `line_bytes_max`: it was skipped up to its end.
using input_line = client::result<std::string>;

/// A line that comes byte by byte. It never holds more than `line_bytes_max`.
class growing_line {
public:
  void add(char c) {
    if (text_.size() < line_bytes_max)
      text_.push_back(c);
    else
      too_long_ = true;
  }
  /// Removes what a person takes for the last character, an emoji of several people for example. The end of a line that is too long is not known.
  void remove_last();
  void clear() { *this = {}; }
  bool empty() const { return text_.empty(); }
  const std::string& text() const { return text_; }
  /// Ends the line and begins the next one.
  input_line end();

private:
  std::string text_;
  bool too_long_ = false;
};

/// The next line of `in`; none at its end.
std::optional<input_line> next_line(std::istream& in);

/// Owns:   the mode of standard input. While this object lives, a terminal delivers keys and not lines, so
///         that messages can be printed above the line that is being typed.
/// Thread: that of the loop.
/// Holds:  reads no more while a line waits to be taken, so a pipe is read as fast as its lines are used.
///         A line has at most `line_bytes_max` bytes in memory.
class line_input {
public:
  explicit line_input(kj::UnixEventPort& port);
  ~line_input() noexcept;
  line_input(const line_input&) = delete;
  line_input& operator=(const line_input&) = delete;

  bool is_terminal() const { return terminal_; }
  /// The next line; none at the end of the input (end of file, Ctrl-D on an empty line, Ctrl-C).
  kj::Promise<std::optional<input_line>> next();
  /// The part of the current line that has been typed so far.
  const std::string& typed() const { return typed_.text(); }
  /// Called after each key that changed `typed`.
  void on_change(std::function<void()> f) { changed_ = std::move(f); }

private:
  void take_some();
  void key(char c);

  bool terminal_;
  bool pollable_;
  bool ended_ = false;
  std::unique_ptr<struct terminal_mode> mode_;
  kj::Own<kj::UnixEventPort::FdObserver> observer_;
  growing_line typed_;
  int escape_ = 0; ///< position in an escape sequence, which is ignored
  std::deque<input_line> lines_;
  std::function<void()> changed_;
};

} // namespace parley::tool

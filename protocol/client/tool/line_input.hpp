#pragma once
// Reads the lines that a person types or a pipe delivers, without blocking the loop.
#include "protocol/client/tool/terminal.hpp"
#include "protocol/client/values.hpp"

#include <kj/async-unix.h>

#include <deque>
#include <functional>
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
  /// Removes what a person takes for the last character, an emoji of several people for example. The end of a
  /// line that is too long is not known.
  void remove_last();
  /// Removes the last word and the blanks behind it.
  void remove_word();
  void clear() { *this = {}; }
  bool empty() const { return text_.empty(); }
  const std::string& text() const { return text_; }
  /// Ends the line and begins the next one.
  input_line end();

private:
  std::string text_;
  bool too_long_ = false;
};

/// What a person's keys mean: a line that grows, and lines that are ended. Pasted text becomes a part of the
/// line, line breaks and all, so that it is one message.
///
/// Pure: it is given the bytes that a terminal sends.
class key_reader {
public:
  void key(char c);
  const std::string& typed() const { return typed_.text(); }
  /// The oldest line that is ended.
  std::optional<input_line> take();
  bool ended() const { return ended_; } ///< by Ctrl-D on an empty line

private:
  void after_escape(char c);
  void pasted(char c);

  growing_line typed_;
  std::deque<input_line> lines_;
  std::string escape_;    ///< an escape sequence so far, without the escape
  bool escaped_ = false;  ///< within one
  bool pasting_ = false;  ///< between the brackets of a paste
  bool after_cr_ = false; ///< so that "\r\n" in a paste is one line break
  bool ended_ = false;
};

/// How standard input is read.
enum class input_mode : std::uint8_t {
  lines, ///< as a pipe delivers them, or the terminal's own line editor
  keys   ///< a terminal's keys, if standard input and output are one
};

/// Owns:   the reading of standard input, and with `keys` the mode of the terminal, so that messages can be
///         printed above the line that is being typed.
/// Thread: that of the loop.
/// Holds:  reads no more while a line waits to be taken, so a pipe is read as fast as its lines are used.
///         A line has at most `line_bytes_max` bytes in memory.
class line_input {
public:
  line_input(kj::UnixEventPort& port, input_mode how);
  ~line_input() noexcept;
  line_input(const line_input&) = delete;
  line_input& operator=(const line_input&) = delete;

  bool reads_keys() const { return terminal_ != nullptr; }
  /// The next line; none at the end of the input (end of file, Ctrl-D on an empty line).
  kj::Promise<std::optional<input_line>> next();
  /// Why standard input could not be read to its end, as a sentence; empty if it was, or is still read.
  std::string failure() const;
  /// The part of the current line that has been typed so far.
  const std::string& typed() const { return reads_keys() ? keys_.typed() : typed_.text(); }
  /// Called when the line that is being typed has to be drawn again: once for all that is there to be read.
  void on_change(std::function<void()> f) { changed_ = std::move(f); }

private:
  void take_some();
  std::optional<input_line> line();
  kj::Promise<void> redraw();

  bool pollable_;
  bool ended_ = false;
  bool undrawn_ = false; ///< keys were typed since the line was drawn
  int error_ = 0;        ///< of reading
  std::unique_ptr<key_terminal> terminal_;
  kj::Own<kj::UnixEventPort::FdObserver> observer_, redraws_;
  growing_line typed_;
  std::deque<input_line> lines_;
  key_reader keys_;
  std::function<void()> changed_;
  kj::Promise<void> drawing_ = nullptr;
};

} // namespace parley::tool

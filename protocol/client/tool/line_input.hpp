#pragma once
// Reads the lines that a person types or a pipe delivers, without blocking the loop.
#include "protocol/client/tool/line_editor.hpp"
#include "protocol/client/tool/terminal.hpp"

#include <kj/async-unix.h>

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace parley::tool {

/// A line that comes byte by byte. It never holds more than `line_bytes_max`.
class growing_line {
public:
  void add(char c) {
    if (text_.size() < line_bytes_max)
      text_.push_back(c);
    else
      too_long_ = true;
  }
  bool empty() const { return text_.empty(); }
  const std::string& text() const { return text_; }
  /// Ends the line and begins the next one.
  input_line end();

private:
  std::string text_;
  bool too_long_ = false;
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
  /// The current line, as far as it is typed.
  typed_line typed() const {
    return reads_keys() ? keys_.typed() : typed_line{typed_.text(), typed_.text().size()};
  }
  /// Begins the next line for the person, who goes on with it, if keys are read and none was typed.
  void offer(std::string text) {
    if (reads_keys())
      keys_.offer(std::move(text));
  }
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
  line_editor keys_;
  std::function<void()> changed_;
  kj::Promise<void> drawing_ = nullptr;
};

} // namespace parley::tool

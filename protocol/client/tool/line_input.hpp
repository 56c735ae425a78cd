#pragma once
// Reads the lines that a person types or a pipe delivers, without blocking the loop.
#include <kj/async-unix.h>

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace parley::tool {

/// Owns:   the mode of standard input. While this object lives, a terminal delivers keys and not lines, so that
///         messages can be printed above the line that is being typed.
/// Thread: that of the loop.
/// Holds:  reads no more while a line waits to be taken, so a pipe is read as fast as its lines are used.
class line_input {
public:
  explicit line_input(kj::UnixEventPort& port);
  ~line_input() noexcept;
  line_input(const line_input&) = delete;
  line_input& operator=(const line_input&) = delete;

  bool is_terminal() const { return terminal_; }
  /// The next line; none at the end of the input (end of file, Ctrl-D on an empty line, Ctrl-C).
  kj::Promise<std::optional<std::string>> next();
  /// The part of the current line that has been typed so far.
  const std::string& typed() const { return typed_; }
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
  std::string typed_;
  int escape_ = 0; ///< position in an escape sequence, which is ignored
  std::deque<std::string> lines_;
  std::function<void()> changed_;
};

} // namespace parley::tool

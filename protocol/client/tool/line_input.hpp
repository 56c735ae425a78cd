#pragma once
// Lines that a person types, or a pipe brings, without blocking the loop.
#include <kj/async-unix.h>

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace parley::tool {

/// Owns:   standard input's mode: while it lives, a terminal hands over keys, not lines, so that what arrives
///         can be printed above what is being typed.
/// Holds:  reads only while no line waits, 512 bytes at a time: more is left in the pipe.
class line_input {
public:
  explicit line_input(kj::UnixEventPort& port);
  ~line_input() noexcept;
  line_input(const line_input&) = delete;
  line_input& operator=(const line_input&) = delete;

  bool is_terminal() const { return terminal_; }
  /// The next line; nothing at the end (end of file, Ctrl-D on an empty line, Ctrl-C).
  kj::Promise<std::optional<std::string>> next();
  /// What has been typed of the line that is not complete yet.
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
  int escape_ = 0; ///< inside an escape sequence, which is passed over
  std::deque<std::string> lines_;
  std::function<void()> changed_;
};

} // namespace parley::tool

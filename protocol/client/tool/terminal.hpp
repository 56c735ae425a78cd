#pragma once
// The terminal of a program that reads keys.
#include <kj/async-unix.h>

namespace parley::tool {

/// Reads keys instead of lines: without echo, with pasted text in brackets (bracketed paste). The keys that
/// end, stop or quit a program keep their meaning.
///
/// Owns:   the mode of the terminal, and the handlers of the signals that end, stop or continue the program.
///         One per process. However the program ends, short of SIGKILL, the terminal is as it was before;
///         while the program is stopped, too.
/// Thread: any. The handlers call nothing but what POSIX allows in one.
class key_terminal {
public:
  /// Standard input and output are one terminal.
  key_terminal();
  ~key_terminal() noexcept;
  key_terminal(const key_terminal&) = delete;
  key_terminal& operator=(const key_terminal&) = delete;

  /// Drops what was typed and not read: the program that gets the terminal next, a shell, would run it.
  void drop_unread();
  /// Becomes readable when the screen has to be drawn again: the program goes on after a stop, or the size of
  /// the terminal has changed. `drain` makes it unreadable.
  int redraw_descriptor() const;
  void drain();
};

/// Whether standard input and output are terminals that can be drawn on.
bool is_interactive();

} // namespace parley::tool

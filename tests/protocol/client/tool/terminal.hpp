#pragma once
// A person at a terminal: a shell with job control on a pseudo terminal.
#include "tests/support/patience.hpp"

#include <doctest/doctest.h>
#include <poll.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <string>

namespace parley::test {

/// Owns: the shell and its terminal.
class terminal {
public:
  terminal() {
    winsize size{24, 80, 0, 0};
    shell_ = ::forkpty(&master_, nullptr, nullptr, &size);
    REQUIRE(shell_ >= 0);
    if (shell_ == 0) {
      ::setenv("TERM", "xterm", 1);
      ::setenv("PS1", "$ ", 1);
      ::setenv("NO_COLOR", "1", 1);
      ::unsetenv("PARLEY_SEEDS");
      ::unsetenv("ENV");
      // Debian's sh has job control and leaves the mode of the terminal as a program has left it. Others put
      // it right when a program dies, and would hide what the tests look for.
      ::execlp("sh", "sh", "-i", nullptr);
      ::_exit(127);
    }
    // What is typed is not echoed, so that only answers are found on the screen.
    type("stty -echo; echo rea''dy\n");
    REQUIRE(shows("ready"));
  }
  ~terminal() {
    ::close(master_);
    ::kill(-shell_, SIGKILL);
    ::kill(shell_, SIGKILL);
    ::waitpid(shell_, nullptr, 0);
  }
  terminal(const terminal&) = delete;
  terminal& operator=(const terminal&) = delete;

  /// What is written meanwhile is read, so that neither side waits for the other.
  void type(std::string_view keys) {
    constexpr std::size_t at_once = 512;
    while (!keys.empty()) {
      pollfd p{master_, POLLIN | POLLOUT, 0};
      REQUIRE(::poll(&p, 1, -1) > 0);
      if (p.revents & POLLIN)
        read_some();
      if (!(p.revents & POLLOUT))
        continue;
      const auto n = ::write(master_, keys.data(), std::min(keys.size(), at_once));
      REQUIRE(n > 0);
      keys.remove_prefix(static_cast<std::size_t>(n));
    }
  }
  /// Whether `text` comes, behind what was looked for before.
  bool shows(const std::string& text) {
    return until([&] {
      const auto found = screen.find(text, seen_);
      if (found == std::string::npos)
        return false;
      seen_ = found + text.size();
      return true;
    });
  }
  /// Whether the terminal sends lines, as a shell's has to, or keys.
  bool sends_lines(bool wanted) {
    return until([&] {
      termios mode{};
      ::tcgetattr(master_, &mode);
      return ((mode.c_lflag & ICANON) != 0) == wanted;
    });
  }
  void resize(unsigned short columns) {
    winsize size{24, columns, 0, 0};
    ::ioctl(master_, TIOCSWINSZ, &size);
  }
  std::string screen; ///< all that was written

private:
  template <class F>
  bool until(F&& done) {
    const auto end = std::chrono::steady_clock::now() + patient(std::chrono::milliseconds{10'000});
    while (!done()) {
      if (std::chrono::steady_clock::now() > end)
        return false;
      pollfd p{master_, POLLIN, 0};
      if (::poll(&p, 1, 20) > 0)
        read_some();
    }
    return true;
  }
  void read_some() {
    char bytes[4096];
    if (const auto n = ::read(master_, bytes, sizeof bytes); n > 0)
      screen.append(bytes, static_cast<std::size_t>(n));
  }
  int master_ = -1;
  pid_t shell_ = -1;
  std::size_t seen_ = 0;
};

} // namespace parley::test

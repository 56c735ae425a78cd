#include "protocol/client/tool/terminal.hpp"

#include <fcntl.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <string_view>

namespace parley::tool {
namespace {

constexpr std::array ending{SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
constexpr std::array others{SIGTSTP, SIGCONT, SIGWINCH};

constexpr std::string_view begin_keys = "\x1b[?2004h";       // text that is pasted comes in brackets
constexpr std::string_view end_keys = "\r\x1b[K\x1b[?2004l"; // and the line that was typed is wiped

// What the handlers see. It is written before they are installed.
termios before, keys;
int wake[2] = {-1, -1};
std::array<struct sigaction, ending.size()> ending_before;
std::array<struct sigaction, others.size()> others_before;

void write_all(std::string_view text) {
  while (!text.empty()) {
    const auto n = ::write(STDOUT_FILENO, text.data(), text.size());
    if (n < 0 && errno != EINTR)
      return;
    if (n > 0)
      text.remove_prefix(static_cast<std::size_t>(n));
  }
}

/// In the background this stops the program until it is brought back, as any program that draws.
void take_keys() {
  ::tcsetattr(STDIN_FILENO, TCSANOW, &keys);
  write_all(begin_keys);
}

void give_back() {
  if (::tcgetpgrp(STDIN_FILENO) != ::getpgrp())
    return; // the mode belongs to the program in the foreground
  write_all(end_keys);
  ::tcsetattr(STDIN_FILENO, TCSANOW, &before);
}

void drop_typed() {
  if (::tcgetpgrp(STDIN_FILENO) == ::getpgrp())
    ::tcflush(STDIN_FILENO, TCIFLUSH);
}

void wake_up() {
  const char byte = 0;
  (void)!::write(wake[1], &byte, 1); // a full pipe wakes as well
}

void on_ending(int signal) {
  const int kept = errno;
  drop_typed();
  give_back();
  struct sigaction usual {};
  usual.sa_handler = SIG_DFL;
  ::sigaction(signal, &usual, nullptr);
  ::raise(signal); // it is blocked while its handler runs, and then ends the program as if it had none
  errno = kept;
}

void on_stop(int) {
  const int kept = errno;
  give_back();
  struct sigaction usual {
  }, mine{};
  usual.sa_handler = SIG_DFL;
  ::sigaction(SIGTSTP, &usual, &mine);
  sigset_t stop;
  ::sigemptyset(&stop);
  ::sigaddset(&stop, SIGTSTP);
  ::raise(SIGTSTP);
  ::sigprocmask(SIG_UNBLOCK, &stop, nullptr); // here the program stops; SIGCONT has a handler of its own
  ::sigaction(SIGTSTP, &mine, nullptr);
  errno = kept;
}

void on_redraw(int signal) {
  const int kept = errno;
  if (signal == SIGCONT)
    take_keys();
  wake_up();
  errno = kept;
}

void install(int signal, void (*handler)(int), struct sigaction& kept) {
  ::sigaction(signal, nullptr, &kept);
  if (kept.sa_handler == SIG_IGN) // as nohup wants it
    return;
  struct sigaction mine {};
  mine.sa_handler = handler;
  mine.sa_flags = SA_RESTART;
  // One at a time: a stop in the midst of an end would leave the mode half changed.
  for (const int other : ending)
    ::sigaddset(&mine.sa_mask, other);
  for (const int other : others)
    if (signal != SIGTSTP || other != SIGCONT)
      ::sigaddset(&mine.sa_mask, other);
  ::sigaction(signal, &mine, nullptr);
}

} // namespace

bool is_interactive() {
  const char* kind = std::getenv("TERM");
  return ::isatty(STDIN_FILENO) != 0 && ::isatty(STDOUT_FILENO) != 0 && kind && *kind &&
         std::string_view{kind} != "dumb";
}

key_terminal::key_terminal() {
  ::tcgetattr(STDIN_FILENO, &before);
  keys = before;
  keys.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO | IEXTEN);
  keys.c_iflag &= ~static_cast<tcflag_t>(ICRNL); // what is pasted has "\r\n" for one line break
  keys.c_cc[VMIN] = 1;
  keys.c_cc[VTIME] = 0;
  if (::pipe2(wake, O_CLOEXEC | O_NONBLOCK) != 0)
    wake[0] = wake[1] = -1;
  for (std::size_t i = 0; i < ending.size(); ++i)
    install(ending[i], on_ending, ending_before[i]);
  install(SIGTSTP, on_stop, others_before[0]);
  install(SIGCONT, on_redraw, others_before[1]);
  install(SIGWINCH, on_redraw, others_before[2]);
  take_keys();
}

key_terminal::~key_terminal() noexcept {
  give_back();
  for (std::size_t i = 0; i < ending.size(); ++i)
    ::sigaction(ending[i], &ending_before[i], nullptr);
  for (std::size_t i = 0; i < others.size(); ++i)
    ::sigaction(others[i], &others_before[i], nullptr);
  for (int& end : wake) {
    ::close(end);
    end = -1;
  }
}

void key_terminal::drop_unread() {
  drop_typed();
}

int key_terminal::redraw_descriptor() const {
  return wake[0];
}

void key_terminal::drain() {
  char bytes[64];
  while (::read(wake[0], bytes, sizeof bytes) > 0) {
  }
}

} // namespace parley::tool

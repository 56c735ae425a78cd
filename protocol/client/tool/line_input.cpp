#include "protocol/client/tool/line_input.hpp"

#include "protocol/client/tool/terminal_text.hpp"

#include <poll.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <istream>
#include <utility>

namespace parley::tool {

void growing_line::remove_last() {
  if (too_long_)
    return;
  text_.resize(last_character(text_));
}

input_line growing_line::end() {
  auto line = std::exchange(*this, {});
  if (line.too_long_)
    return tl::unexpected{client::refuse(ec::too_large)};
  return std::move(line.text_);
}

std::optional<input_line> next_line(std::istream& in) {
  growing_line line;
  bool any = false;
  for (char c = 0; in.get(c); any = true) {
    if (c == '\n')
      return line.end();
    line.add(c);
  }
  return any ? std::optional{line.end()} : std::nullopt;
}

struct terminal_mode {
  termios before{};
  terminal_mode() {
    ::tcgetattr(STDIN_FILENO, &before);
    auto keys = before;
    keys.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO | ISIG);
    keys.c_cc[VMIN] = 1;
    keys.c_cc[VTIME] = 0;
    ::tcsetattr(STDIN_FILENO, TCSANOW, &keys);
  }
  ~terminal_mode() { ::tcsetattr(STDIN_FILENO, TCSANOW, &before); }
};

namespace {

bool can_poll() {
  struct stat info {};
  // epoll refuses files and /dev/null; they never block either.
  return ::fstat(STDIN_FILENO, &info) == 0 &&
         (S_ISFIFO(info.st_mode) || S_ISSOCK(info.st_mode) || ::isatty(STDIN_FILENO));
}

bool readable_now() {
  pollfd p{STDIN_FILENO, POLLIN, 0};
  return ::poll(&p, 1, 0) > 0;
}

} // namespace

line_input::line_input(kj::UnixEventPort& port)
    : terminal_{::isatty(STDIN_FILENO) != 0}, pollable_{can_poll()} {
  if (terminal_)
    mode_ = std::make_unique<terminal_mode>();
  if (pollable_)
    observer_ = kj::heap<kj::UnixEventPort::FdObserver>(port, STDIN_FILENO,
                                                        kj::UnixEventPort::FdObserver::OBSERVE_READ);
}

line_input::~line_input() noexcept = default;

kj::Promise<std::optional<input_line>> line_input::next() {
  // The observer tells of edges: read until there is nothing, or enough.
  while (lines_.empty() && !ended_ && (!pollable_ || readable_now()))
    take_some();
  if (!lines_.empty()) {
    auto line = std::move(lines_.front());
    lines_.pop_front();
    return std::optional<input_line>{std::move(line)};
  }
  if (ended_)
    return std::optional<input_line>{};
  return observer_->whenBecomesReadable().then([this] { return next(); });
}

void line_input::take_some() {
  char buffer[512];
  const auto n = ::read(STDIN_FILENO, buffer, terminal_ ? 1 : sizeof buffer);
  if (n < 0 && (errno == EINTR || errno == EAGAIN))
    return;
  if (n <= 0) {
    ended_ = true;
    if (!typed_.empty())
      lines_.push_back(typed_.end());
    return;
  }
  for (ssize_t i = 0; i < n; ++i)
    key(buffer[i]);
}

void line_input::key(char c) {
  if (!terminal_) {
    if (c == '\n')
      lines_.push_back(typed_.end());
    else
      typed_.add(c);
    return;
  }
  if (escape_ > 0) { // ESC, then [ or O, then up to a letter or ~
    if (escape_ == 1 && (c == '[' || c == 'O'))
      escape_ = 2;
    else if (escape_ == 1 || (c >= '@' && c <= '~'))
      escape_ = 0;
    return;
  }
  switch (c) {
  case '\x1b':
    escape_ = 1;
    return;
  case '\r':
  case '\n':
    lines_.push_back(typed_.end());
    return;
  case '\x7f':
  case '\b':
    typed_.remove_last();
    break;
  case '\x15': // Ctrl-U
    typed_.clear();
    break;
  case '\x03': // Ctrl-C
    typed_.clear();
    ended_ = true;
    return;
  case '\x04': // Ctrl-D
    ended_ = typed_.empty();
    return;
  default:
    if (static_cast<unsigned char>(c) >= 0x20)
      typed_.add(c);
  }
  if (changed_)
    changed_();
}

} // namespace parley::tool

#include "protocol/client/tool/line_input.hpp"

#include "protocol/client/tool/terminal_text.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace parley::tool {

input_line growing_line::end() {
  auto line = std::exchange(*this, {});
  if (line.too_long_)
    return tl::unexpected{client::refuse(ec::too_large)};
  if (!is_utf8(line.text_)) {
    auto why =
        client::refuse(ec::bad_text); // its own words speak of all that was handed in, and lines went before
    why.sentence = "It is not UTF-8, so nobody could read it. Have the program that writes it write UTF-8.";
    return tl::unexpected{std::move(why)};
  }
  return std::move(line.text_);
}

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

line_input::line_input(kj::UnixEventPort& port, input_mode how) : pollable_{can_poll()} {
  if (how == input_mode::keys && is_interactive())
    terminal_ = std::make_unique<key_terminal>();
  if (pollable_)
    observer_ = kj::heap<kj::UnixEventPort::FdObserver>(port, STDIN_FILENO,
                                                        kj::UnixEventPort::FdObserver::OBSERVE_READ);
  if (terminal_ && terminal_->redraw_descriptor() >= 0) {
    redraws_ = kj::heap<kj::UnixEventPort::FdObserver>(port, terminal_->redraw_descriptor(),
                                                       kj::UnixEventPort::FdObserver::OBSERVE_READ);
    drawing_ = redraw().eagerlyEvaluate(nullptr);
  }
}

line_input::~line_input() noexcept {
  if (terminal_ && !ended_) // what follows a Ctrl-D was meant for the shell
    terminal_->drop_unread();
  drawing_ = nullptr; // before what it observes
}

kj::Promise<void> line_input::redraw() {
  return redraws_->whenBecomesReadable().then([this] {
    terminal_->drain();
    if (changed_)
      changed_();
    return redraw();
  });
}

std::optional<input_line> line_input::line() {
  if (terminal_)
    return keys_.take();
  if (lines_.empty())
    return std::nullopt;
  auto line = std::move(lines_.front());
  lines_.pop_front();
  return line;
}

kj::Promise<std::optional<input_line>> line_input::next() {
  // The observer tells of edges: read until there is nothing, or enough.
  for (;;) {
    if (auto one = line())
      return kj::mv(one);
    if (ended_)
      return std::optional<input_line>{};
    const bool waits = pollable_ && !readable_now();
    // Not for each byte of a paste: drawing a line takes as long as the line is.
    if (waits && std::exchange(undrawn_, false) && changed_)
      changed_();
    if (waits)
      return observer_->whenBecomesReadable().then([this] { return next(); });
    take_some();
  }
}

std::string line_input::failure() const {
  if (error_ == 0)
    return {};
  return fmt::format("Standard input cannot be read: {}.",
                     error_ == EBADF ? "it is closed" : std::strerror(error_));
}

void line_input::take_some() {
  char buffer[512];
  // Of keys one at a time: what follows the end of the chat belongs to the shell.
  const auto n = ::read(STDIN_FILENO, buffer, terminal_ ? 1 : sizeof buffer);
  if (n < 0 && (errno == EINTR || errno == EAGAIN))
    return;
  if (n <= 0) {
    ended_ = true;
    error_ = n < 0 ? errno : 0;
    if (!terminal_ && !typed_.empty())
      lines_.push_back(typed_.end());
    return;
  }
  for (ssize_t i = 0; i < n; ++i) {
    if (terminal_)
      keys_.key(buffer[i]);
    else if (buffer[i] == '\n')
      lines_.push_back(typed_.end());
    else
      typed_.add(buffer[i]);
  }
  if (!terminal_)
    return;
  ended_ |= keys_.ended();
  undrawn_ = true;
}

} // namespace parley::tool

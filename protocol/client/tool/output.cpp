#include "protocol/client/tool/output.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

namespace parley::tool {
namespace {

std::string base64(std::string_view bytes) {
  constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    for (std::size_t j = 0; j < 3; ++j)
      group = group << 8 | (i + j < bytes.size() ? static_cast<std::uint8_t>(bytes[i + j]) : 0U);
    for (std::size_t j = 0; j < 4; ++j)
      out.push_back(i + j <= bytes.size() ? digits[group >> (18 - 6 * j) & 63] : '=');
  }
  return out;
}

std::string escape(char32_t c) {
  if (c < 0x10000)
    return fmt::format("\\u{:04x}", static_cast<unsigned>(c));
  const auto above = static_cast<unsigned>(c) - 0x10000;
  return fmt::format("\\u{:04x}\\u{:04x}", 0xd800 + (above >> 10), 0xdc00 + (above & 0x3ff));
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  while (!text.empty()) {
    const auto c = first_code_point(text);
    if (!c.it)
      out += "\\ufffd";
    else if (*c.it == U'"' || *c.it == U'\\')
      out += '\\', out += text.front();
    else if (*c.it == U'\n')
      out += "\\n";
    else if (is_hidden(*c.it))
      out += escape(*c.it);
    else
      out += text.substr(0, c.bytes);
    text.remove_prefix(c.bytes);
  }
  return out + '"';
}

std::tm local_time(unix_ms at) {
  const auto seconds = static_cast<std::time_t>(static_cast<std::int64_t>(at) / 1000);
  std::tm local{};
  localtime_r(&seconds, &local);
  return local;
}

std::string date_text(const std::tm& t) {
  return fmt::format("{:04}-{:02}-{:02}", t.tm_year + 1900, t.tm_mon + 1, t.tm_mday);
}

} // namespace

json_line& json_line::raw(std::string_view key, std::string_view value) {
  if (out_.size() > 1)
    out_ += ',';
  out_ += fmt::format("\"{}\":{}", key, value);
  return *this;
}

std::string json_line::number_text(double n) {
  if (!std::isfinite(n))
    return "null";
  constexpr double whole_max = 1e15; // above it a double has no place for a fraction
  return n == std::trunc(n) && std::abs(n) < whole_max ? fmt::format("{:.0f}", n) : fmt::format("{}", n);
}

json_line& json_line::put(std::string_view key, std::string_view text) {
  return raw(key, quoted(text));
}

json_line& json_line::body(std::string_view key, std::string_view bytes) {
  return is_utf8(bytes) ? put(key, bytes) : put(fmt::format("{}_base64", key), base64(bytes));
}

void json_line::print() const {
  const auto line = text() + "\n";
  std::fwrite(line.data(), 1, line.size(), stdout);
  std::fflush(stdout);
}

standard_output::standard_output() {
  if (::fcntl(STDOUT_FILENO, F_GETFL) == -1)
    error_ = errno;
}

void standard_output::put(std::string_view text) {
  while (!text.empty() && error_ == 0) {
    const auto n = ::write(STDOUT_FILENO, text.data(), text.size());
    if (n >= 0) {
      text.remove_prefix(static_cast<std::size_t>(n));
    } else if (errno == EAGAIN) { // another program has made the terminal non-blocking
      pollfd p{STDOUT_FILENO, POLLOUT, 0};
      ::poll(&p, 1, -1);
    } else if (errno != EINTR) {
      error_ = errno;
    }
  }
}

void standard_output::line(std::string_view text) {
  put(std::string{text} + "\n");
}

std::string standard_output::why() const {
  return fmt::format("Standard output cannot be written to: {}.", error_ == EPIPE
                                                                      ? "nobody reads the pipe any more"
                                                                  : error_ == EBADF ? "it is closed"
                                                                                    : std::strerror(error_));
}

palette palette::for_stdout() {
  const char* off = std::getenv("NO_COLOR");
  const char* kind = std::getenv("TERM");
  if (!::isatty(STDOUT_FILENO) || (off && *off) || !kind || std::string_view{kind} == "dumb")
    return {};
  return {"\x1b[2m", "\x1b[1m", "\x1b[32m", "\x1b[34m", "\x1b[31m", "\x1b[0m"};
}

std::string date_text(unix_ms at) {
  return date_text(local_time(at));
}

std::string clock_text(unix_ms at, unix_ms now) {
  const auto then = local_time(at), today = local_time(now);
  const auto time = fmt::format("{:02}:{:02}", then.tm_hour, then.tm_min);
  return then.tm_year == today.tm_year && then.tm_yday == today.tm_yday ? time : date_text(then) + " " + time;
}

std::string device_text(const client::device_added& d) {
  const auto at = local_time(d.at);
  return fmt::format(
      "a device was added to your number on {} {:02}:{:02}: {} ({}). If you did not do it, somebody else "
      "reads and writes as you: tell the operator",
      date_text(at), at.tm_hour, at.tm_min, printable(d.name), number(d.device));
}

json_line device_event(const client::device_added& d) {
  json_line l;
  l.put("event", "device-added")
      .id("device", number(d.device))
      .put("name", d.name)
      .put("server_time_ms", static_cast<std::int64_t>(d.at));
  return l;
}

} // namespace parley::tool

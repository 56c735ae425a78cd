#include "protocol/client/tool/output.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
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

} // namespace

bool is_utf8(std::string_view s) {
  for (std::size_t i = 0; i < s.size();) {
    const auto lead = static_cast<std::uint8_t>(s[i]);
    const int more = lead < 0x80 ? 0 : lead >> 5 == 6 ? 1 : lead >> 4 == 14 ? 2 : lead >> 3 == 30 ? 3 : -1;
    if (more < 0 || i + static_cast<std::size_t>(more) >= s.size())
      return false;
    std::uint32_t point = more == 0 ? lead : lead & (0x3fU >> more);
    for (int k = 1; k <= more; ++k) {
      const auto next = static_cast<std::uint8_t>(s[i + static_cast<std::size_t>(k)]);
      if (next >> 6 != 2)
        return false;
      point = point << 6 | (next & 0x3fU);
    }
    constexpr std::uint32_t lowest[] = {0, 0x80, 0x800, 0x10000};
    if (point < lowest[more] || point > 0x10ffff || (point >= 0xd800 && point < 0xe000))
      return false;
    i += static_cast<std::size_t>(more) + 1;
  }
  return true;
}

std::string printable(std::string_view body) {
  if (!is_utf8(body))
    return fmt::format("({} bytes that are no text)", body.size());
  std::string out;
  for (std::size_t i = 0; i < body.size(); ++i) {
    const auto c = static_cast<unsigned char>(body[i]);
    // C1 controls are two bytes in UTF-8: c2 80 … c2 9f.
    const bool c1 = c == 0xc2 && i + 1 < body.size() && static_cast<unsigned char>(body[i + 1]) < 0xa0;
    if (c1)
      ++i;
    if (c1 || c < 0x20 || c == 0x7f)
      out += c == '\t' ? " " : "\u00b7";
    else
      out.push_back(body[i]);
  }
  return out;
}

json_line& json_line::raw(std::string_view key, std::string_view value) {
  if (out_.size() > 1)
    out_ += ',';
  out_ += fmt::format("\"{}\":{}", key, value);
  return *this;
}

json_line& json_line::put(std::string_view key, std::string_view text) {
  std::string quoted = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\')
      quoted += '\\', quoted += c;
    else if (c == '\n')
      quoted += "\\n";
    else if (static_cast<unsigned char>(c) < 0x20)
      quoted += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    else
      quoted += c;
  }
  return raw(key, quoted + '"');
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
  if (!::isatty(STDOUT_FILENO) || (off && *off))
    return {};
  return {"\x1b[2m", "\x1b[1m", "\x1b[32m", "\x1b[34m", "\x1b[31m", "\x1b[0m"};
}

std::string clock_text(unix_ms at) {
  const auto seconds = static_cast<std::time_t>(static_cast<std::int64_t>(at) / 1000);
  std::tm local{};
  localtime_r(&seconds, &local);
  return fmt::format("{:02}:{:02}", local.tm_hour, local.tm_min);
}

} // namespace parley::tool

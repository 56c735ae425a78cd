#include "tests/golden/samples.hpp"

#include <cctype>

namespace parley::test {

/// Sixteen bytes a line, and beside them what of it is text.
std::string to_hex(std::string_view bytes) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string out;
  for (std::size_t at = 0; at < bytes.size(); at += 16) {
    const auto line = bytes.substr(at, 16);
    for (const char c : line) {
      const auto byte = static_cast<unsigned char>(c);
      out.append({digits[byte >> 4], digits[byte & 15], ' '});
    }
    out.append(3 * (16 - line.size()), ' ').append("# ");
    for (const char c : line)
      out.push_back(c >= ' ' && c <= '~' ? c : '.');
    out.push_back('\n');
  }
  return out;
}

std::optional<std::string> from_hex(std::string_view text) {
  std::string out;
  std::string digits;
  bool is_comment = false;
  for (const char c : text) {
    is_comment = c != '\n' && (is_comment || c == '#');
    if (is_comment || std::isspace(static_cast<unsigned char>(c)))
      continue;
    if (!std::isxdigit(static_cast<unsigned char>(c)))
      return std::nullopt;
    digits.push_back(c);
    if (digits.size() == 2) {
      out.push_back(static_cast<char>(std::stoi(digits, nullptr, 16)));
      digits.clear();
    }
  }
  return digits.empty() ? std::optional{out} : std::nullopt;
}

} // namespace parley::test

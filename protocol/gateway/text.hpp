#pragma once
// What is accepted from clients where the schema says Text.
#include "protocol/values/limits.hpp"

#include <string_view>

namespace parley::gateway {

/// + and `phone_digits_min` to `phone_digits_max` digits.
constexpr bool is_phone(std::string_view s) {
  if (s.size() < 1 + phone_digits_min || s.size() > 1 + phone_digits_max || s.front() != '+')
    return false;
  for (char c : s.substr(1))
    if (c < '0' || c > '9')
      return false;
  return true;
}

/// `code_digits` digits.
constexpr bool is_code(std::string_view s) {
  if (s.size() != code_digits)
    return false;
  for (char c : s)
    if (c < '0' || c > '9')
      return false;
  return true;
}

/// RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF.
constexpr bool is_utf8(std::string_view s) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(s[i]); };
  for (std::size_t i = 0; i < s.size();) {
    const auto lead = at(i);
    std::size_t more = 0;
    unsigned char low = 0x80, high = 0xbf; // of the second byte
    if (lead < 0x80)
      more = 0;
    else if (lead >= 0xc2 && lead <= 0xdf)
      more = 1;
    else if (lead >= 0xe0 && lead <= 0xef) {
      more = 2;
      low = lead == 0xe0 ? 0xa0 : 0x80;
      high = lead == 0xed ? 0x9f : 0xbf;
    } else if (lead >= 0xf0 && lead <= 0xf4) {
      more = 3;
      low = lead == 0xf0 ? 0x90 : 0x80;
      high = lead == 0xf4 ? 0x8f : 0xbf;
    } else
      return false;
    if (s.size() - i < more + 1)
      return false;
    for (std::size_t k = 1; k <= more; ++k, low = 0x80, high = 0xbf)
      if (at(i + k) < low || at(i + k) > high)
        return false;
    i += more + 1;
  }
  return true;
}

} // namespace parley::gateway

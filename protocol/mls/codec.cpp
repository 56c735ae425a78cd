#include "protocol/mls/codec.hpp"

#include <algorithm>
#include <cassert>

namespace parley::mls {

bool equal(bytes_view a, bytes_view b) {
  return std::ranges::equal(a, b);
}

encoder& encoder::length(std::size_t n) {
  assert(n < (1u << 30));
  if (n < 64)
    return put(static_cast<std::uint8_t>(n));
  if (n < 1u << 14)
    return put(static_cast<std::uint16_t>(0x4000 | n));
  return put(static_cast<std::uint32_t>(0x80000000 | n));
}

void encoder::move_to(std::size_t capacity) {
  bytes next;
  next.reserve(capacity);
  next.assign(out_.begin(), out_.end());
  wipe(out_.data(), out_.size());
  out_ = std::move(next);
}

std::size_t decoder::length() {
  const auto first = get<std::uint8_t>();
  const int prefix = first >> 6;
  if (prefix == 3) {
    fail();
    return 0;
  }
  std::size_t n = first & 0x3f;
  for (int i = 1; i < 1 << prefix; ++i)
    n = n << 8 | get<std::uint8_t>();
  const bool is_shortest = prefix == 0 || n >= (prefix == 1 ? 64u : 1u << 14);
  if (!is_shortest)
    fail();
  return ok_ ? n : 0;
}

} // namespace parley::mls

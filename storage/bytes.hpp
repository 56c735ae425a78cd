#pragma once
// Numbers in bytes that were read from a file. Internal to storage/.
#include <cstddef>
#include <cstring>
#include <string_view>
#include <type_traits>

namespace parley::storage {

/// Little-endian, at `at`; the bytes reach that far.
template <class number>
number number_at(std::string_view bytes, std::size_t at) {
  static_assert(std::is_unsigned_v<number>);
  number n{};
  std::memcpy(&n, bytes.data() + at, sizeof n);
  return n;
}

} // namespace parley::storage

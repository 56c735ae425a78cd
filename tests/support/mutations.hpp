#pragma once
// Repeatable damage, as a broken or hostile peer would do to valid bytes. One seed gives the same
// sequence on every machine; a test prints the seed that it fails at.
#include "protocol/values/types.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace parley::test {

class mutator {
public:
  explicit mutator(std::uint64_t seed) : state_{mix64(seed ^ 0x6d757461746f7273ULL)} {}

  std::uint64_t next() { return mix64(state_ += 0x9e3779b97f4a7c15ULL); }
  /// A number from 0 to n - 1, or 0 for n = 0.
  std::size_t below(std::size_t n) { return n == 0 ? 0 : static_cast<std::size_t>(next() % n); }
  bool one_in(std::size_t n) { return below(n) == 0; }

  /// Returns `good` with one to three mutations. The first bytes are chosen more often than the others,
  /// because they contain the lengths.
  std::string of(std::string_view good) {
    std::string bytes{good};
    for (auto injuries = 1 + below(3); injuries > 0; --injuries)
      injure(bytes);
    return bytes;
  }

private:
  std::size_t place(const std::string& bytes) {
    return one_in(3) ? below(std::min<std::size_t>(bytes.size(), 16)) : below(bytes.size());
  }
  void injure(std::string& bytes) {
    if (bytes.empty()) {
      bytes.push_back(static_cast<char>(next()));
      return;
    }
    const auto at = place(bytes);
    switch (below(6)) {
    case 0: // a flipped bit
      bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8)));
      break;
    case 1: // truncation
      bytes.resize(at);
      break;
    case 2: { // 32 bits of a length, an offset or a type are replaced
      static constexpr std::array<std::uint32_t, 12> favourites{
          0,       1,          0x1ff,      0x200,      0xffff,     0x10000,
          0x10001, 0x1fffffff, 0x3fffffff, 0x7fffffff, 0x80000000, 0xffffffff};
      const auto half = at & ~std::size_t{3};
      if (half + 4 > bytes.size())
        break;
      std::uint32_t v = 0;
      std::memcpy(&v, bytes.data() + half, sizeof v);
      v = one_in(3) ? v + static_cast<std::uint32_t>(below(7)) - 3 : favourites[below(favourites.size())];
      std::memcpy(bytes.data() + half, &v, sizeof v);
      break;
    }
    case 3: { // a piece is duplicated
      const auto size = 1 + below(std::min<std::size_t>(bytes.size() - at, 256));
      bytes.insert(at, bytes.substr(at, size));
      break;
    }
    case 4: { // a piece is removed
      bytes.erase(at, 1 + below(32));
      break;
    }
    default: { // two words are exchanged
      const auto a = at & ~std::size_t{7}, b = place(bytes) & ~std::size_t{7};
      if (a + 8 <= bytes.size() && b + 8 <= bytes.size() && a != b)
        std::swap_ranges(bytes.begin() + static_cast<std::ptrdiff_t>(a),
                         bytes.begin() + static_cast<std::ptrdiff_t>(a + 8),
                         bytes.begin() + static_cast<std::ptrdiff_t>(b));
      break;
    }
    }
  }

  std::uint64_t state_;
};

} // namespace parley::test

#include "storage/crc32c.hpp"

#include <array>
#include <cstring>

namespace parley::storage {
namespace {

constexpr std::uint32_t polynomial = 0x82f63b78; // Castagnoli's, reflected

/// Eight tables: the portable loop takes eight bytes a step instead of one.
using tables = std::array<std::array<std::uint32_t, 256>, 8>;

constexpr tables make_tables() {
  tables t{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t c = i;
    for (int bit = 0; bit < 8; ++bit)
      c = (c >> 1) ^ ((c & 1) != 0 ? polynomial : 0);
    t[0][i] = c;
  }
  for (std::size_t k = 1; k < t.size(); ++k)
    for (std::size_t i = 0; i < 256; ++i)
      t[k][i] = (t[k - 1][i] >> 8) ^ t[0][t[k - 1][i] & 0xff];
  return t;
}

constexpr tables table_of = make_tables();

std::uint32_t by_table(const unsigned char* p, std::size_t n, std::uint32_t c) {
  for (; n >= 8; n -= 8, p += 8) {
    std::uint64_t w = 0;
    std::memcpy(&w, p, 8);
    w ^= c;
    c = table_of[7][w & 0xff] ^ table_of[6][(w >> 8) & 0xff] ^ table_of[5][(w >> 16) & 0xff] ^
        table_of[4][(w >> 24) & 0xff] ^ table_of[3][(w >> 32) & 0xff] ^ table_of[2][(w >> 40) & 0xff] ^
        table_of[1][(w >> 48) & 0xff] ^ table_of[0][w >> 56];
  }
  for (; n > 0; --n, ++p)
    c = (c >> 8) ^ table_of[0][(c ^ *p) & 0xff];
  return c;
}

using extend = std::uint32_t (*)(const unsigned char*, std::size_t, std::uint32_t);

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) std::uint32_t by_instruction(const unsigned char* p, std::size_t n,
                                                               std::uint32_t c) {
  std::uint64_t wide = c;
  for (; n >= 8; n -= 8, p += 8) {
    std::uint64_t w = 0;
    std::memcpy(&w, p, 8);
    wide = __builtin_ia32_crc32di(wide, w);
  }
  c = static_cast<std::uint32_t>(wide);
  for (; n > 0; --n, ++p)
    c = __builtin_ia32_crc32qi(c, *p);
  return c;
}

extend choose() {
  return __builtin_cpu_supports("sse4.2") ? by_instruction : by_table;
}
#else
extend choose() {
  return by_table;
}
#endif

extend chosen() {
  static const extend f = choose();
  return f;
}

std::uint32_t run(extend f, std::string_view bytes, std::uint32_t before) {
  return ~f(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), ~before);
}

} // namespace

std::uint32_t crc32c(std::string_view bytes, std::uint32_t before) {
  return run(chosen(), bytes, before);
}

std::uint32_t crc32c_by_table(std::string_view bytes, std::uint32_t before) {
  return run(by_table, bytes, before);
}

} // namespace parley::storage

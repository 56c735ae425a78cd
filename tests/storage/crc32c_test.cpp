#include "storage/crc32c.hpp"

#include <doctest/doctest.h>

#include <random>
#include <string>

using namespace parley::storage;

namespace {

std::string counting(int first, int step) {
  std::string s;
  for (int i = 0; i < 32; ++i)
    s.push_back(static_cast<char>(first + i * step));
  return s;
}

} // namespace

TEST_CASE("a checksum by instruction or by table is that of RFC 3720, appendix B.4") {
  const std::string read_command{"\x01\xc0\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
                                 "\x14\x00\x00\x00\x00\x00\x04\x00\x00\x00\x00\x14\x00\x00\x00\x18"
                                 "\x28\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00",
                                 48};
  const struct {
    std::string bytes;
    std::uint32_t sum;
  } vectors[] = {
      {std::string(32, '\0'), 0x8a9136aa},
      {std::string(32, '\xff'), 0x62a8ab43},
      {counting(0, 1), 0x46dd794e},
      {counting(31, -1), 0x113fdb5c},
      {read_command, 0xd9963a56},
      {"123456789", 0xe3069283},
      {"", 0},
  };
  for (const auto& v : vectors) {
    CHECK(crc32c(v.bytes) == v.sum);
    CHECK(crc32c_by_table(v.bytes) == v.sum);
  }
}

TEST_CASE("a checksum of parts is that of the whole, wherever it is cut and however it is aligned") {
  std::mt19937_64 random{7};
  std::string bytes(300, '\0');
  for (auto& b : bytes)
    b = static_cast<char>(random());
  for (std::size_t from = 0; from < 9; ++from) {
    const auto whole = std::string_view{bytes}.substr(from);
    const auto sum = crc32c_by_table(whole);
    CHECK(crc32c(whole) == sum);
    for (std::size_t cut = 0; cut <= whole.size(); ++cut) {
      REQUIRE(crc32c(whole.substr(cut), crc32c(whole.substr(0, cut))) == sum);
      REQUIRE(crc32c_by_table(whole.substr(cut), crc32c_by_table(whole.substr(0, cut))) == sum);
    }
  }
}

TEST_CASE("one flipped bit changes the checksum") {
  std::string bytes(77, 'x');
  const auto sum = crc32c(bytes);
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
    REQUIRE(crc32c(bytes) != sum);
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
  }
}

#include "protocol/values/chance.hpp"
#include "protocol/values/sha256.hpp"

#include <doctest/doctest.h>

#include <array>
#include <set>
#include <vector>

using namespace parley;

namespace {

/// Hands out what a test gives it.
class scripted_chance final : public chance {
public:
  explicit scripted_chance(std::vector<std::uint64_t> numbers) : numbers_{std::move(numbers)} {}
  void fill(std::span<std::uint8_t> out) override {
    REQUIRE(out.size() == sizeof(std::uint64_t));
    REQUIRE(next_ < numbers_.size());
    const auto n = numbers_[next_++];
    for (std::size_t i = 0; i < out.size(); ++i)
      out[i] = static_cast<std::uint8_t>(n >> (8 * i));
  }

private:
  std::vector<std::uint64_t> numbers_;
  std::size_t next_ = 0;
};

} // namespace

TEST_CASE("a random number that would favour small results is drawn again") {
  scripted_chance dice{{UINT64_MAX, UINT64_MAX - 5, 12}}; // 2^64 mod 10 is 6
  CHECK(dice.below(10) == 2);
  CHECK(dice.below(0) == 0);
}

TEST_CASE("where 0 means none, 0 is never drawn") {
  scripted_chance dice{{0, 0, 7}};
  CHECK(dice.nonzero() == 7);
}

TEST_CASE("a seeded source of random numbers repeats itself, and another seed gives other numbers") {
  seeded_chance a{1}, again{1}, other{2};
  std::array<std::uint8_t, 21> x{}, y{}, z{};
  a.fill(x);
  again.fill(y);
  other.fill(z);
  CHECK(x == y);
  CHECK(x != z);
  CHECK(a.number() == again.number());
}

TEST_CASE("the system's random numbers differ, and results below a bound are spread over its whole range") {
  std::set<std::uint64_t> seen;
  std::array<int, 8> hits{};
  for (int i = 0; i < 1'000; ++i) {
    REQUIRE(seen.insert(system_chance().number()).second);
    ++hits[system_chance().below(hits.size())];
  }
  for (const auto n : hits)
    CHECK(n > 50);
}

TEST_CASE("the SHA-256 of several parts is that of their bytes in a row") {
  // printf abc | sha256sum
  CHECK(sha256("abc") == sha256({"a", "", "bc"}));
  const auto digest = sha256("abc");
  CHECK(digest[0] == 0xba);
  CHECK(digest[1] == 0x78);
  CHECK(digest[31] == 0xad);
  CHECK(sha256("")[0] == 0xe3);
}

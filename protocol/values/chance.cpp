#include "protocol/values/chance.hpp"

#include "protocol/values/types.hpp"

#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace parley {
namespace {

class kernel_chance final : public chance {
public:
  void fill(std::span<std::uint8_t> out) override {
    while (!out.empty()) {
      const auto n = ::getrandom(out.data(), out.size(), 0);
      if (n > 0)
        out = out.subspan(static_cast<std::size_t>(n));
      else if (errno != EINTR) {
        std::fputs("the system has no randomness to give\n", stderr);
        std::abort();
      }
    }
  }
};

} // namespace

std::uint64_t chance::below(std::uint64_t n) {
  if (n == 0)
    return 0;
  const auto fair_below = UINT64_MAX - UINT64_MAX % n; // numbers from here on would favour the small results
  auto v = number();
  while (v >= fair_below)
    v = number();
  return v % n;
}

chance& system_chance() {
  static kernel_chance it;
  return it;
}

void seeded_chance::fill(std::span<std::uint8_t> out) {
  while (!out.empty()) {
    const auto n = mix64(state_ += 0x9e3779b97f4a7c15ULL);
    const auto take = std::min(out.size(), sizeof n);
    std::memcpy(out.data(), &n, take);
    out = out.subspan(take);
  }
}

} // namespace parley

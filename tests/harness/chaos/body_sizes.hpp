#pragma once
// How long the bodies of a run are. Pure: chance is an argument.
#include "protocol/values/limits.hpp"

#include <cmath>
#include <cstddef>
#include <random>

namespace parley::chaos {

/// Most messages are short. With the heavy tail a fifth of them is of any size up to the bound, each order of
/// magnitude as likely as the next.
inline std::size_t draw_size(std::mt19937_64& random, std::size_t text, bool heavy_tail) {
  if (!heavy_tail || random() % 5 != 0)
    return text + random() % 300;
  const auto share = static_cast<double>(random() % 1'000'001) / 1e6;
  return static_cast<std::size_t>(std::pow(static_cast<double>(body_bytes_max), share));
}

} // namespace parley::chaos

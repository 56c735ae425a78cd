#pragma once
// What node and device agree upon about the numbers of logins.
#include "protocol/values/limits.hpp"
#include "protocol/values/types.hpp"

#include <algorithm>

namespace parley {

/// Whether `n`, in milliseconds since 1970, is further ahead of `clock` than any honest device's number.
constexpr bool is_far_ahead(session_number n, unix_ms clock) {
  const auto latest = std::max(static_cast<std::int64_t>(clock), std::int64_t{0}) + session_ahead_max.count();
  return static_cast<std::uint64_t>(n) > static_cast<std::uint64_t>(latest);
}

} // namespace parley

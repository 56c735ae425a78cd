#pragma once
#include "protocol/values/types.hpp"

#include <algorithm>

namespace parley::core {

/// How far the clock of a gateway may differ from that of the leader who proposes what the gateway has stamped.
inline constexpr std::int64_t clock_difference_max_ms = 60'000;

/// The time that is written to the log for what a gateway says happened at `said`. A conversation's time never
/// goes back, so one gateway whose clock is a year ahead would date all its later messages; and a code that is
/// issued by a gateway whose clock is behind would have expired before it arrives. The leader believes a minute.
constexpr unix_ms trusted(unix_ms said, unix_ms own) {
  const auto now = static_cast<std::int64_t>(own);
  return unix_ms{std::clamp(static_cast<std::int64_t>(said), now - clock_difference_max_ms,
                            now + clock_difference_max_ms)};
}

} // namespace parley::core

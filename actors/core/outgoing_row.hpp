#pragma once
// An inbox row on its way to a client, and since when.
#include "actors/core/calls.hpp"

#include <chrono>
#include <cstdint>

namespace parley::core {

/// When rows were applied where their inbox is led, by the clock of the process that holds them: how long
/// they have been on their way. `moment{}` means that this is not known, because they were fetched from
/// storage, where they may have waited for days.
using moment = std::chrono::steady_clock::time_point;

struct outgoing_row {
  inbox_row row;
  moment applied_at{};
};

/// Clocks of two nodes have nothing in common, so an age travels. What the link takes is not in it.
inline std::uint64_t age_us(moment applied_at, moment now) {
  return applied_at == moment{} || applied_at > now
             ? 0
             : static_cast<std::uint64_t>(
                   std::chrono::duration_cast<std::chrono::microseconds>(now - applied_at).count());
}
inline moment aged(std::uint64_t us, moment now) {
  constexpr std::uint64_t us_max = 3'600'000'000; // a wrong age spoils only the figure of its sender
  return now - std::chrono::microseconds{static_cast<std::int64_t>(us < us_max ? us : us_max)};
}

} // namespace parley::core

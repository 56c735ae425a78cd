#pragma once
// How many codes a shard issues, whatever their numbers. A number's own limits do not stop somebody who has the
// cluster ring a million numbers, and the limits of gateways hold for one node each. Numbers are spread over all
// shards by their hash, so this bounds the cluster.
#include "actors/core/archive.hpp"
#include "actors/core/limits.hpp"
#include "actors/core/trusted_time.hpp"

#include <algorithm>
#include <string>

namespace parley::core {

/// Owns: one row of a shard: what it counts, and what each command that issues a code goes on with. Deterministic; its
/// time is the commands'.
struct code_meter {
  std::uint32_t used = 0; ///< codes that count at `at`
  unix_ms at{};
  std::string
      looked_at; ///< the last phone number at which the search for forgotten ones has arrived; empty: begins
  template <class F>
  auto fields(F&& f) {
    return f(used, at, looked_at);
  }
};

/// Counts one code and answers 0, or answers how long to wait, in milliseconds.
inline std::uint32_t take_code(code_meter& m, unix_ms now, const limits& l) {
  const auto every = l.shard_code_every.count();
  // A clock that went back gives nothing back. One that was a year ahead must not stop the refilling for a year.
  m.at = unix_ms{
      std::min(static_cast<std::int64_t>(m.at), static_cast<std::int64_t>(now) + clock_difference_max_ms)};
  const auto passed =
      std::max<std::int64_t>(static_cast<std::int64_t>(now) - static_cast<std::int64_t>(m.at), 0);
  const auto refilled = passed / every;
  if (refilled >= m.used) {
    m.used = 0;
    m.at = now;
  } else {
    m.used -= static_cast<std::uint32_t>(refilled);
    m.at = unix_ms{static_cast<std::int64_t>(m.at) + refilled * every};
  }
  if (m.used >= l.shard_codes_burst_max)
    return static_cast<std::uint32_t>(std::max<std::int64_t>(every - passed % every, 1));
  ++m.used;
  return 0;
}

} // namespace parley::core

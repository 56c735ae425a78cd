#pragma once
// How numbers go on after a rescue (docs/decisions/0049).
//
// A shard that went on with one survivor has lost what it numbered last, and others may have it: inboxes of other
// shards, and devices. A number that was given out again, for something else, would look like a repeat to them. So
// after the n-th rescue every conversation and every inbox of the shard goes on behind n · 2^40; nothing gets that many
// numbers between two rescues. A stream bridges the jump, because an append names the seq before it.
#include "protocol/values/types.hpp"

#include <algorithm>
#include <cstdint>

namespace parley::core {

inline constexpr std::uint64_t numbers_per_rescue = std::uint64_t{1} << 40;

/// The number behind `last` in a shard that was rescued so many times.
constexpr std::uint64_t number_after(std::uint64_t last, std::uint64_t rescues) {
  return std::max(last, rescues * numbers_per_rescue) + 1;
}

/// Whether `seq` is the next number of a conversation, or the first after a rescue. Between `before` and the latter there
/// may be messages: whoever must not miss any relies on an order without gaps (a page, a repair from the log), or on the
/// append, which names the number before the jump.
constexpr bool follows(seq_no before, seq_no seq) {
  const auto n = static_cast<std::uint64_t>(seq);
  return seq == next(before) || (seq > before && n % numbers_per_rescue == 1);
}

} // namespace parley::core

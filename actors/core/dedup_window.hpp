#pragma once
// What makes a retry a retry: the newest `dedup_ids_max` ids that one device had accepted in one
// conversation.
//
// The ids are kept in a ring: the n-th accepted id is stored in slot n mod 256. To remember an id, one small
// row is overwritten, and nothing has to be erased. "Newest" is by the order of acceptance, not by the
// counters: a message that arrives late, after higher counters, is remembered as long as any other, because
// its sender may not have its answer yet.
#include "actors/core/limits.hpp"
#include "protocol/values/types.hpp"

#include <algorithm>
#include <optional>

namespace parley::core {

struct remembered_id {
  std::uint64_t counter = 0;
  seq_no seq{};
  unix_ms at{};
  body_hash hash{};
  template <class F>
  auto fields(F&& f) {
    return f(counter, seq, at, hash);
  }
};

/// One device's record in one conversation. Thread: its owner's. Deterministic.
struct sender_head {
  std::uint64_t accepted = 0;        ///< ids accepted so far: the next one's slot, before the modulo
  std::uint64_t counter_max = 0;     ///< above it nothing can be a retry: the usual case needs no search
  std::uint64_t counter_evicted = 0; ///< highest that was forgotten: at or below it, unknown is too old
  template <class F>
  auto fields(F&& f) {
    return f(accepted, counter_max, counter_evicted);
  }

  std::uint8_t next_slot() const { return static_cast<std::uint8_t>(accepted % dedup_ids_max); }
  bool full() const { return accepted >= dedup_ids_max; }

  /// Adds `counter`. `forgotten` is the counter that was stored in `next_slot()`, if `full()`.
  void remember(std::uint64_t counter, std::optional<std::uint64_t> forgotten) {
    ++accepted;
    counter_max = std::max(counter_max, counter);
    if (forgotten)
      counter_evicted = std::max(counter_evicted, *forgotten);
  }
};

/// `load(slot)` returns the id that is stored in the slot. The first load finds the id of a device that
/// counts without gaps; otherwise all slots are tried.
template <class Load>
std::optional<remembered_id> find_remembered(const sender_head& head, std::uint64_t counter, Load&& load) {
  if (counter > head.counter_max || head.accepted == 0)
    return std::nullopt;
  const auto held = std::min(head.accepted, dedup_ids_max);
  const auto back = std::min(head.counter_max - counter, held - 1);
  for (std::uint64_t i = 0; i < held; ++i) {
    const auto n = head.accepted - 1 - (back + i) % held;
    std::optional<remembered_id> r = load(static_cast<std::uint8_t>(n % dedup_ids_max));
    if (r && r->counter == counter)
      return r;
  }
  return std::nullopt;
}

enum class retry_verdict {
  fresh,    ///< the id was not used before: the message may be stored
  repeat,   ///< the message was stored before: it gets the same answer again
  conflict, ///< the id was used for another body
  too_old,  ///< the id is forgotten, or is none: whether it was used is unknown, so the message is not stored
};

inline retry_verdict judge_retry(const sender_head& head, std::uint64_t counter, const body_hash& hash,
                                 const std::optional<remembered_id>& known) {
  if (known)
    return known->hash == hash ? retry_verdict::repeat : retry_verdict::conflict;
  return counter == 0 || counter <= head.counter_evicted ? retry_verdict::too_old : retry_verdict::fresh;
}

} // namespace parley::core

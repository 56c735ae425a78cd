#pragma once
// What makes a retry a retry: the newest `dedup_ids_max` ids that one device had accepted in one
// conversation.
//
// A ring: the n-th accepted id stands in slot n mod 256, so remembering one is one small row put over an old
// one, and nothing has to be erased. "Newest" counts acceptance, not counters: a message that came late,
// behind higher counters, is remembered as long as any other, because its sender may not have its answer yet.
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

  /// Takes `counter` in; `forgotten` is what stood in `next_slot()`, if `full()`.
  void remember(std::uint64_t counter, std::optional<std::uint64_t> forgotten) {
    ++accepted;
    counter_max = std::max(counter_max, counter);
    if (forgotten)
      counter_evicted = std::max(counter_evicted, *forgotten);
  }
};

/// `load(slot)` gives what stands there. A device that counts in ones hits with the first load; otherwise all
/// are tried.
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
  fresh,    ///< not seen: decide on
  repeat,   ///< stored before: answer as then
  conflict, ///< the id was used for another body
  too_old,  ///< forgotten, or no id at all: nobody can tell, so it is not stored
};

inline retry_verdict judge_retry(const sender_head& head, std::uint64_t counter, const body_hash& hash,
                                 const std::optional<remembered_id>& known) {
  if (known)
    return known->hash == hash ? retry_verdict::repeat : retry_verdict::conflict;
  return counter == 0 || counter <= head.counter_evicted ? retry_verdict::too_old : retry_verdict::fresh;
}

} // namespace parley::core

#pragma once
// What makes a retry a retry: the newest `dedup_ids_max` ids that one device had accepted in one
// conversation.
//
// The ids are kept in at most `dedup_ids_max` small rows, and an id's counter says in which one. So one row
// is read to learn whether an id is known, whatever its counter is, and the same row is overwritten to
// remember it: apply does this for each message, and a client may ask for any counter. A row forgets ids when
// it is overwritten; until then it may hold ids that count as forgotten already.
//
// "Newest" is by the order of acceptance, not by the counters: a message that arrives late, after higher
// counters, is remembered as long as any other, because its sender may not have its answer yet.
#include "actors/core/limits.hpp"
#include "protocol/values/types.hpp"

#include <algorithm>
#include <vector>

namespace parley::core {

struct remembered_id {
  std::uint64_t counter = 0;
  seq_no seq{};
  unix_ms at{};
  body_hash hash{};
  std::uint64_t nth = 0; ///< it was the n-th id of this device that was accepted here, from 1 on
  template <class F>
  auto fields(F&& f) {
    return f(counter, seq, at, hash, nth);
  }
};

/// One row of the window, in the order of acceptance. A device that counts without gaps has one or two ids
/// in each; with chosen counters it can have all of them in one, which costs it less than a longer body.
struct remembered_ids {
  std::vector<remembered_id> ids;
  template <class F>
  auto fields(F&& f) {
    return f(ids);
  }
};

/// One device's record in one conversation. Thread: its owner's. Deterministic.
struct sender_head {
  std::uint64_t accepted = 0;        ///< ids accepted so far
  std::uint64_t counter_max = 0;     ///< above it nothing can be a retry: the usual case
  std::uint64_t counter_evicted = 0; ///< highest that no row holds any more: up to it, unknown is too old
  template <class F>
  auto fields(F&& f) {
    return f(accepted, counter_max, counter_evicted);
  }

  bool is_forgotten(const remembered_id& id) const { return id.nth + dedup_ids_max <= accepted; }
};

/// The row of a counter. Part of the format of the log. Consecutive counters are in different rows, and so
/// are those of a device that writes to several conversations in turn.
inline std::uint8_t row_of(std::uint64_t counter) {
  return static_cast<std::uint8_t>(counter ^ mix64(counter / dedup_ids_max));
}

/// `row` is the one of `counter`.
inline const remembered_id* find_remembered(const remembered_ids& row, std::uint64_t counter) {
  const auto i =
      std::find_if(row.ids.begin(), row.ids.end(), [&](const auto& id) { return id.counter == counter; });
  return i == row.ids.end() ? nullptr : &*i;
}

/// Adds an accepted id, whose `nth` is set here, to its row.
inline void remember(sender_head& head, remembered_ids& row, remembered_id id) {
  id.nth = ++head.accepted;
  head.counter_max = std::max(head.counter_max, id.counter);
  std::erase_if(row.ids, [&](const remembered_id& old) {
    if (!head.is_forgotten(old))
      return false;
    head.counter_evicted = std::max(head.counter_evicted, old.counter);
    return true;
  });
  row.ids.push_back(id);
}

enum class retry_verdict {
  fresh,    ///< the id was not used before: the message may be stored
  repeat,   ///< the message was stored before: it gets the same answer again
  conflict, ///< the id was used for another body
  too_old,  ///< the id is forgotten, or is none: whether it was used is unknown, so the message is not stored
};

/// `known` is what the row of `counter` holds of it, or null.
inline retry_verdict judge_retry(const sender_head& head, std::uint64_t counter, const body_hash& hash,
                                 const remembered_id* known) {
  if (known && !head.is_forgotten(*known))
    return known->hash == hash ? retry_verdict::repeat : retry_verdict::conflict;
  return known || counter == 0 || counter <= head.counter_evicted ? retry_verdict::too_old
                                                                  : retry_verdict::fresh;
}

} // namespace parley::core

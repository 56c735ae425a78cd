#pragma once
// Whether this node's disk syncs so slowly that other nodes should lead its shards.
//
// Nothing is committed on a leader before its own turn has ended, so each message of the shards that it leads takes two of its
// syncs; the syncs of followers are waited for only until a majority has answered. So a slow disk costs nothing where it
// follows.
//
// Each node smooths how long its own syncs take and says so in its results. A leader compares only such figures with its own:
// how long an answer takes would tell of the network, and of the leader's own disk.
//
// Pure. Thread: its owner's. Times are milliseconds of one monotonic clock.
#include <algorithm>
#include <cstdint>

namespace parley::cluster {

class disk_pace {
public:
  /// Syncs below it are nobody's trouble; an idle SSD takes 1 to 10 ms, a busy one 50.
  static constexpr std::int64_t slow_from_ms = 100;
  /// A disk that was slow has to be this quick again: between the two nothing changes.
  static constexpr std::int64_t quick_below_ms = 50;
  /// So long, and so many syncs, it has to be slow before anything is handed over: one long commit is not a slow disk.
  static constexpr std::int64_t slow_for_ms = 5'000;
  static constexpr int syncs_min = 16;
  /// Only to a disk that takes a quarter of the time: two that are equally slow would hand each other everything, for ever.
  static constexpr std::int64_t times_quicker = 4;
  /// Below it no disk is better than another.
  static constexpr std::int64_t alike_below_ms = 20;
  /// After so long without a sync nothing is known any more.
  static constexpr std::int64_t forgets_after_ms = 60'000;

  /// A sync of this node's took `took` and has ended now.
  void synced(std::int64_t took, std::int64_t now) {
    if (forgotten(now))
      *this = {};
    // A quarter of each new one: after about eight the old ones count for a tenth.
    smoothed_16ths_ = syncs_ == 0 ? took * 16 : smoothed_16ths_ + (took * 16 - smoothed_16ths_) / 4;
    syncs_ = std::min(syncs_ + 1, syncs_min);
    at_ = now;
    const auto ms = smoothed_16ths_ / 16;
    if (ms >= slow_from_ms) {
      if (since_syncs_++ == 0)
        since_ = now;
      if (now - since_ >= slow_for_ms && since_syncs_ >= syncs_min)
        slow_ = true;
    } else {
      since_syncs_ = 0;
      if (ms < quick_below_ms)
        slow_ = false;
    }
  }
  bool is_slow(std::int64_t now) const { return slow_ && !forgotten(now); }
  /// What others are told: at least 1 ms; 0: not known.
  std::uint32_t typical_ms(std::int64_t now) const {
    if (syncs_ < syncs_min || forgotten(now))
      return 0;
    return static_cast<std::uint32_t>(std::clamp<std::int64_t>(smoothed_16ths_ / 16, 1, 1'000'000));
  }
  /// Whether a member that says it takes `theirs` should lead instead.
  bool is_quicker(std::uint32_t theirs) const {
    return theirs != 0 && std::int64_t{theirs} * times_quicker <= smoothed_16ths_ / 16;
  }
  /// Whether a member that says it takes `theirs` would lead as well as this node. One that is several times slower may be
  /// quick only because it follows: it would get shards, become slow, hand them back, and be quick again.
  bool is_as_good(std::uint32_t theirs) const {
    return theirs != 0 && theirs < quick_below_ms &&
           (theirs < alike_below_ms || theirs < times_quicker * (smoothed_16ths_ / 16));
  }

private:
  bool forgotten(std::int64_t now) const { return syncs_ != 0 && now - at_ > forgets_after_ms; }

  std::int64_t smoothed_16ths_ = 0;
  std::int64_t at_ = 0;    ///< of the last sync
  std::int64_t since_ = 0; ///< slow since then, with `since_syncs_` syncs
  int syncs_ = 0;
  int since_syncs_ = 0;
  bool slow_ = false;
};

} // namespace parley::cluster

#pragma once
// One replica's log: the key of each entry's row, its term, and the rows that are still needed in memory.
#include "cluster/replication/replica_record.hpp"

#include <algorithm>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

namespace parley::cluster {

/// Indexes are consecutive from `first()` to `last()`. An entry is held in the form of its row, so that
/// writing it copies nothing; it leaves memory once it is stored, applied, and beyond the cache's bound or age.
/// Thread: the store's.
class entry_log {
public:
  struct entry {
    std::uint64_t term = 0;
    std::uint64_t sequence = 0; ///< of its row; 0: not written yet
    std::uint32_t bytes = 0;    ///< of its row
    entry_kind kind{};
    std::string row; ///< empty: evicted, to be read from disk
  };

  /// Empty, as after a snapshot at `first` - 1.
  void clear(std::uint64_t first);
  std::uint64_t first() const { return first_; }
  std::uint64_t last() const { return first_ + entries_.size() - 1; }
  bool has(std::uint64_t index) const { return index >= first_ && index <= last(); }
  const entry& at(std::uint64_t index) const { return entries_[index - first_]; }
  entry& at(std::uint64_t index) { return entries_[index - first_]; }
  /// The last entry up to `index` whose term is not above `term`; `first()` - 1 if all that are here are of later
  /// terms. An `index` below `first()` is returned as it is.
  std::uint64_t last_within(std::uint64_t index, std::uint64_t term) const;
  std::size_t bytes() const { return bytes_; }
  /// What the rows in memory take, with what their strings have allocated beyond them.
  std::size_t cached_bytes() const { return cached_bytes_; }
  std::size_t size() const { return entries_.size(); }

  /// `row` was begun with `begin_row`; this fills in its header.
  void append(shard_id shard, generation gen, entry_kind kind, std::uint64_t term, std::string row);
  /// Adds an entry that was loaded; its row is kept in memory only if `keep`.
  void append_stored(const row_header& h, std::uint64_t sequence, std::string_view row, bool keep);
  /// Drops `index` and all above, and calls `dropped(sequence)` for each that has a row.
  template <class F>
  void truncate(std::uint64_t index, F dropped) {
    while (!entries_.empty() && last() >= index) {
      forget(entries_.back());
      if (entries_.back().sequence != 0)
        dropped(entries_.back().sequence);
      entries_.pop_back();
    }
    unwritten_ = std::min(unwritten_, last() + 1);
    evict_next_ = std::min(evict_next_, last() + 1);
    aged_ = std::min(aged_, last());
  }
  /// Drops all up to and including `index`.
  template <class F>
  void trim(std::uint64_t index, F dropped) {
    while (!entries_.empty() && first_ <= index) {
      forget(entries_.front());
      if (entries_.front().sequence != 0)
        dropped(entries_.front().sequence);
      entries_.pop_front();
      ++first_;
    }
    evict_next_ = std::max(evict_next_, first_);
    unwritten_ = std::max(unwritten_, first_);
  }

  std::uint64_t first_unwritten() const { return unwritten_; }
  bool all_written() const { return unwritten_ > last(); }
  void written(std::uint64_t index, std::uint64_t sequence) {
    at(index).sequence = sequence;
    unwritten_ = index + 1;
  }

  /// Drops rows up to `index` from memory, oldest first, until at most `bytes_max` are held.
  void evict(std::uint64_t index, std::size_t bytes_max);
  /// Drops rows up to `index` from memory that were here at the call before this one.
  void age(std::uint64_t index) {
    evict(std::min(index, aged_), 0);
    aged_ = last();
  }

private:
  void forget(const entry& e) {
    bytes_ -= e.bytes;
    cached_bytes_ -= taken_by(e);
  }
  static std::size_t taken_by(const entry& e) { return e.row.empty() ? 0 : e.row.capacity(); }
  std::deque<entry> entries_;
  std::uint64_t first_ = 1;
  std::uint64_t unwritten_ = 1;
  std::uint64_t evict_next_ = 1;
  std::uint64_t aged_ = 0; ///< the last entry at the last `age`
  std::size_t bytes_ = 0;
  std::size_t cached_bytes_ = 0;
};

} // namespace parley::cluster

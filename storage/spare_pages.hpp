#pragma once
// The pages that LMDB keeps, and how they are had back. Internal to storage/.
//
// A transaction of LMDB writes into copies of pages, each of which it allocates. It keeps those of its largest transaction
// for the next one, until the environment is closed, and no function of it frees them: after 20,000 rows in as many
// places they are 40 to 80 MiB. But when a nested transaction commits, LMDB frees the outer one's copy of every page that
// both have written. So one transaction writes a few pages, others inside it write the same pages one after the other, each
// into copies of its own, and in the end all of it is aborted: nothing of it reaches the file or a reader. A version of
// LMDB that does this differently would keep its pages, and nothing else would follow.
#include <lmdb.h>

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace parley::storage {

/// Says when pages are given back, and how many at a time.
///
/// Thread: the writer's.
/// Holds:  a node whose transactions are of one size gives nothing back; it would only allocate it again.
class spare_pages {
public:
  using time_point = std::chrono::steady_clock::time_point;
  /// 8 MiB of usual pages: measured, 2 ms in which the writer does nothing else.
  static constexpr std::uint64_t at_once = 2'048;

  /// `kept_for`: since the last transaction that needed a quarter of them. A fifth of it passes between two parts.
  explicit spare_pages(std::chrono::milliseconds kept_for) : kept_for_{kept_for} {}
  /// A row writes one page at most, but for a few above all of them.
  void committed(std::uint64_t rows, time_point now) {
    if (rows >= kept_ / 4)
      next_ = now + kept_for_;
    kept_ = std::max(kept_, rows);
  }
  /// How many pages have to be given back now; they count as given back.
  std::uint64_t due(time_point now) {
    if (kept_ == 0 || now < next_)
      return 0;
    next_ = now + kept_for_ / 5;
    const auto n = std::min(kept_, at_once);
    kept_ -= n;
    return n;
  }

private:
  const std::chrono::milliseconds kept_for_;
  std::uint64_t kept_ = 0; ///< pages, at most
  time_point next_{};
};

/// Lets LMDB free about so many of the pages that it keeps. `table`: any of its tables; it stays as it is.
/// Thread: the writer's, while it has no transaction. A failure has no consequence but pages that are kept.
void free_pages(MDB_env* env, MDB_dbi table, std::uint64_t page_bytes, std::uint64_t pages);

} // namespace parley::storage

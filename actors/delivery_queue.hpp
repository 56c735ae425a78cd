#pragma once
#include "actors/core/outgoing_row.hpp"

#include <atomic>
#include <mutex>

namespace parley {

/// What all delivery queues of a process hold together. Thread: any.
struct delivery_totals {
  std::uint64_t bytes_max = 64 << 20; ///< then they are crowded
  std::atomic<std::uint64_t> rows{0}, bytes{0};
};

/// Where the rows of one session cross to its KJ thread.
///
/// Owns:   rows that are pushed but not yet taken. It is bounded by rows and by bytes; what does not fit stays
///         in the inbox, and the session fetches it from there. While all queues together are crowded, it holds little more
///         than what leaves at once: thousands of clients that read slowly would have as many full queues.
/// Thread: any; short critical sections.
class delivery_queue {
public:
  static constexpr std::size_t crowded_bytes_max = 32 << 10;

  /// `all`: outlives this one, may be null.
  delivery_queue(std::size_t rows_max, std::size_t bytes_max, delivery_totals* all = nullptr)
      : rows_max_{rows_max}, bytes_max_{bytes_max}, all_{all} {}
  ~delivery_queue();
  delivery_queue(const delivery_queue&) = delete;
  delivery_queue& operator=(const delivery_queue&) = delete;

  /// A client asked anew from where to stream. What waits of the stream before is dropped, and rows that are
  /// still put for it are not taken: their positions would let the client acknowledge what it never got.
  void begin(std::uint64_t stream);
  /// Takes as many rows as fit (a lone row always does), none of another stream than the one that has begun.
  /// Answers how many. Before the first `begin` the stream is 0.
  std::size_t put(std::vector<core::inbox_row>& rows, core::moment applied_at = {}, std::uint64_t stream = 0);
  std::vector<core::outgoing_row> take(std::size_t rows_max, std::size_t bytes_max);
  std::size_t rows() const;
  /// Nothing came for a while: gives the memory of former rows back.
  void release_if_empty();
  /// What one row costs.
  static std::size_t weight(const core::inbox_row& row);

private:
  void count(std::uint64_t rows,
             std::uint64_t bytes); ///< more of them; unsigned arithmetic wraps, so less, too

  mutable std::mutex mutex_;
  std::vector<core::outgoing_row> rows_;
  std::size_t first_ = 0; ///< taken before
  std::size_t bytes_ = 0;
  std::uint64_t stream_ = 0;
  std::size_t rows_max_, bytes_max_;
  delivery_totals* all_;
};

} // namespace parley

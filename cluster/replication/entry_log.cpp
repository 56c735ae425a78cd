#include "cluster/replication/entry_log.hpp"

#include "cluster/replication/raft_group.hpp"

namespace parley::cluster {

void entry_log::clear(std::uint64_t first) {
  entries_.clear();
  first_ = unwritten_ = evict_next_ = first;
  aged_ = 0;
  bytes_ = cached_bytes_ = 0;
}

void entry_log::append(shard_id shard, generation gen, entry_kind kind, std::uint64_t term, std::string row) {
  put_row_header(row, {shard, gen, kind, last() + 1, term});
  bytes_ += row.size();
  const auto bytes = static_cast<std::uint32_t>(row.size());
  entries_.push_back({term, 0, bytes, kind, std::move(row)});
  cached_bytes_ += taken_by(entries_.back());
}

void entry_log::append_stored(const row_header& h, std::uint64_t sequence, std::string_view row, bool keep) {
  bytes_ += row.size();
  entries_.push_back({h.term, sequence, static_cast<std::uint32_t>(row.size()), h.kind, {}});
  if (keep) {
    entries_.back().row = row;
    cached_bytes_ += taken_by(entries_.back());
  }
  unwritten_ = last() + 1;
}

std::uint64_t entry_log::last_within(std::uint64_t index, std::uint64_t term) const {
  if (index < first_)
    return index;
  const auto end = entries_.begin() + static_cast<std::ptrdiff_t>(std::min(index, last()) + 1 - first_);
  const auto later = std::partition_point(entries_.begin(), end, // terms never fall along a log
                                          [term](const entry& e) { return e.term <= term; });
  return first_ + static_cast<std::uint64_t>(later - entries_.begin()) - 1;
}

void entry_log::evict(std::uint64_t index, std::size_t bytes_max) {
  while (cached_bytes_ > bytes_max && evict_next_ <= index && evict_next_ <= last()) {
    auto& e = at(evict_next_++);
    if (e.sequence == 0)
      broken("an unwritten entry is evicted", {}, {}, evict_next_ - 1);
    cached_bytes_ -= taken_by(e);
    std::string{}.swap(e.row); // `= {}` would keep what it has allocated
  }
}

} // namespace parley::cluster

#include "cluster/machine/row_check.hpp"

#include "cluster/replication/replica_record.hpp"

#include <algorithm>

namespace parley::cluster {

check_pace::milliseconds check_pace::read(std::size_t rows, milliseconds now) {
  rows_ += rows;
  while (rows_ > expected_)
    expected_ *= 2;
  const auto due = began_ + milliseconds{static_cast<std::int64_t>(static_cast<double>(pass_.count()) *
                                                                   static_cast<double>(rows_) /
                                                                   static_cast<double>(expected_))};
  return std::max(wait_min, due - now);
}

check_pace::milliseconds check_pace::passed(milliseconds now) {
  expected_ = std::max<std::uint64_t>(rows_, rows_at_once_max);
  rows_ = 0;
  const auto due = began_ + pass_;
  began_ = std::max(due, now + wait_min);
  return began_ - now;
}

bool row_walk::begin_pass(storage::read_txn& txn) {
  each_record(txn, [this](shard_id shard, std::string_view) { shards_.push_back(shard); });
  std::reverse(shards_.begin(), shards_.end());
  from_.clear();
  return !shards_.empty();
}

row_walk::slice row_walk::next() {
  slice out;
  const auto txn = env_.begin_read();
  if (shards_.empty() && !begin_pass(*txn)) {
    out.last = true;
    return out;
  }
  std::size_t bytes = 0;
  bool full = false;
  while (!shards_.empty() && !full) {
    const auto shard = shards_.back();
    if (const auto slot = replication::state_slot(*txn, shard)) {
      storage::shard_view rows{*txn, shard, *slot};
      rows.ascend(from_, {}, [&](std::string_view key, std::string_view value) {
        if (out.rows >= check_pace::rows_at_once_max || bytes >= check_pace::bytes_at_once_max) {
          from_ = key;
          full = true;
          return storage::scan::stop;
        }
        ++out.rows;
        bytes += key.size() + value.size();
        return storage::scan::more;
      });
      if (rows.status() == ec::corrupt) { // which one is not known, nor where to go on
        out.damaged = shard;
        full = false;
      }
    }
    if (full)
      break;
    shards_.pop_back();
    from_.clear();
    if (out.damaged) // the transaction says so of all that it reads from now on
      break;
  }
  out.last = shards_.empty();
  return out;
}

} // namespace parley::cluster

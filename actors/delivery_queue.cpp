#include "actors/delivery_queue.hpp"

#include "protocol/values/overloaded.hpp"

#include <algorithm>

namespace parley {

std::size_t delivery_queue::weight(const core::inbox_row& row) {
  constexpr std::size_t fixed = 96;
  return fixed + std::visit(overloaded{
                                [](const core::message_news& m) { return m.msg.body.size(); },
                                [](const core::opened_news& o) { return o.members.size() * sizeof(user_id); },
                                [](const core::watermark&) { return std::size_t{0}; },
                                [](const core::device_added& d) { return d.name.size(); },
                            },
                            row.what);
}

delivery_queue::~delivery_queue() {
  count(first_ - rows_.size(), 0 - bytes_);
}

void delivery_queue::count(std::uint64_t rows, std::uint64_t bytes) {
  if (all_ == nullptr)
    return;
  all_->rows.fetch_add(rows, std::memory_order_relaxed);
  all_->bytes.fetch_add(bytes, std::memory_order_relaxed);
}

void delivery_queue::begin(std::uint64_t stream) {
  std::lock_guard guard{mutex_};
  stream_ = stream;
  count(first_ - rows_.size(), 0 - bytes_);
  std::vector<core::outgoing_row>{}.swap(rows_);
  first_ = 0;
  bytes_ = 0;
}

std::size_t delivery_queue::put(std::vector<core::inbox_row>& rows, core::moment applied_at,
                                std::uint64_t stream) {
  std::lock_guard guard{mutex_};
  if (stream != stream_)
    return 0;
  const bool crowded = all_ != nullptr && all_->bytes.load(std::memory_order_relaxed) > all_->bytes_max;
  const auto bytes_max = crowded ? std::min(bytes_max_, crowded_bytes_max) : bytes_max_;
  const auto before = bytes_;
  std::size_t taken = 0;
  for (auto& row : rows) {
    const auto w = weight(row);
    const auto held = rows_.size() - first_;
    if (held > 0 && (held >= rows_max_ || bytes_ + w > bytes_max))
      break;
    bytes_ += w;
    rows_.push_back({std::move(row), applied_at});
    ++taken;
  }
  count(taken, bytes_ - before);
  return taken;
}

std::vector<core::outgoing_row> delivery_queue::take(std::size_t rows_max, std::size_t bytes_max) {
  std::lock_guard guard{mutex_};
  std::vector<core::outgoing_row> out;
  std::size_t bytes = 0;
  while (first_ < rows_.size() && out.size() < rows_max) {
    const auto w = weight(rows_[first_].row);
    if (!out.empty() && bytes + w > bytes_max)
      break;
    bytes += w;
    out.push_back(std::move(rows_[first_++]));
  }
  bytes_ -= bytes;
  count(0 - out.size(), 0 - bytes);
  if (first_ == rows_.size()) {
    first_ = 0;
    if (rows_.capacity() > 64)
      std::vector<core::outgoing_row>{}.swap(rows_); // an idle connection keeps no memory
    else
      rows_.clear();
  }
  return out;
}

void delivery_queue::release_if_empty() {
  std::lock_guard guard{mutex_};
  if (rows_.empty())
    std::vector<core::outgoing_row>{}.swap(rows_);
}

std::size_t delivery_queue::rows() const {
  std::lock_guard guard{mutex_};
  return rows_.size() - first_;
}

} // namespace parley

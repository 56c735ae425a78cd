#include "tests/harness/proxy/flow.hpp"

#include <algorithm>
#include <cmath>

namespace parley::test {

flow::flow(path as, std::uint64_t seed, path_counters& counts, time_point now)
    : path_{as}, counts_{&counts}, random_{static_cast<std::minstd_rand::result_type>(seed * 2'654'435'761U)},
      last_arrival_{now}, refilled_{now}, left_{as.cut_after} {}

void flow::swallow(std::uint64_t what) {
  counts_->swallowed += what;
  lost_ = lost_ || what != 0;
}

void flow::lose() {
  swallow(1);
}

void flow::set(const path& as, time_point now) {
  path_ = as;
  left_ = as.cut_after;
  allowance_ = 0;
  refilled_ = now;
  if (as.how == path::mode::blackhole) {
    swallow(bytes_);
    waiting_.clear();
    bytes_ = 0;
    lost_ = lost_ || ending_ != ending::none;
  } else if (as.how == path::mode::stall) {
    counts_->held += bytes_;
  }
}

std::size_t flow::room() const {
  if (path_.how == path::mode::blackhole)
    return bytes_max;
  return ending_ != ending::none || waiting_.size() >= chunks_max ? 0 : bytes_max - bytes_;
}

/// When what is put now arrives: never before what was put earlier.
flow::time_point flow::arrival(time_point now) {
  auto at = now + path_.delay;
  if (path_.jitter.count() > 0) {
    const auto span = static_cast<std::uint64_t>(path_.jitter.count()) * 2 + 1;
    at += std::chrono::milliseconds{static_cast<std::int64_t>(random_() % span)} - path_.jitter;
  }
  return last_arrival_ = std::max(at, last_arrival_);
}

void flow::put(std::string_view bytes, time_point now) {
  if (path_.how == path::mode::blackhole)
    return swallow(bytes.size());
  if (path_.how == path::mode::stall)
    counts_->held += bytes.size();
  if (path_.delay.count() > 0 || path_.jitter.count() > 0)
    counts_->delayed += bytes.size();
  waiting_.push_back({arrival(now), std::string{bytes}});
  bytes_ += bytes.size();
}

void flow::end(ending how, time_point now) {
  if (ending_ == ending::reset || ending_ == how)
    return; // a second time, it would come later
  ending_ = how;
  ends_at_ = arrival(now);
  if (path_.how == path::mode::blackhole)
    lost_ = true;
}

void flow::refill(time_point now) {
  if (path_.bytes_per_second == 0)
    return;
  const auto rate = static_cast<double>(path_.bytes_per_second);
  const auto burst = std::max(rate * burst_seconds, static_cast<double>(burst_bytes_min));
  allowance_ = std::min(burst, allowance_ + rate * std::chrono::duration<double>(now - refilled_).count());
  refilled_ = now;
}

/// As many bytes as are worth a write: fewer than a packet only if no more are waiting.
std::size_t flow::wanted() const {
  return std::min(waiting_.front().bytes.size() - waiting_.front().taken, burst_bytes_min);
}

std::string_view flow::due(time_point now) {
  refill(now);
  if (waiting_.empty() || waiting_.front().at > now || path_.how == path::mode::stall)
    return {};
  const auto& first = waiting_.front();
  auto size = first.bytes.size() - first.taken;
  if (path_.bytes_per_second != 0) {
    if (allowance_ < static_cast<double>(wanted()))
      return {};
    size = std::min(size, static_cast<std::size_t>(allowance_));
  }
  if (path_.cut_after != 0)
    size = static_cast<std::size_t>(std::min<std::uint64_t>(size, left_));
  return std::string_view{first.bytes}.substr(first.taken, size);
}

void flow::took(std::size_t bytes) {
  if (bytes == 0)
    return;
  counts_->bytes += bytes;
  if (path_.bytes_per_second != 0) {
    counts_->paced += bytes;
    allowance_ -= static_cast<double>(bytes);
  }
  if (path_.cut_after != 0)
    left_ -= bytes;
  bytes_ -= bytes;
  auto& first = waiting_.front();
  first.taken += bytes;
  if (first.taken == first.bytes.size())
    waiting_.pop_front();
}

flow::ending flow::ended(time_point now) const {
  const bool moves = path_.how == path::mode::pass;
  return moves && waiting_.empty() && now >= ends_at_ ? ending_ : ending::none;
}

bool flow::spent() const {
  return path_.cut_after != 0 && left_ == 0;
}

bool flow::torn() const {
  return lost_ && path_.how != path::mode::blackhole;
}

std::optional<flow::time_point> flow::next(time_point now) {
  if (path_.how != path::mode::pass)
    return std::nullopt;
  if (waiting_.empty())
    return ending_ != ending::none && ends_at_ > now ? std::optional{ends_at_} : std::nullopt;
  if (waiting_.front().at > now)
    return waiting_.front().at;
  refill(now);
  const auto missing = static_cast<double>(wanted()) - allowance_;
  if (path_.bytes_per_second == 0 || missing <= 0)
    return std::nullopt; // it waits for the receiver, not for time
  const auto seconds = missing / static_cast<double>(path_.bytes_per_second);
  return now + std::chrono::nanoseconds{static_cast<std::int64_t>(std::ceil(seconds * 1e9)) + 1};
}

} // namespace parley::test

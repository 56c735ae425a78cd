#pragma once
// The payloads that wait for one peer: any thread adds some, the peer's link takes them, and they
// never exceed the window.
//
// CAF's own buffers towards a peer have no bound, so the window spans them: what is queued here plus what was
// handed to CAF and not yet acknowledged by the peer's link stays within `window_bytes_max`.
//
// Owns:   the queue, as batches ready to leave; the count of bytes under way.
// Thread: any; `take`, `begin`, `end` and `acknowledge` from the link only.
// Holds:  a payload that was put in one session is sent in that session, in order, or never.
#include "cluster/links/link.hpp"
#include "protocol/values/node_limits.hpp"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace parley::cluster {

struct outlet_config {
  std::size_t window_bytes_max = link_window_bytes_max;
  std::size_t calls_bytes_max = link_calls_bytes_max; ///< above it calls are refused
  std::size_t batch_bytes_max = link_batch_bytes_max; ///< of one CAF message
  std::size_t payload_bytes_max = link_payload_bytes_max;
};

/// Counts since the link exists, for metrics and tests. Each number is right, but they may
/// be of different moments.
struct link_status {
  node_id peer{};
  bool connected = false;
  std::size_t bytes_waiting = 0; ///< queued or not yet acknowledged
  std::uint64_t bytes_sent = 0, bytes_received = 0;
  std::uint64_t batches_sent = 0, batches_received = 0;
  std::uint64_t refused = 0; ///< calls that were refused because the window was full or there was no session
  std::uint64_t resets = 0;
};

class outlet {
public:
  enum class put_result {
    refused, ///< no session, window full, or too large; the payload was not taken
    queued,
    wake ///< taken, or the session has overflowed: the link has to be woken
  };

  explicit outlet(const outlet_config& config) : config_{config} {}

  put_result put(lane on, std::string payload) {
    const std::size_t need = cost_of(payload);
    std::lock_guard guard{mutex_};
    const auto in_use = queued_ + static_cast<std::size_t>(sent_ - acknowledged_);
    if (!live_ || payload.size() > config_.payload_bytes_max)
      return refuse();
    if (on == lane::calls && in_use + need > config_.calls_bytes_max)
      return refuse();
    if (in_use + need > config_.window_bytes_max) {
      // A Raft lane with a gap is worse than none: the session ends, and the next one starts clean.
      live_ = false;
      overflowed_ = true;
      forget_queue();
      return put_result::wake;
    }
    if (batches_.empty() || batches_.back().bytes + need > config_.batch_bytes_max)
      batches_.emplace_back();
    batches_.back().payloads.push_back({on, std::move(payload)});
    batches_.back().bytes += need;
    queued_ += need;
    if (on == lane::raft) {
      batches_.back().raft_bytes += need;
      raft_waiting_ += need;
    }
    return std::exchange(woken_, true) ? put_result::queued : put_result::wake;
  }

  /// Begins a new session; everything of the last one is dropped.
  void begin() {
    std::lock_guard guard{mutex_};
    forget_queue();
    sent_ = acknowledged_ = 0;
    live_ = true;
    overflowed_ = woken_ = false;
    connected.store(true, std::memory_order_release);
  }
  void end() {
    std::lock_guard guard{mutex_};
    live_ = overflowed_ = woken_ = false;
    forget_queue();
    sent_ = acknowledged_ = 0;
    connected.store(false, std::memory_order_release);
    ++resets;
  }
  bool overflowed() const {
    std::lock_guard guard{mutex_};
    return overflowed_;
  }

  /// The bytes that a payload counts on both sides.
  static std::size_t cost_of(std::string_view payload) { return link_payload_header_bytes + payload.size(); }

  /// The next batch to pass to CAF. If there is none, the next `put` wakes the link again.
  std::optional<std::vector<lane_payload>> take() {
    std::lock_guard guard{mutex_};
    if (batches_.empty()) {
      woken_ = false;
      return std::nullopt;
    }
    auto batch = std::move(batches_.front());
    batches_.pop_front();
    queued_ -= batch.bytes;
    sent_ += batch.bytes;
    under_way_.push_back({sent_, batch.raft_bytes});
    bytes_sent += batch.bytes;
    ++batches_sent;
    return std::move(batch.payloads);
  }

  /// The peer has received `total` bytes of this session. False if fewer were sent.
  bool acknowledge(std::uint64_t total) {
    std::lock_guard guard{mutex_};
    if (total > sent_)
      return false;
    acknowledged_ = std::max(acknowledged_, total);
    for (; !under_way_.empty() && under_way_.front().end <= acknowledged_; under_way_.pop_front())
      raft_waiting_ -= under_way_.front().raft_bytes;
    return true;
  }

  /// What of the Raft lane is queued or not acknowledged; `none` without a session.
  std::optional<std::size_t> raft_waiting() const {
    std::lock_guard guard{mutex_};
    return live_ ? std::optional{raft_waiting_} : std::nullopt;
  }

  link_status status(node_id peer) const {
    std::lock_guard guard{mutex_};
    return {peer,
            connected.load(),
            queued_ + static_cast<std::size_t>(sent_ - acknowledged_),
            bytes_sent,
            bytes_received,
            batches_sent,
            batches_received,
            refused,
            resets};
  }

  std::atomic<bool> connected{false};
  std::atomic<std::uint64_t> bytes_sent{0}, bytes_received{0}, batches_sent{0}, batches_received{0},
      refused{0}, resets{0};

private:
  struct batch {
    std::vector<lane_payload> payloads;
    std::size_t bytes = 0;
    std::size_t raft_bytes = 0; ///< of them
  };
  struct sent_batch {
    std::uint64_t end = 0; ///< the bytes of this session up to it
    std::size_t raft_bytes = 0;
  };

  put_result refuse() {
    ++refused;
    return put_result::refused;
  }
  void forget_queue() {
    batches_.clear();
    under_way_.clear();
    queued_ = raft_waiting_ = 0;
  }

  const outlet_config config_;
  mutable std::mutex mutex_;
  std::deque<batch> batches_;
  std::deque<sent_batch> under_way_; ///< taken, and not acknowledged as a whole
  std::size_t queued_ = 0;
  std::size_t raft_waiting_ = 0;
  std::uint64_t sent_ = 0, acknowledged_ = 0; ///< bytes of this session
  bool live_ = false;
  bool overflowed_ = false;
  bool woken_ = false; ///< the link was woken and has not taken everything yet
};

/// The payloads of a batch by lane, in order, and the bytes that they count; `none` if one names no lane.
struct unpacked {
  std::vector<std::string> raft, calls;
  std::size_t bytes = 0;
};
std::optional<unpacked> unpack(std::vector<lane_payload> batch);

} // namespace parley::cluster

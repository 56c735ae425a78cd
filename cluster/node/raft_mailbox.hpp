#pragma once
// What replicas of other nodes sent and the store has not taken yet, in bytes. Links acknowledge on receipt, so that calls
// go on while a disk hangs; what then arrives for the store has to be bounded here.
#include "cluster/replication/peer_frames.hpp"
#include "protocol/values/counters.hpp"
#include "protocol/values/node_limits.hpp"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace parley::cluster {

/// Thread: `admit` is the network's, `taken` the store's, the others any.
/// Holds: at most `bytes_max` and `control_bytes_max`, and one batch of a link.
class raft_mailbox {
public:
  explicit raft_mailbox(std::size_t bytes_max = raft_mailbox_bytes_max,
                        std::size_t control_bytes_max = raft_mailbox_control_bytes_max)
      : bytes_max_{bytes_max}, all_bytes_max_{bytes_max + control_bytes_max} {}

  /// Leaves out of `frames` what does not fit: first entries and rows of states, whose senders send them again when they
  /// are missed; at last everything, as if the link had lost it.
  void admit(std::vector<std::string>& frames) {
    for (auto& f : frames) {
      const auto held = bytes_.load(std::memory_order_relaxed);
      const auto arrived = f.size();
      if (held + arrived > all_bytes_max_)
        f.clear();
      else if (held + arrived > bytes_max_)
        f = without_bulk(f);
      if (f.size() < arrived)
        add(left_out_, arrived - f.size());
      bytes_.fetch_add(f.size(), std::memory_order_relaxed);
    }
    std::erase_if(frames, [](const std::string& f) { return f.empty(); });
  }
  void taken(const std::vector<std::string>& frames) {
    for (const auto& f : frames)
      bytes_.fetch_sub(f.size(), std::memory_order_relaxed);
  }
  std::size_t bytes() const { return bytes_.load(std::memory_order_relaxed); }
  std::uint64_t left_out() const { return left_out_.load(std::memory_order_relaxed); } ///< bytes

private:
  const std::size_t bytes_max_, all_bytes_max_;
  std::atomic<std::size_t> bytes_{0};
  counter left_out_{0};
};

} // namespace parley::cluster

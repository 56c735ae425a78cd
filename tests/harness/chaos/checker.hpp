#pragma once
// Judges a chaos run: was any acknowledged message lost, repeated or reordered?
//
// The checker makes one pass over the history and then over every replica's dump; it uses only hash
// tables and takes O(n). The rules, by number:
//   1  a position (conversation, seq) holds one message in all observations: acknowledgements, pushes,
//      syncs, replicas
//   2  a client_msg_id has one position, and every retry receives it as the answer
//   3  an acknowledged message is on every replica, and in every member's sync
//   4  no message is read that was not sent, or whose every attempt failed
//   5  positions are 1, 2, 3 … without gaps
//   6  real time: a message gets a position above all those acknowledged before it was first submitted
//      (1, 2 and 6 together are a linearizable append, without a search)
//   7  a conversation's sync is contiguous and reaches what was acknowledged before it was requested; an
//      inbox is a prefix without gaps per conversation, skips only its user's own messages, and catches up
//      after healing
//   8  a connection's pushes are ordered, unique and without gaps, or restart after an explicit resync
//  11  replicas that applied the same index hold the same state
//  13  the run counts: acknowledgements resume after healing, few answers stay unknown, the faults happened
//
// It depends on the standard library and protocol/values, and on no code of the cluster.
#include "tests/harness/chaos/history.hpp"

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace parley::chaos {

struct checker_config {
  std::size_t replicas = 3;                        ///< replicas of each shard; 0: no dumps were taken
  bool expects_syncs = true;                       ///< every member reads every conversation to its end
                                                   ///< after the last acknowledgement
  bool expects_inboxes = true;                     ///< every device's stream is also judged at the end
  std::chrono::milliseconds first_ack_max{5000};   ///< after healing
  std::chrono::milliseconds failover_window{2000}; ///< sends begun this soon after a kill are disturbed
  double info_share_max = 0.05; ///< of messages without a known outcome; above it the run does not count
  std::uint64_t kills_min = 0, pauses_min = 0, disk_losses_min = 0, client_kills_min = 0;
  std::size_t explained_max = 100; ///< violations that are kept with an explanation; all are counted
};

struct violation {
  int rule = 0;
  std::string what;
};

struct verdict {
  std::uint64_t messages = 0; ///< distinct client_msg_ids that were submitted
  std::uint64_t attempts = 0; ///< a restarted client submits a message again
  std::uint64_t acked = 0;
  std::uint64_t lost = 0, duplicated = 0, reordered = 0, gaps = 0;
  std::uint64_t info =
      0; ///< messages whose outcome stayed unknown: neither acknowledged, nor read, nor always refused
  std::uint64_t unanswered =
      0; ///< attempts without an answer, or with one that promises nothing; they were repeated
  std::uint64_t kills = 0, pauses = 0, disk_losses = 0, client_kills = 0;
  std::uint64_t events = 0, replica_rows = 0;
  double failover_p99_ms = 0, failover_max_ms = 0; ///< the time from the kill to the answer, for sends
                                                   ///< that the kill disturbed
  double first_ack_max_ms = 0;                     ///< the slowest first acknowledgement after a healing
  std::array<std::uint64_t, 14> by_rule{};
  std::vector<violation> violations;
  bool clean() const;
};

/// Takes the whole history, in order, then the dumps, then `finish` once. Thread: its owner's.
class checker {
public:
  explicit checker(checker_config config = {});
  ~checker();
  checker(checker&&) noexcept;

  void take(const event& e);
  /// `replica` counts from 0, one for each dump.
  void take(std::size_t replica, const replica_head& head);
  void take(std::size_t replica, const replica_message& message);
  verdict finish();

private:
  class impl;
  std::unique_ptr<impl> impl_;
};

} // namespace parley::chaos

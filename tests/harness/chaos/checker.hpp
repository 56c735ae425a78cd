#pragma once
// Judges a chaos run: was any acknowledged message lost, repeated or reordered?
//
// One pass over the history, then over every replica's dump; hash tables only, O(n). The rules, by number:
//   1  a place (conversation, seq) holds one message, whoever looks: acks, pushes, syncs, replicas
//   2  a client_msg_id has one place, and every retry is told it
//   3  what was acknowledged is on every replica, and in every member's sync
//   4  nothing is read that was not sent, or whose every attempt failed
//   5  places are 1, 2, 3 … without gaps
//   6  real time: a message is placed above all that was acknowledged before it was first handed in
//      (1, 2 and 6 together are a linearizable append, without a search)
//   7  a conversation's sync is contiguous and reaches what was acknowledged before it was asked; an inbox is
//      a gapless prefix per conversation, skips only its user's own messages, and catches up after healing
//   8  a connection's pushes are ordered, unique and gapless, or begin anew after an explicit resync
//  11  replicas that applied the same index hold the same state
//  13  the run counts: acks come back after healing, few answers stay unknown, the faults happened
//
// Depends on the standard library and protocol/values, on no code of the cluster.
#include "tests/harness/chaos/history.hpp"

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace parley::chaos {

struct checker_config {
  std::size_t replicas = 3;    ///< each shard's; 0: no dumps were taken
  bool expects_syncs = true;   ///< every member reads every conversation to its end after the last ack
  bool expects_inboxes = true; ///< every device's stream is judged at the end too
  std::chrono::milliseconds first_ack_max{5000};   ///< after healing
  std::chrono::milliseconds failover_window{2000}; ///< sends begun this soon after a kill count as disturbed
  double info_share_max = 0.05; ///< of messages without a known outcome; above, the run is void
  std::uint64_t kills_min = 0, pauses_min = 0, disk_losses_min = 0, client_kills_min = 0;
  std::size_t explained_max = 100; ///< violations kept with words; all are counted
};

struct violation {
  int rule = 0;
  std::string what;
};

struct verdict {
  std::uint64_t messages = 0; ///< distinct client_msg_ids handed in
  std::uint64_t attempts = 0; ///< a message is handed in again by a restarted client
  std::uint64_t acked = 0;
  std::uint64_t lost = 0, duplicated = 0, reordered = 0, gaps = 0;
  std::uint64_t info =
      0; ///< messages whose outcome stayed unknown: neither acknowledged, nor read, nor always refused
  std::uint64_t unanswered =
      0; ///< attempts that got no answer, or one that promises nothing; they were made again
  std::uint64_t kills = 0, pauses = 0, disk_losses = 0, client_kills = 0;
  std::uint64_t events = 0, replica_rows = 0;
  double failover_p99_ms = 0, failover_max_ms = 0; ///< how long sends disturbed by a kill took after it
  double first_ack_max_ms = 0;                     ///< the slowest first ack after a healing
  std::array<std::uint64_t, 14> by_rule{};
  std::vector<violation> violations;
  bool clean() const;
};

/// Takes the whole history, in order, then the dumps, then `finish`, once. Thread: its owner's.
class checker {
public:
  explicit checker(checker_config config = {});
  ~checker();
  checker(checker&&) noexcept;

  void take(const event& e);
  /// `replica`: 0-based, one per dump.
  void take(std::size_t replica, const replica_head& head);
  void take(std::size_t replica, const replica_message& message);
  verdict finish();

private:
  class impl;
  std::unique_ptr<impl> impl_;
};

} // namespace parley::chaos

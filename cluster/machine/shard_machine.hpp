#pragma once
// What Raft applies: a shard's conversations, inboxes and accounts, as rows (shard_rows.hpp).
//
// Decisions are core's (dedup window, inbox cover, watermarks, phone claims); here they meet their rows.
// Every replica applies the same commands to the same rows and must come out alike: no clock, no chance, no
// order of a hash table. A command that does not decode, or a row that does not, stops the node: going on
// would make this replica another one than its peers.
//
// Owns:   what the leader's actors have to do about what was applied, until `take_results`.
//         Per shard: the number of the next debt, which follows from the rows; it saves a search per message.
// Thread: the store's.
// Holds:  an answer, debt or arrival is taken after the turn's `write`, so what it tells is on a majority's
//         disks.
//         A transaction that was not committed ends the process: memory never runs ahead of the rows.
#include "actors/core/commands.hpp"
#include "actors/core/dedup_window.hpp"
#include "actors/core/limits.hpp"
#include "cluster/replication/replication.hpp"

#include <map>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

namespace parley::cluster {

class shard_machine final : public state_machine {
public:
  /// `answers`: of commands proposed here (ticket != 0). The others: of shards led here, whoever proposed.
  struct results {
    std::vector<core::applied> answers;
    std::vector<core::incurred> debts;
    std::vector<core::arrived> arrivals;
    bool empty() const { return answers.empty() && debts.empty() && arrivals.empty(); }
  };

  explicit shard_machine(core::limits limits = {}) : limits_{limits} {}

  void apply(storage::shard_txn& state, const log_position& at, std::string_view command,
             std::uint64_t ticket) override;
  void replaced(shard_id shard) override;

  /// Whether to build debts and arrivals. What was incurred before is stored: replay it on taking
  /// over.
  void set_leading(shard_id shard, bool leading);
  results take_results() { return std::exchange(results_, {}); }

private:
  struct shard_memory {
    bool leading = false;
    std::optional<std::uint64_t> next_debt;
    // Only planted bugs keep these; they are what must not be kept here.
    std::map<std::pair<conversation_id, device_id>, std::vector<core::remembered_id>> planted_ids;
    std::map<conversation_id, std::uint64_t> planted_seqs;
  };
  /// One command under way.
  struct step {
    storage::shard_txn& rows;
    const log_position& at;
    shard_memory& memory;
  };

  // shard_machine_conversation.cpp
  core::outcome on(step&, core::open_direct& c);
  core::outcome on(step&, core::append_message& c);
  core::outcome on(step&, core::raise_watermarks& c);
  core::outcome on(step&, core::want_copies& c);
  core::outcome on(step&, core::confirm_debts& c);
  std::optional<core::placement> planted_retry(step&, const core::submission& s);
  void owe(step&, core::owed what, std::optional<core::message> full = std::nullopt);
  std::uint64_t next_debt(step&);

  // shard_machine_inbox.cpp
  core::outcome on(step&, core::append_inbox& c);
  core::outcome on(step&, core::advance_cursor& c);

  // shard_machine_account.cpp
  core::outcome on(step&, core::issue_code& c);
  core::outcome on(step&, core::redeem_code& c);
  core::outcome on(step&, core::put_device& c);
  core::outcome on(step&, core::put_node& c);

  core::limits limits_;
  std::unordered_map<std::uint16_t, shard_memory> shards_;
  results results_;
};

namespace detail {

/// Says what cannot be gone on with, and where, and aborts. Never a body, a phone or a key.
[[noreturn]] void stop_node(const char* why, const log_position& at);

/// A row that is there must be readable.
template <class T>
T must(std::optional<T> x, const log_position& at) {
  if (!x)
    stop_node("a state row does not decode", at);
  return std::move(*x);
}

} // namespace detail
} // namespace parley::cluster

#pragma once
// The state machine under test. It counts and hash-chains its commands, and it keeps a few rows that commands
// write and erase, so that an installed snapshot that lacks a row, or contains an old one, is detected.
#include "cluster/replication/replication.hpp"
#include "tests/cluster/fuzz/oracle.hpp"

#include <map>
#include <optional>
#include <string>

namespace parley::fuzz {

/// Encodes a command: its id, and what it does to the rows.
std::string make_command(std::uint64_t id, chance& luck, std::size_t bytes);

/// Returns the summary row of a shard's state; empty if there is no state or nothing has been applied yet.
std::optional<summary> read_summary(storage::shard_view& state);
/// A hash over all rows except the summary, independent of their order.
std::uint64_t digest_rows(storage::shard_view& state);

class history_machine : public cluster::state_machine {
public:
  history_machine(simulation& sim, oracle& judge, node_id node) : sim_{sim}, judge_{judge}, node_{node} {}

  std::optional<std::string> apply(storage::shard_txn& state, const cluster::log_position& at,
                                   std::string_view command, std::uint64_t ticket) override;
  void replaced(shard_id shard) override;
  std::uint64_t replacements() const { return replacements_; }

private:
  simulation& sim_;
  oracle& judge_;
  node_id node_;
  std::uint64_t replacements_ = 0;
  std::map<shard_id, summary> cache_; ///< like a real machine's cache; `replaced` must be called
                                      ///< when it becomes invalid
};

} // namespace parley::fuzz

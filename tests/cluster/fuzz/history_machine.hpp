#pragma once
// The state machine under test: counts and chains its commands, and keeps a few rows that they write and
// erase, so that an install which leaves a row out, or an old one in, shows.
#include "cluster/replication/replication.hpp"
#include "tests/cluster/fuzz/oracle.hpp"

#include <map>
#include <optional>
#include <string>

namespace parley::fuzz {

/// A command as bytes: who it is, and what it does to the rows.
std::string make_command(std::uint64_t id, chance& luck, std::size_t bytes);

/// The summary row of a shard's state; none: no state, or nothing applied yet.
std::optional<summary> read_summary(storage::shard_view& state);
/// Over all rows but the summary, in any order.
std::uint64_t digest_rows(storage::shard_view& state);

class history_machine : public cluster::state_machine {
public:
  history_machine(simulation& sim, oracle& judge, node_id node) : sim_{sim}, judge_{judge}, node_{node} {}

  void apply(storage::shard_txn& state, const cluster::log_position& at, std::string_view command,
             std::uint64_t ticket) override;
  void replaced(shard_id shard) override;
  std::uint64_t replacements() const { return replacements_; }

private:
  simulation& sim_;
  oracle& judge_;
  node_id node_;
  std::uint64_t replacements_ = 0;
  std::map<shard_id, summary> cache_; ///< as a real machine has one: `replaced` must come when it is void
};

} // namespace parley::fuzz

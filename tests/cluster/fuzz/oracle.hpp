#pragma once
// The invariants that must always hold. The oracle sees every node from outside and knows
// nothing of Raft's internals.
//
// The commands of a shard form one history, across leaders, terms and generations. The machine under
// test counts what it has applied and chains a hash over it, so one comparison per applied command
// checks most of the promises. Replicas that differ, a committed entry that changes, a command that is
// applied twice or after a seal, a lost acknowledgement, and two live generations all make two nodes
// disagree on the n-th command of a shard.
#include "cluster/replication/replication.hpp"
#include "tests/cluster/fuzz/simulation.hpp"

#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

namespace parley::fuzz {

/// The row in which a test machine stores a summary of what it has applied of its shard.
struct summary {
  std::uint64_t count = 0;  ///< commands applied, over all generations
  std::uint64_t chain = 0;  ///< hash over all of them, in order
  std::uint64_t digest = 0; ///< hash over the key-value rows, in any order
  bool operator==(const summary&) const = default;
};

class oracle {
public:
  explicit oracle(simulation& sim) : sim_{sim} {}

  // --- the harness's calls to the engine, recorded when they are made --------------------------------------
  void proposed(node_id on, shard_id shard, std::uint64_t ticket);
  void read_asked(node_id on, shard_id shard, std::uint64_t ticket);
  void seal_asked(node_id on, shard_id shard, generation gen, std::vector<cluster::member> next,
                  std::uint64_t ticket);
  /// All requests that this node has not answered remain unknown for ever.
  void crashed(node_id node);
  /// An older copy of that disk has taken its place: what was synced may have decreased.
  void put_back(node_id node, disk_id disk);

  // --- the engine's results --------------------------------------------------------------------------------
  void applied(node_id on, const cluster::log_position& at, std::uint64_t id, const summary& after,
               std::uint64_t ticket);
  void refused(node_id on, const cluster::refused& answer);
  /// `seen` is what a read transaction shows that begins now; empty if the shard has no state here.
  void read_ready(node_id on, std::uint64_t ticket, const std::optional<summary>& seen);
  void led(node_id on, const cluster::leadership& news);
  /// `state` is this node's state after the turn that reported the seal; empty if other nodes reported
  /// the seal to it and it has lost its own state.
  void sealed(node_id on, const cluster::generation_sealed& news, const std::optional<summary>& state);
  /// Called after a turn whose batch has been synced.
  void durable_status(node_id on, disk_id disk, const cluster::replica_status& now);
  /// A whole state as it is stored on a disk.
  void state_found(node_id on, shard_id shard, const summary& said, std::uint64_t digest_of_rows);

  // --- queries of the harness ------------------------------------------------------------------------------
  void founded(shard_id shard, std::vector<cluster::member> members);
  std::uint64_t last_count(shard_id shard) const;
  std::optional<summary> at_count(shard_id shard, std::uint64_t count) const;
  std::uint64_t acks(shard_id shard) const;
  bool is_acked(std::uint64_t ticket) const;
  std::optional<shard_id> shard_of(std::uint64_t ticket) const;
  /// The members of the newest generation that has served, and of each seal that may have begun one since.
  std::vector<std::vector<cluster::member>> members_that_matter(shard_id shard) const;
  const std::vector<cluster::member>* members_of(shard_id shard, generation gen) const;
  std::size_t pending() const { return pending_.size(); }
  std::string describe_pending() const;

private:
  enum class kind { proposal, read, seal };
  enum class fate { pending, acked, certainly_not, unknown };
  struct question {
    kind what{};
    node_id on{};
    shard_id shard{};
    fate answer = fate::pending;
    std::uint64_t must_see = 0; ///< for a read: the number of commands acknowledged in this shard
                                ///< before it was requested
    std::vector<cluster::member> next;
  };
  struct applied_command {
    generation gen{};
    std::uint64_t term = 0;
    std::uint64_t index = 0;
    std::uint64_t id = 0;
    summary after;
  };
  struct attempt {
    generation gen{};
    std::vector<cluster::member> next;
  };
  struct shard_record {
    std::vector<applied_command> history;
    std::uint64_t acked_count = 0; ///< the highest acknowledged position in `history`
    std::uint64_t acks = 0;
    std::map<generation, std::vector<cluster::member>> members;
    std::map<generation, std::uint64_t> ended_at; ///< the last command of each sealed generation
    generation served{};                          ///< the newest one whose leader was ready
    std::vector<attempt> attempts;
  };
  struct durable {
    std::uint64_t term = 0;
    std::uint64_t applied = 0;
  };

  question* ask(std::uint64_t ticket, question q);
  question* answer(node_id on, std::uint64_t ticket, kind expected, const char* with);
  std::string where(node_id on, shard_id shard) const;
  void knows_members(node_id on, shard_id shard, generation gen, const std::vector<cluster::member>& members);
  void ended(node_id on, shard_id shard, generation gen, std::uint64_t count);
  void leads(node_id on, shard_id shard, generation gen, std::uint64_t term, node_id leader);

  simulation& sim_;
  std::map<shard_id, shard_record> shards_;
  std::map<std::uint64_t, question> questions_;
  std::set<std::uint64_t> pending_;
  std::map<std::uint64_t, std::uint64_t> position_; ///< command → its position in the history of its shard
  std::map<std::tuple<shard_id, generation, std::uint64_t>, node_id> leaders_;
  std::map<std::tuple<node_id, disk_id, shard_id, generation>, durable> durable_;
};

} // namespace parley::fuzz

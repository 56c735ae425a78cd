#pragma once
// What a node knows of its shards, as plain values: who holds a replica, who leads, how far each has got.
// `cluster/replication` fills them in; actors, metrics and pages read them.
#include "protocol/values/types.hpp"

#include <compare>
#include <cstdint>
#include <string>
#include <vector>

namespace parley::core {

/// One disk's part in a shard. In Raft it counts as another voter than the same node with another disk.
struct member {
  node_id node{};
  disk_id disk{};
  template <class F>
  auto fields(F&& f) {
    return f(node, disk);
  }
  auto operator<=>(const member&) const = default;
};

/// When a leadership began. Later leaderships compare greater.
struct leadership_start {
  generation gen{};
  std::uint64_t term = 0;
  template <class F>
  auto fields(F&& f) {
    return f(gen, term);
  }
  auto operator<=>(const leadership_start&) const = default;
};

/// This node's view of a shard's leader, whenever it changes.
struct leadership {
  shard_id shard{};
  generation gen{};
  std::uint64_t term = 0;
  node_id leader{};   ///< `none`: unknown
  bool ready = false; ///< leader is this node and an entry of its own term has applied: serve
  /// A replica on this node votes and follows, so it knows better than other nodes who leads. Without it (it
  /// halted, was sealed, or waits for its state) `leader` is what was known last, or a guess.
  bool takes_part = false;
};
/// For metrics, `parley top` and tests.
struct replica_status {
  shard_id shard{};
  generation gen{};
  std::vector<member> members;
  std::uint64_t term = 0;
  std::uint64_t commit_index = 0;
  std::uint64_t applied_index = 0;
  std::uint64_t last_index = 0;
  node_id leader{};
  /// halted: it met a command, a row or a record that it cannot take, and takes no part until this node is
  /// started with a program that can (or the replica is replaced).
  enum class role : std::uint8_t {
    follower,
    candidate,
    leader,
    installing,
    sealed,
    waiting_for_state,
    halted
  } as{};
  std::string halted_because; ///< a sentence for the operator; empty in other roles
};

} // namespace parley::core

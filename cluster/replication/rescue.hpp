#pragma once
// The last resort for a shard whose majority is lost for good: one survivor goes on alone, with what it has
// (docs/decisions/0032).
//
// It ends the generation as a seal would, with itself as the only member of the next one, and takes all entries of its
// log as committed. What others had acknowledged beyond that is lost. A member of the old generation that comes back
// learns of the succession and gives up its replica, so only the most advanced survivor may be rescued, and only one.
//
// What is lost had numbers, and others may have it under them: other shards, and clients. So a command in the
// survivor's log counts the rescue, and what is numbered behind it gets numbers that nothing had (docs/decisions/0049).
// The entries of a survivor that has any of the last term that it knows stand before that command: they may be committed,
// and others may have applied them under the same numbers. That is so of a leader as well: it answers, and sends news to
// other shards, before its own disk says that an entry was committed. The entries of a survivor that knows of a later term
// than theirs may not be what that term committed: they stand behind the command.
//
// Thread: any, on the environment of a stopped node.
#include "cluster/replication/replica_record.hpp"
#include "storage/environment.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

namespace parley::cluster {

struct rescue_view {
  generation gen{};
  std::vector<member> members;
  std::uint64_t term = 0;
  std::uint64_t applied = 0;
  std::uint64_t last = 0;      ///< of the log; (last_term, last) is how advanced this survivor is
  std::uint64_t last_term = 0; ///< its term
  /// What other members had said that they have stored, if it is more than `last`.
  struct more {
    node_id node{};
    known_position position;
  };
  std::vector<more> known_elsewhere;
};

/// Error: a sentence that says why this replica cannot go on alone.
tl::expected<rescue_view, std::string> look_at(storage::read_txn& txn, shard_id shard, member self);
/// Durable with the transaction's commit. `counting` is the command that counts the rescue (core::count_rescue), encoded
/// for the shard. Error: as of `look_at`, and nothing is written.
tl::expected<rescue_view, std::string> rescue(storage::write_txn& txn, shard_id shard, member self,
                                              std::string_view counting);

} // namespace parley::cluster

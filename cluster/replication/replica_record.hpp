#pragma once
// The record of a replica in `table::node`, one row per shard, and the rows of its log in `table::log`.
#include "actors/core/archive.hpp"
#include "cluster/replication/replication.hpp"
#include "protocol/values/codec.hpp"

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace parley::cluster {

/// How one generation ended and the next began.
struct succession {
  static constexpr auto inside = core::nested::grows;
  generation ended{};
  std::uint64_t seal_index = 0; ///< in the generation that ended; 0: not known here
  std::uint64_t seal_term = 0;
  std::vector<member> before;
  std::vector<member> next;
  template <class F>
  auto fields(F&& f) {
    return f(ended, seal_index, seal_term, before, next);
  }
  generation next_gen() const { return generation{static_cast<std::uint32_t>(number(ended) + 1)}; }
};

/// What a member has stored at least, as it said to this one.
struct known_position {
  std::uint64_t term = 0;
  std::uint64_t index = 0; ///< if one of the two was the other's leader in this term
  template <class F>
  auto fields(F&& f) {
    return f(term, index);
  }
};

struct replica_record {
  /// live: a member of a Raft group. waiting: named by a seal and without state yet; it neither votes nor
  /// answers. sealed: its generation has ended, and the state is kept for the successors. tombstone: the
  /// state is erased too.
  enum class life : std::uint8_t { live = 1, waiting = 2, sealed = 3, tombstone = 4 };
  life as = life::live;
  generation gen{};
  std::uint8_t slot = 0; ///< of `table::state`, with the live rows; the other slot is for transfers
  std::uint8_t other_slot_dirty = 0; ///< 1: rows may stand there: erase them before it is used
  std::uint64_t term = 1;
  std::uint64_t vote = 0;
  std::uint64_t snapshot_index = 1; ///< a group starts with a snapshot at 1: the state that it was given
  std::uint64_t snapshot_term = 1;
  std::uint64_t first_index = 2; ///< log rows below it are to be erased
  std::uint64_t applied_index = 1;
  std::uint64_t applied_term = 1;
  std::vector<member> members;
  std::optional<succession> origin; ///< live, waiting: how this generation began (none for the first)
  std::optional<succession> ending; ///< sealed, tombstone
  /// Of the entry behind `applied_index`, the commands that are applied: the replica halted at the next one.
  std::uint32_t applied_commands = 0;
  /// Of each of `members`, or empty. It is written when something else of the record is, so a crash may take it back a
  /// little.
  std::vector<known_position> known;
  template <class F>
  auto fields(F&& f) {
    return f(as, gen, slot, other_slot_dirty, term, vote, snapshot_index, snapshot_term, first_index,
             applied_index, applied_term, members, origin, ending, applied_commands, known);
  }
};

inline constexpr std::size_t members_max = 16;

std::string record_key(shard_id shard);
/// Of a row that stands while a row of the replica's state that applying needs is damaged.
std::string damage_key(shard_id shard);
std::string encode(const replica_record& record);
/// As a whole: the replica writes it again. One without what its life needs (see `origin` and `ending`) is
/// damaged.
core::decoded<replica_record> decode_record(std::string_view bytes);
/// Calls `visit(shard, bytes)` for the row of each replica.
void each_record(storage::read_txn& txn, const std::function<void(shard_id, std::string_view)>& visit);

/// The payload of a seal: the members of the next generation.
struct seal {
  std::vector<member> next;
  template <class F>
  auto fields(F&& f) {
    return f(next);
  }
};
core::decoded<seal> decode_seal(std::string_view bytes);

/// The Raft id of a voter: of one disk in one generation, never 0.
std::uint64_t raft_id(shard_id shard, generation gen, const member& who);

// --- log rows ----------------------------------------------------------------------------------------------
/// On the wire and on disk: never renumber. A replica halts at the entry of a kind that it does not know.
enum class entry_kind : std::uint8_t { commands = 1, barrier = 2, seal = 3 };

/// Stands in an envelope in front of what the entry holds. The shard is its first field in every version, so
/// that a node can tell whose row it is that it cannot read.
struct row_header {
  shard_id shard{};
  generation gen{};
  entry_kind kind{};
  std::uint64_t index = 0;
  std::uint64_t term = 0;
  template <class F>
  auto fields(F&& f) {
    return f(shard, gen, kind, index, term);
  }
};
/// A row with an empty header, to which what the entry holds is appended: nobody copies that again.
std::string begin_row(std::size_t payload_bytes = 0);
/// Overwrites the header of `row`, which `begin_row` began.
void put_row_header(std::string& row, const row_header& h);
/// As a whole where the entry is to be applied. Who only looks on takes a longer one, too.
core::decoded<row_header> get_row_header(std::string_view row, core::reading how);
/// What the entry holds: all behind the envelope of the header, which may be of any length.
std::string_view row_payload(std::string_view row);
/// Whose row it is, even if its header is of another version.
std::optional<shard_id> shard_of_row(std::string_view row);
std::string log_key(std::uint64_t sequence);

} // namespace parley::cluster

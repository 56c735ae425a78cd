#pragma once
// What a replica remembers in `table::node`, one row per shard, and where its log rows stand in `table::log`.
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
  generation ended{};
  std::uint64_t seal_index = 0; ///< in the generation that ended; 0: not known here
  std::uint64_t seal_term = 0;
  std::vector<member> before;
  std::vector<member> next;
  generation next_gen() const { return generation{static_cast<std::uint32_t>(number(ended) + 1)}; }
};

struct replica_record {
  /// live: a Raft group's member. waiting: named by a seal, without state yet: it neither votes nor answers.
  /// sealed: its generation ended, the state is kept for the successors. tombstone: the state is gone too.
  enum class life : std::uint8_t { live = 1, waiting = 2, sealed = 3, tombstone = 4 };
  life as = life::live;
  generation gen{};
  std::uint8_t slot = 0;         ///< of `table::state`: the live one; the other stages a transfer
  bool other_slot_dirty = false; ///< rows may stand there: erase them before it is used
  std::uint64_t term = 1;
  std::uint64_t vote = 0;
  std::uint64_t snapshot_index = 1; ///< a group starts as if 1 had been a snapshot: the state it was given
  std::uint64_t snapshot_term = 1;
  std::uint64_t first_index = 2; ///< log rows below are left-overs
  std::uint64_t applied_index = 1;
  std::uint64_t applied_term = 1;
  std::vector<member> members;
  std::optional<succession> origin; ///< live, waiting: what began this generation (none for the first)
  std::optional<succession> ending; ///< sealed, tombstone
};

inline constexpr std::size_t members_max = 16;

std::string record_key(shard_id shard);
std::string encode(const replica_record& record);
/// None if the bytes are not exactly a record.
std::optional<replica_record> decode_record(std::string_view bytes);
/// `visit(shard, bytes)` for each replica's row.
void each_record(storage::read_txn& txn, const std::function<void(shard_id, std::string_view)>& visit);

void put_succession(writer& out, const succession& s);
succession get_succession(reader& in);
/// A seal's payload: the members that go on.
std::string encode_members(const std::vector<member>& members);
std::optional<std::vector<member>> decode_members(std::string_view bytes);

/// The id of one disk in one generation, never 0: what Raft counts as a voter.
std::uint64_t raft_id(shard_id shard, generation gen, const member& who);

// --- log rows ---------------------------------------------------------------------------------------------
enum class entry_kind : std::uint8_t { commands = 1, barrier = 2, seal = 3 };
inline constexpr std::size_t row_header_bytes = 2 + 4 + 1 + 8 + 8;

struct row_header {
  shard_id shard{};
  generation gen{};
  entry_kind kind{};
  std::uint64_t index = 0;
  std::uint64_t term = 0;
};
/// Writes over the first `row_header_bytes` of `row`.
void put_row_header(std::string& row, const row_header& h);
std::optional<row_header> get_row_header(std::string_view row);
std::string log_key(std::uint64_t sequence);

} // namespace parley::cluster

#pragma once
// All replicas that one LMDB environment holds, as one deterministic machine.
//
// Why one object and one thread, not one per shard: every shard of a node shares one transaction and one
// sync per batch, so its Raft machines wait for the same disk anyway; stepping them on the writer's thread
// saves two hand-overs per entry, and the fuzzer runs exactly this code (virtual time, network and disk).
//
//   inputs: tick, receive, propose, read, seal, transfer …    (any number, in any order)
//   begin_turn(now) ─► frames that may leave before the sync (AppendEntries: the followers' syncs overlap ours)
//   write(txn)      ─► applies what is committed, appends what is new; the machine's answers may leave now:
//                      the entries behind them are on a majority's disks
//   txn.commit()       one sync for everything, or none if it only applied
//   end_turn()      ─► frames that had to wait (votes, acknowledgements), and events
//
// Thread: the store's, for everything. Deterministic: no clock, no threads, no randomness but `config.seed`.
#include "actors/core/shards.hpp"
#include "protocol/values/errors.hpp"
#include "protocol/values/settings.hpp"
#include "protocol/values/types.hpp"
#include "storage/environment.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace parley::cluster {

using core::leadership;
using core::member;
using core::replica_status;
using milliseconds = std::chrono::milliseconds;
/// Monotone milliseconds; a test's are virtual.
enum class mono_ms : std::int64_t {};

struct replication_config {
  node_id node{};
  disk_id disk{};
  std::uint64_t seed = 1;                                              ///< election jitter only
  milliseconds election_timeout = settings::election_timeout.standard; ///< libraft draws from [t, 2t)
  milliseconds heartbeat_every = settings::raft_heartbeat.standard;
  milliseconds read_round_timeout{1000}; ///< a ReadIndex round without a majority answers `unavailable`
  milliseconds snapshot_retry_after{2000};
  std::uint32_t inflight_entries_max = 4096; ///< per follower
  std::size_t frame_bytes_max = 256 << 10;   ///< bulk ahead of a heartbeat
  std::size_t snapshot_chunk_bytes = 128 << 10;
  std::size_t pending_proposals_max = 8192; ///< per shard; above: `overloaded`
  std::size_t entry_bytes_max = 256 << 10;  ///< commands of one turn share an entry up to this
  std::size_t log_entries_kept = 2048;      ///< per shard, behind the applied index, for slow followers
  std::size_t log_bytes_kept = 8 << 20;
  std::size_t log_cache_bytes = 512 << 10; ///< per shard, of applied entries held in memory for followers
  std::size_t apply_entries_max = 4096;    ///< per turn and shard
  std::uint32_t transfers_max = 4;         ///< state transfers out at a time: each pins a read transaction
  std::uint32_t transfer_chunks_max = 2;   ///< of one transfer on their way
  milliseconds transfer_time_max{30'000};  ///< then it starts again, from a newer state
  milliseconds announce_every{1000};       ///< how often successors that did not confirm are told
  std::size_t trim_rows_max = 4096;        ///< per turn and shard, of log or of an abandoned slot
};
/// `none`, or which field cannot be run with.
std::optional<std::string> validate(const replication_config& config);

/// Where in the log a command stands.
struct log_position {
  shard_id shard{};
  generation gen{};
  std::uint64_t term = 0;
  std::uint64_t index = 0;
};

/// What Raft applies. A replica that cannot apply what the others applied has to stop: no errors, no throws.
class state_machine {
public:
  virtual ~state_machine() = default;
  /// In log order, inside the store's open transaction. Reads nothing but `state` and `command`.
  /// `ticket` is the proposer's, or 0 when the command was not proposed on this node in this term.
  virtual void apply(storage::shard_txn& state, const log_position& at, std::string_view command,
                     std::uint64_t ticket) = 0;
  /// The shard's whole state was replaced (snapshot, or a successor's start): forget what is cached of it.
  virtual void replaced(shard_id shard) = 0;
};

/// Bytes for one peer. FIFO and free of duplicates per peer, or lost from some point on (`peer_reset`).
struct frame {
  node_id to{};
  std::string bytes;
};

/// A proposal or read that will not be answered by `apply`/`read_ready`.
struct refused {
  std::uint64_t ticket = 0;
  ec why{};         ///< not_leader, overloaded, sealed, disk_full, too_large: certainly not stored;
                    ///< timed_out: it may still be applied (leadership was lost with it in the log)
  node_id leader{}; ///< a hint, or `none`
};
/// All that was acknowledged anywhere before `read` was called is visible to new read transactions.
struct read_ready {
  std::uint64_t ticket = 0;
};
/// A generation of a shard ended here; `next` holds the members that go on.
struct generation_sealed {
  shard_id shard{};
  generation next_gen{};
  std::vector<member> next;
};

struct events {
  std::vector<leadership> leaderships;
  std::vector<refused> refusals;
  std::vector<read_ready> reads;
  std::vector<generation_sealed> seals;
  bool empty() const { return leaderships.empty() && refusals.empty() && reads.empty() && seals.empty(); }
};

struct turn {
  std::vector<frame> frames;
  events news;
};

class replication {
public:
  replication(replication_config config, state_machine& machine);
  ~replication();
  replication(const replication&) = delete;
  replication& operator=(const replication&) = delete;

  /// Loads every replica of `env`. Once, before anything else. `corrupt` if the log fails its checks.
  ec open(storage::environment& env, mono_ms now);

  /// Makes this node a member of generation 1 of `shard`, durably, through `txn`. Idempotent: a shard that
  /// has a replica or a tombstone here is left alone. Call before `open`.
  static void found(storage::write_txn& txn, shard_id shard, const std::vector<member>& members, member self);

  // --- inputs -----------------------------------------------------------------------------------------
  void tick(mono_ms now);
  void receive(node_id from, std::string_view frame_bytes, mono_ms now);
  /// The link to `peer` was lost or begins anew: what was under way to or from it is gone.
  void peer_reset(node_id peer);
  /// Answered once: by `state_machine::apply` with `ticket`, or by a `refused`. `ticket` != 0.
  void propose(shard_id shard, std::uint64_t ticket, std::string command);
  /// ReadIndex: answered by `read_ready` or `refused`, after a round begun after this call.
  void read(shard_id shard, std::uint64_t ticket);
  void transfer_leadership(shard_id shard, node_id to);
  /// Ends this generation; `next` goes on. Leader only. `ticket` is refused, or answered by
  /// `generation_sealed`.
  void seal(shard_id shard, std::vector<member> next, std::uint64_t ticket);

  // --- one turn -----------------------------------------------------------------------------------------
  /// Anything for `write` to do? If not, `begin_turn`'s and `end_turn`'s frames can go without a transaction.
  bool wants_write() const;
  turn begin_turn(mono_ms now);
  /// Answers when its commit has to be durable: a turn that only applied can be lost again, for what it
  /// applied is on a majority's disks.
  storage::durable write(storage::write_txn& txn, const storage::space& room);
  turn end_turn(mono_ms now);

  /// When `tick` wants to be called next.
  mono_ms next_tick() const;
  std::vector<replica_status> status() const;
  std::optional<replica_status> status(shard_id shard) const;
  /// The slot under which `shard`'s state rows stand, for readers. Reads the replica's record.
  static std::optional<std::uint8_t> state_slot(storage::read_txn& txn, shard_id shard);

private:
  class impl;
  std::unique_ptr<impl> impl_;
};

} // namespace parley::cluster

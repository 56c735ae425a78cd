#pragma once
// All replicas of one environment, as one deterministic machine.
//
// It is one object on one thread, and not one per shard, because all shards of a node share one
// transaction and one sync per batch: their Raft machines wait for the same disk anyway. Running them on
// the writer's thread saves two hand-overs per entry, and the fuzzer runs exactly this code (virtual
// time, network and disk).
//
//   inputs: tick, receive, propose, read, seal, transfer …    (any number, in any order)
//   begin_turn(now) ─► frames that may be sent before the sync (AppendEntries: the followers sync meanwhile)
//   write(txn)      ─► applies committed entries and appends new ones; answers of the machine may be sent
//                      now, because their entries are on the disks of a majority
//   txn.commit()       one sync for everything, or none if it only applied
//   end_turn()      ─► frames that had to wait (votes, acknowledgements), and events
//
// Thread: the store's. Deterministic: no clock, no threads, no randomness except `config.seed`.
#include "actors/core/shards.hpp"
#include "protocol/values/config_fault.hpp"
#include "protocol/values/errors.hpp"
#include "protocol/values/node_limits.hpp"
#include "protocol/values/settings.hpp"
#include "protocol/values/types.hpp"
#include "storage/disk_fault.hpp"
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
/// Monotonic milliseconds, virtual in tests.
enum class mono_ms : std::int64_t {};

/// The links to other nodes, as far as replicas have to know: they send no more than a link takes.
class peer_links {
public:
  virtual ~peer_links() = default;
  /// The bytes of frames that wait to be received by the peer's link; `none` without a session.
  virtual std::optional<std::size_t> waiting(node_id peer) const = 0;
};

struct replication_config {
  node_id node{};
  disk_id disk{};
  std::string data_file = "the data file"; ///< as sentences for the operator name it
  std::uint64_t seed = 1;                  ///< of election jitter, nothing else
  milliseconds election_timeout = settings::election_timeout.standard; ///< libraft draws from [t, 2t)
  milliseconds heartbeat_every = settings::raft_heartbeat.standard;
  /// After `open`, this node neither votes nor stands for election in a shard until each other member has said what it
  /// knows of this replica, or this long: whoever knows that this disk forgot can say so first.
  milliseconds votes_after{0};
  milliseconds read_round_timeout{1000}; ///< after it a ReadIndex round ends with `unavailable`
  milliseconds snapshot_retry_after{2000};
  std::uint32_t inflight_entries_max = 4096; ///< per follower
  std::size_t frame_bytes_max = raft_frame_bytes_max;
  std::size_t link_bytes_max =
      raft_link_bytes_max; ///< of frames that wait for a peer; then no entries follow
  /// Of one shard's entries that a follower has not acknowledged. One that has not acknowledged any in this
  /// session of the link is sent one frame.
  std::size_t flight_bytes_max = raft_flight_bytes_max;
  std::size_t snapshot_chunk_bytes = state_chunk_bytes_max;
  std::size_t pending_proposals_max = 8192; ///< per shard; more are refused with `overloaded`
  std::size_t entry_bytes_max = parley::entry_bytes_max;
  std::size_t log_entries_kept = 2048; ///< per shard, behind the applied index, for slow followers
  std::size_t log_bytes_kept = 8 << 20;
  /// Per shard. Up to this size the log also keeps what a follower needs that is alive, or is sent the state.
  std::size_t log_bytes_needed_max = 128 << 20;
  std::size_t log_cache_bytes = 512 << 10; ///< per shard, of applied entries held in memory for followers
  /// An applied entry leaves memory when it is between once and twice as old. Few rows of a shard that goes on being
  /// written would keep all the pages from being free on which they lay among the rows of a burst.
  milliseconds log_cache_time{5'000};
  std::size_t apply_entries_max = 4096; ///< per turn and shard
  std::size_t apply_bytes_max =
      16 << 20;                    ///< of entries, per turn and of all shards; each may apply one beyond it
  std::uint32_t transfers_max = 4; ///< outgoing state transfers at a time; each pins a read transaction
  std::uint32_t transfer_chunks_max = 2; ///< unacknowledged, of one transfer
  /// A transfer of which fewer chunks than `transfer_chunks_min` arrive within this time starts again with a newer
  /// state, because it pins an old one.
  milliseconds transfer_time_max{30'000};
  std::uint32_t transfer_chunks_min = 32;
  /// What storage keeps free for votes, applies and trimming. Below half of it no entries are taken either, whatever a
  /// leader sends: a process whose commit fails for want of space ends, with all its votes and reads.
  std::uint64_t reserve_bytes = settings::disk_reserve.standard;
  /// Of the logs of all shards led here. A member whose disk has no room is sent what it lacks only if that is no more,
  /// and then only if the others are no majority without it.
  std::size_t full_backlog_bytes_max = 8 << 20;
  milliseconds announce_every{1000}; ///< interval of announcements to successors that have not confirmed
  std::size_t trim_rows_max = 1024;  ///< per turn, of all shards: rows of logs and of abandoned slots
};
config_check validate(const replication_config& config);

/// The position of a command in the log.
struct log_position {
  shard_id shard{};
  generation gen{};
  std::uint64_t term = 0;
  std::uint64_t index = 0;
};

/// What Raft applies.
class state_machine {
public:
  virtual ~state_machine() = default;
  /// In log order, inside the store's open transaction. Reads nothing but `state` and `command`.
  /// `ticket` is the proposer's, or 0 when the command was not proposed on this node in this term.
  /// A replica that cannot apply what the others apply has to stop: then this answers why not, in a sentence
  /// for the operator, having written nothing, and the replica halts. Nothing is thrown.
  [[nodiscard]] virtual std::optional<std::string> apply(storage::shard_txn& state, const log_position& at,
                                                         std::string_view command, std::uint64_t ticket) = 0;
  /// The shard's whole state was replaced (snapshot, or a successor's start): forget what is cached of it.
  virtual void replaced(shard_id shard) = 0;
};

/// Bytes for one peer. They arrive in order and without duplicates, or are lost from
/// some point on (`peer_reset`).
struct frame {
  node_id to{};
  std::string bytes;
};

/// The answer to a proposal or read that `apply` or `read_ready` will not answer.
struct refused {
  std::uint64_t ticket = 0;
  ec why{};         ///< not_leader, overloaded, sealed, disk_full, too_large: certainly not stored;
                    ///< timed_out: it may still be applied (leadership was lost with it in the log)
  node_id leader{}; ///< a hint, or `none`
};
/// Everything that was acknowledged on any node before `read` was called is visible to new read transactions.
struct read_ready {
  std::uint64_t ticket = 0;
};
/// A generation of a shard has ended on this node; `next` has the members of the next one.
struct generation_sealed {
  shard_id shard{};
  generation next_gen{};
  std::vector<member> next;
};

/// A replica takes no part any more: it met what it cannot take. Its rows are as they were before.
struct replica_halted {
  log_position at; ///< the entry; index 0: its record or log could not be read when the node started
  std::string why;
};

/// Another node knows that a replica here had stored more than is there: this disk is an older one, or lost
/// something. The replica has halted; nothing of this node may count towards a majority any more.
struct disk_forgot {
  log_position has; ///< what is there
  node_id by{};     ///< who knows better
  std::uint64_t term = 0;
  std::uint64_t index = 0;
};

/// A leader of a term that is not older contradicts an entry that is committed here. One of the two has lost what was
/// acknowledged: a disk forgot, and nobody noticed.
struct replicas_diverged {
  log_position at; ///< as it is here
  node_id by{};    ///< the leader
};

/// A member that a leader does not hear of: its node is away, or it has another disk now.
struct silent_member {
  shard_id shard{};
  member who;
};

/// A member that answers a leader, and has not stored all that is committed.
struct lagging_member {
  shard_id shard{};
  member who;
  std::uint64_t behind = 0; ///< committed entries that it has not stored, as far as the leader knows
  bool forgot = false;      ///< it has less than it had confirmed to the leader
};

struct events {
  std::vector<leadership> leaderships;
  std::vector<refused> refusals;
  std::vector<read_ready> reads;
  std::vector<generation_sealed> seals;
  std::vector<replica_halted> halts;
  std::vector<disk_forgot> forgets;
  std::vector<replicas_diverged> divergences; ///< once for each replica and leader
  std::uint64_t refused_messages = 0;         ///< of peers: of an unknown kind or version, or not readable
  std::uint64_t followers_forgot = 0; ///< followers that have less than they had confirmed to a leader here
  std::vector<shard_id> damaged;      ///< replicas of which a row turned out to be damaged, each once
  std::vector<shard_id> mended;       ///< of those: replicas that got the state of another one
  std::optional<bool> has_room;       ///< the disk has begun, or ceased, to have room for proposals
  std::optional<bool> disk_slow;      ///< its syncs have begun, or ceased, to take long
  bool empty() const {
    return leaderships.empty() && refusals.empty() && reads.empty() && seals.empty() && halts.empty() &&
           forgets.empty() && divergences.empty() && refused_messages == 0 && followers_forgot == 0 &&
           damaged.empty() && mended.empty() && !has_room && !disk_slow;
  }
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

  /// Loads every replica of `env`. Once, before anything else. A replica whose record or log cannot be read
  /// is halted. `corrupt` if a row fails its checksum, or if it is unknown which replica it belongs to: then the
  /// process has to stop, because the log may lack what was acknowledged. `env` and `links` outlive this object.
  std::optional<storage::disk_fault> open(storage::environment& env, const peer_links& links, mono_ms now);

  /// Makes this node a member of generation 1 of `shard`, durably, through `txn`. Idempotent: a shard that
  /// has a replica or a tombstone here is left alone. Call before `open`.
  static void found(storage::write_txn& txn, shard_id shard, const std::vector<member>& members, member self);

  // --- inputs ----------------------------------------------------------------------------------------------
  void tick(mono_ms now);
  void receive(node_id from, std::string_view frame_bytes, mono_ms now);
  /// A session with `peer` begins: each side first says what it knows of the other's replicas. To be called before
  /// anything is received in it.
  void peer_begun(node_id peer);
  /// The session with `peer` was lost or a new one begins: everything under way to or from it is lost.
  void peer_reset(node_id peer);
  /// Is answered once: by `state_machine::apply` with `ticket`, or by a `refused`. `ticket` != 0.
  /// Without room at this node, or at so many members that the others are no majority, only what frees room is
  /// taken; its entries use the reserve.
  void propose(shard_id shard, std::uint64_t ticket, std::string command, bool frees_room = false);
  /// ReadIndex. Is answered by `read_ready` or `refused`, after a round that began after this call.
  void read(shard_id shard, std::uint64_t ticket);
  void transfer_leadership(shard_id shard, node_id to);
  /// The same, unless anything speaks against a hand-over that nobody needs: a member of a shard led here that does not
  /// answer, state on its way, a slow disk here, or what `replica::may_offer` looks at. Says whether it was begun.
  bool offer_leadership(shard_id shard, node_id to);
  /// Hands every leadership held here to another member that has answered lately: to one that has room and knows of
  /// no damaged row, if there is one. A member that is dead, or whose replica halted, would only block the shard
  /// meanwhile. (A leader gives every member an election time-out to answer for the first time.) May be called
  /// again while some remain: each call tries the next member.
  void hand_over_all();
  /// The disk has synced a turn, in so much real time. A node whose syncs take several times as long as those of others
  /// hands them what it leads.
  void synced(milliseconds took, mono_ms now);
  /// A reader has found a row of the shard's state here that does not match its checksum. Log and votes are good,
  /// so the replica goes on following, and leads only if no other member can: whoever leads is asked to read. That
  /// leader sends it its own state, if the others that answer are a majority meanwhile.
  void damaged(shard_id shard);
  /// Ends this generation; `next` are the members of the next one. Leader only. `ticket` is refused,
  /// or answered by `generation_sealed`. `of`: the generation that is meant; if it has ended, the seal is refused as `sealed`.
  void seal(shard_id shard, std::vector<member> next, std::uint64_t ticket,
            std::optional<generation> of = {});

  // --- one turn --------------------------------------------------------------------------------------------
  /// Whether `write` has anything to do. If not, the frames of `begin_turn` and
  /// `end_turn` need no transaction.
  bool wants_write() const;
  /// Its news are only what has to be known before its frames leave: `forgets`.
  turn begin_turn(mono_ms now);
  /// Returns when its commit has to be durable: a turn that only applied may be lost in a crash, because what
  /// it applied is on the disks of a majority.
  storage::durable write(storage::write_txn& txn, const storage::space& room);
  turn end_turn(mono_ms now);

  /// After `write`: a command met a row of this shard that does not match its checksum. The transaction, with what other
  /// shards have written in it, cannot be committed: abandon it, call `remember_unreadable` in another one, and end the
  /// process. When it starts again, the replica applies nothing before it has got its leader's rows.
  std::optional<shard_id> unreadable() const;
  static void remember_unreadable(storage::write_txn& txn, shard_id shard);
  /// When `tick` has to be called next.
  mono_ms next_tick() const;
  std::vector<replica_status> status() const;
  /// Members of shards led here that have not answered within an election time-out, or have never answered this leader.
  std::vector<silent_member> silent_members() const;
  /// Of the others, those that lack entries. Of a new leader: once they have answered it.
  std::vector<lagging_member> lagging_members() const;
  std::optional<replica_status> status(shard_id shard) const;
  /// The shards that are led here and of which a majority of the members, without `node`, has stored all that is
  /// committed: that node's disk is not needed for them.
  std::vector<shard_id> whole_without(node_id node) const;
  /// The slot that has the state rows of `shard`, for readers. Reads the replica's record.
  static std::optional<std::uint8_t> state_slot(storage::read_txn& txn, shard_id shard);

private:
  class impl;
  std::unique_ptr<impl> impl_;
};

} // namespace parley::cluster

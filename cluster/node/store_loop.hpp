#pragma once
// What the STORE does, without the actor that it runs in: one LMDB environment, all Raft groups in it, and those who wait
// for them. It is told the time and never waits, so a simulator drives it as the actor does, with a disk whose syncs take
// virtual time.
//
//   inputs                         any number, in any order; what needs a turn asks the driver for one
//   begin(now)                  ─► frames that may leave before the sync
//   write()                        if `wants_write`: applies and appends
//   answer(now)                 ─► answers to what is on a majority's disks
//   commit()                       the sync, unless nothing needs it
//   committed(took, now)           after that sync
//   finish(now)                 ─► frames and answers that had to wait
//   shown(now)                     if `finish` says so
#include "actors/interfaces.hpp"
#include "cluster/machine/shard_machine.hpp"
#include "cluster/replication/attentive_clock.hpp"
#include "cluster/replication/replication.hpp"
#include "protocol/values/config_fault.hpp"
#include "protocol/values/node_limits.hpp"
#include "storage/environment.hpp"

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace parley::cluster {

/// Sends frames on the raft lane; if one cannot be sent, a `peer_lost` follows.
class raft_port : public peer_links {
public:
  virtual void send_raft(node_id to, std::string frame) = 0;
  /// The store has taken these frames out of its mailbox.
  virtual void taken(const std::vector<std::string>& /*frames*/) {}
  /// Nothing of this node may count any more. Called before anything else of the turn leaves.
  virtual void disk_forgot(const cluster::disk_forgot& /*what*/) {}
  virtual void diverged(const replicas_diverged& /*what*/) {}
};

/// Receives the store's commits for metrics, on the store's thread.
class store_observer {
public:
  virtual ~store_observer() = default;
  virtual void committed(std::size_t commands, std::chrono::nanoseconds sync) = 0;
  /// Messages of the Raft lane that this node does not know or cannot read.
  virtual void refused_messages(std::uint64_t n) = 0;
  /// Replicas on other nodes that have less than they had confirmed to a leader here.
  virtual void followers_forgot(std::uint64_t /*n*/) {}
  /// The disk has begun, or ceased, to have room for proposals.
  virtual void has_room(bool yes) = 0;
  /// A row of the shard's replica here is damaged, or no longer, because it got the state of another replica.
  virtual void damaged(shard_id shard, bool yes) = 0;
  /// Before each report: the members of shards led here that do not answer, and those that lack entries.
  virtual void members(std::vector<silent_member> silent, std::vector<lagging_member> lagging) = 0;
};

struct store_config {
  replication_config replication;
  std::size_t proposals_max = 16'384; ///< unanswered, of all shards; more are refused with `overloaded`
  std::size_t proposals_bytes_max = parley::proposals_bytes_max; ///< of their commands
  /// How long proposals that can wait are kept, so that one round takes several of them.
  std::chrono::milliseconds merge_within{100};
  /// While commands are applied, reads wait at most this long for a publish that shows them what they may rely
  /// on: a publish costs two syncs, and one answers all reads that wait.
  std::chrono::milliseconds publish_reads_every{20};
};
config_check validate(const store_config& config);

/// A row of `table::node` that is not replication's: what this node saw of another one.
struct node_row {
  std::string key, value;
  std::function<void()> durable; ///< called when it is, on the store's thread
};

struct store_wiring {
  std::unordered_map<std::uint16_t, shard_actor> shards;
  router_actor router;
  raft_port* peers = nullptr;         ///< outlives the store
  store_observer* observer = nullptr; ///< may be null
};

/// Whoever drives a loop. Called from inside the loop's own functions.
class store_driver {
public:
  virtual ~store_driver() = default;
  /// A turn shall begin behind all that has arrived by now. Not called again before that turn's `begin`.
  virtual void turn_soon() = 0;
  /// `propose_kept` shall be called after so long.
  virtual void propose_kept_in(std::chrono::milliseconds in) = 0;
  /// `show_reads` shall be called after so long.
  virtual void show_reads_in(std::chrono::nanoseconds in) = 0;
};

/// Owns:   the engine and its machine, and who waits for what.
/// Thread: its driver's; the environment's writer. `env`, `driver` and what is in the wiring outlive it.
/// Holds:  no input is handed in between `begin` and `finish`. Before `open` proposals and reads are refused, and
///         other inputs have no effect.
/// A data directory that cannot be used ends the process.
class store_loop {
public:
  using time_point = std::chrono::steady_clock::time_point;
  /// Stands between the log and the machine; a node has none.
  using watch_type = std::function<std::unique_ptr<state_machine>(state_machine& machine)>;

  store_loop(const store_config& config, storage::environment& env, store_driver& driver,
             const watch_type& watch = {});
  ~store_loop();
  store_loop(const store_loop&) = delete;
  store_loop& operator=(const store_loop&) = delete;

  // --- inputs ----------------------------------------------------------------------------------------------
  void open(store_wiring wiring, time_point now);
  bool is_open() const { return open_; }
  /// How long until the next one is due.
  std::chrono::milliseconds tick(time_point now);
  void propose(proposal_batch& batch);
  void propose_kept();
  void read(const fresh_read& r);
  void receive(const raft_payloads& p, time_point now);
  void lose(node_id peer);
  void meet(node_id peer);
  void keep(node_row row);
  void damaged(shard_id shard);
  void seal(const seal_request& r);
  void transfer(const transfer_request& r);
  void drain();
  bool show_reads(time_point now); ///< as `finish`
  void report(const report_sink& to);
  std::vector<shard_id> whole_without(node_id node) const;
  std::vector<replica_status> status() const { return engine_.status(); }
  /// The last one: what is committed can be read without the journal.
  void close();

  // --- a turn ----------------------------------------------------------------------------------------------
  /// Whether frames have left.
  bool begin(time_point now);
  bool wants_write() const;
  void write();
  void answer(time_point now);
  /// When what it committed has to be durable.
  storage::durable commit();
  void committed(std::chrono::nanoseconds took, time_point now);
  /// True: it has published for reads, which takes as long as two syncs. Then `shown` tells when that was over.
  bool finish(time_point now);
  void shown(time_point now) { reads_published_at_ = now; }

private:
  class results;
  /// The asker that waits for a ticket of the engine.
  struct waiting {
    result_sink reply_to;
    std::uint64_t ticket = 0;
    std::size_t bytes = 0; ///< of its command
    shard_id shard{};      ///< of a read
    read_subject about;    ///< the same
  };

  mono_ms clock(time_point now);
  void queue_turn();
  void hand_out_frames(turn& t);
  void report_halts(const events& news);
  std::uint64_t remember(const result_sink& reply_to, std::uint64_t ticket, std::size_t bytes = 0);
  std::optional<waiting> take(std::uint64_t engines_ticket);
  void hand_out(events& news);
  std::size_t hand_out_results(time_point now);
  void publish(storage::environment::publishing when);
  bool visible(const waiting& read) const;
  bool answer_reads(time_point now);
  bool has_room(const proposal& p) const;
  void propose(proposal& p);
  void wait_for_others(proposal& p);

  store_config config_;
  storage::environment& env_;
  store_driver& driver_;
  store_wiring wiring_;
  shard_machine machine_;
  std::unique_ptr<state_machine> watch_;
  replication engine_;
  attentive_clock clock_;
  std::uint64_t last_ticket_ = 0;
  std::unordered_map<std::uint64_t, waiting> proposals_; ///< by the engine's ticket; reads too
  std::vector<proposal> merging_;                        ///< proposals that can wait
  std::size_t bytes_ = 0;                                ///< of the commands of both
  std::vector<std::uint64_t> reads_;      ///< the engine's tickets of those whose rounds are over
  std::vector<std::uint64_t> late_reads_; ///< of those that wait for a publish
  time_point reads_published_at_{};
  bool reads_armed_ = false;
  std::vector<node_row> node_rows_; ///< for the next commit
  bool turn_queued_ = false;
  bool open_ = false;
  // Of the turn, from `write` to `committed`.
  std::unique_ptr<storage::write_txn> txn_;
  std::vector<node_row> written_rows_;
  storage::durable promised_{};
  std::size_t commands_ = 0;
};

} // namespace parley::cluster

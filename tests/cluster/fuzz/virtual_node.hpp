#pragma once
// One node: a disk, a clock of its own, a mailbox, and the engine, which runs on them turn by turn as
// it does on the store's thread.
#include "cluster/replication/replication.hpp"
#include "tests/cluster/fuzz/history_machine.hpp"
#include "tests/cluster/fuzz/oracle.hpp"
#include "tests/cluster/fuzz/virtual_network.hpp"
#include "tests/support/virtual_environment.hpp"

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace parley::fuzz {

struct disk_profile {
  micros sync_max = 4 * one_ms;
  micros slow_sync_max = 150 * one_ms;
  std::uint64_t slow_one_in = 60;
  std::uint64_t crash_in_sync_one_in = 400;    ///< while faults are on
  std::uint64_t crash_in_election_percent = 5; ///< of the batches that contain a new term
  micros election_sync = 20 * one_ms;          ///< how much longer the sync of such a batch takes
};

struct input {
  enum class kind { frame, reset, propose, read, transfer, seal, damage } what{};
  node_id peer{};
  shard_id shard{};
  std::uint64_t ticket = 0;
  std::string bytes;
  std::vector<cluster::member> next;
};

enum class death { in_sync, in_election };

/// What a node needs from its surroundings.
class node_user {
public:
  virtual ~node_user() = default;
  /// Called when the process dies in the middle of a sync.
  virtual void died(node_id node, death how) = 0;
  /// The operator's last check before a seal: a disk may have been lost since the decision.
  virtual bool may_seal(const std::vector<cluster::member>& next) = 0;
  /// Whether the disk of some node was ever put back to an older copy.
  virtual bool some_forgot() const = 0;
  /// That of this one was, and others said so.
  virtual void recognised(node_id node) = 0;
};

class virtual_node : public cluster::peer_links {
public:
  virtual_node(simulation& sim, oracle& judge, virtual_network& net, node_user& user,
               cluster::replication_config config, disk_profile disk);

  // --- the process -----------------------------------------------------------------------------------------
  void start();
  void crash(test::unsynced what);
  /// Replaces the disk by an empty one. Only allowed while the node is down.
  void lose_disk(disk_id next);
  /// The disk as it is, if a crash now would lose nothing of it.
  struct disk_copy {
    disk_id disk{};
    test::virtual_environment::copy_type tables;
  };
  std::optional<disk_copy> copy_disk() const;
  /// An old copy in the place of the disk. Only allowed while the node is down. As long as it has this disk, others may
  /// say that it forgot; then it stands still, as a node that fences itself.
  void put_back(const disk_copy& older);
  bool may_have_forgotten() const { return put_back_; }
  void pause(micros until);
  bool is_up() const { return engine_ != nullptr; }
  void give(input what);

  // --- its surroundings ------------------------------------------------------------------------------------
  void clock_jump(micros forward) { clock_ahead_ += forward; }
  void set_clock_rate(std::int64_t per_mille) { clock_rate_ = per_mille; }
  void set_room(storage::space room) { env_.set_room(room); }
  void set_slow(bool on) { slow_ = on; }
  void set_faults(bool on) { faults_ = on; }

  // --- the node's state ------------------------------------------------------------------------------------
  node_id id() const { return config_.node; }
  cluster::member self() const { return {config_.node, config_.disk}; }
  test::virtual_environment& env() { return env_; }
  std::optional<cluster::replica_status> status(shard_id shard) const;
  /// Returns an empty optional if this node has no state of that shard.
  std::optional<summary> state_of(shard_id shard);
  /// Compares all rows with their summary, and the summary with those of the other nodes.
  void check_state(shard_id shard);
  void check_all_states();
  std::string describe() const;
  /// What arrived and was not looked at.
  std::size_t mailbox_bytes() const;
  void print_mailbox() const; ///< the frames, for a person who reads a trace
  std::optional<std::size_t> waiting(node_id peer) const override { return net_.waiting(id(), peer); }

private:
  cluster::mono_ms clock() const;
  void wake(micros delay);
  void turn();
  void finish();
  void process(input what);
  void handle(cluster::turn result);
  void schedule_tick();
  /// Whether some replica's term rises in the current turn.
  bool term_rose() const;

  simulation& sim_;
  oracle& judge_;
  virtual_network& net_;
  node_user& user_;
  cluster::replication_config config_;
  disk_profile disk_;
  test::virtual_environment env_;
  std::unique_ptr<history_machine> machine_;
  std::unique_ptr<cluster::replication> engine_;
  std::deque<input> mailbox_;
  std::map<shard_id, std::pair<generation, std::uint64_t>> terms_; ///< as of the last sync
  std::uint64_t life_ = 0;
  std::uint64_t replacements_seen_ = 0;
  micros paused_until_ = 0;
  micros tick_at_ = -1;
  micros clock_ahead_ = 0;
  std::int64_t clock_rate_ = 1000;
  bool busy_ = false; ///< while a sync is in progress
  bool woken_ = false;
  bool slow_ = false;
  bool faults_ = true;
  bool put_back_ = false;
  bool fenced_ = false;
};

} // namespace parley::fuzz

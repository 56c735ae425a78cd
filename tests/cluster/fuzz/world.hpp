#pragma once
// One run: a cluster, its clients and operator, and all faults.
//
//   storm   faults of the kinds that the seed allows, under load
//   calm    all faults heal: each shard must acknowledge a new command within `progress_within`, replicas
//           must be equal and every request answered within `agree_within`; then the next storm begins
//   old copy  with `put_back`, after some calms: a node starts with an older copy of its disk, while all others
//           are there. If it lost what it had confirmed to them, it must be recognised, and is then a lost disk
//   outage  in half of the runs, after some calms: one node is away while the others write more than a link
//           holds. When it is back and the others go on, it must have that within `catch_up_within(bytes)`
#include "tests/cluster/fuzz/virtual_node.hpp"

#include <memory>
#include <set>
#include <string>
#include <vector>

namespace parley::fuzz {

struct run_options {
  std::uint64_t seed = 1;
  int nodes = 0;    ///< 3 or 5; with 0 the seed decides
  int seconds = 30; ///< virtual seconds of storms; calms are added to them
  bool print_trace = false;
  bool put_back = false; ///< disks are put back to older copies
  bool damages = false;  ///< replicas find damaged rows; else the runs of a seed are as they always were
  bool tear = false;     ///< a bug planted in the disk: a crash keeps part of a batch
};

struct outcome {
  std::string violation; ///< empty if there was none
  counts count;
  std::uint64_t trace_hash = 0;
};

outcome run(const run_options& options);

/// What the seed has decided about this run. Each run has other faults and leaves out some kinds, so
/// that some go deep.
struct profile {
  std::size_t nodes = 3;
  std::uint16_t shards = 1;
  micros propose_every = 10 * one_ms; ///< for each shard, on average
  micros read_every = 50 * one_ms;
  micros fault_every = 300 * one_ms;
  micros storm = 4 * one_second;
  std::size_t command_bytes_max = 64;
  micros down_max = 2 * one_second;
  bool has_outages = false;
  bool keeps_log = false; ///< a follower that was away finds all of it; else it may need the state
  network_profile network;
  disk_profile disk;
  cluster::replication_config engine;
  std::vector<int> weights; ///< one weight for each fault
};
profile draw_profile(const run_options& options, chance& luck);

class world : public network_user, public node_user {
public:
  explicit world(const run_options& options);
  outcome run(const run_options& options);

private:
  // --- faults (world_faults.cpp) ---------------------------------------------------------------------------
  void next_fault();
  void crash(virtual_node& node, micros down, test::unsynced what = test::unsynced::seeded);
  void power_loss();
  void partition();
  void cut_one_way();
  void isolate_leader();
  void flap();
  void pause(virtual_node& node);
  void fill_disk(virtual_node& node);
  void slow_disk(virtual_node& node);
  void lose_disk();
  void transfer();
  void burst(virtual_node& node);
  void keep_damaging();
  bool may_lose(const virtual_node& node) const;

  // --- clients and operator --------------------------------------------------------------------------------
  void found();
  void client_proposes(shard_id shard);
  void client_reads(shard_id shard);
  void operator_seals(shard_id shard);
  std::vector<cluster::member> next_members(const std::vector<cluster::member>& now);
  std::uint64_t propose(virtual_node& on, shard_id shard, std::size_t bytes);

  // --- the course of a run ---------------------------------------------------------------------------------
  void storm(micros until);
  void calm();
  void outage();
  void keep_a_copy(std::uint64_t storm);
  void put_an_old_copy_back();
  micros catch_up_within(std::size_t bytes) const;
  std::size_t mailbox_bytes_max(micros away) const;
  /// Proposes to all leaders until `bytes` more are in the log of each shard that they lead.
  void write_much(std::size_t bytes, micros within);
  void take_away(virtual_node& node, int how);
  void keep_paused(virtual_node& node);
  void bring_back(virtual_node& node);
  void until(micros deadline, const std::function<bool()>& reached);
  bool agreed(shard_id shard) const;
  void keep_probing(shard_id shard);
  std::string describe(shard_id shard) const;

  void died(node_id node, death how) override;
  bool may_seal(const std::vector<cluster::member>& next) override;
  bool some_forgot() const override { return sim_.count.rollbacks != 0; }
  void recognised(node_id node) override;
  bool is_up(node_id node) const override;
  void frame_arrived(node_id at, node_id from, std::string bytes) override;
  void connection_reset(node_id at, node_id peer) override;

  virtual_node& node(node_id id) { return *nodes_.at(number(id) - 1); }
  const virtual_node& node(node_id id) const { return *nodes_.at(number(id) - 1); }
  virtual_node& any_node() { return *nodes_[sim_.luck.below(nodes_.size())]; }
  shard_id any_shard() { return shard_id{static_cast<std::uint16_t>(sim_.luck.below(profile_.shards))}; }
  /// Returns the leader as far as it can be seen from outside; null if no node reports that it leads.
  virtual_node* leader_of(shard_id shard);
  void every(micros mean, std::function<void()> what);

  simulation sim_;
  profile profile_;
  oracle judge_{sim_};
  virtual_network net_;
  std::vector<std::unique_ptr<virtual_node>> nodes_;
  std::uint64_t next_ticket_ = 1;
  std::uint64_t next_disk_ = 1;
  std::size_t proposed_bytes_ = 0;
  std::uint64_t storm_ = 0; ///< the number of the current storm; events scheduled by an older one do nothing
  bool storming_ = false;
  bool paused_ = false; ///< the node that is away
  bool damages_ = false;
  chance damage_luck_; ///< of its own, too
  chance outage_luck_; ///< of its own, so that outages change nothing about the storms before them
  std::map<node_id, virtual_node::disk_copy> copies_;
  chance copy_luck_;                         ///< of its own, so that nothing changes without copies
  std::map<shard_id, std::uint64_t> probed_; ///< a ticket that was acknowledged since the calm began
  std::map<shard_id, std::vector<std::uint64_t>> probes_;
};

} // namespace parley::fuzz

#pragma once
// The parts of `replication`; internal to its files.
#include "cluster/replication/replica.hpp"
#include "cluster/replication/replication.hpp"
#include "cluster/replication/state_transfer.hpp"
#include "cluster/replication/successions.hpp"

#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>

namespace parley::cluster {

class replication_parts {
public:
  replication_parts(replication_config config, state_machine& machine);

  replica* find(shard_id shard);
  void advance(mono_ms now);
  /// Creates the replica of a shard of which this node has become a member.
  void add(shard_id shard, replica_record record);
  void requeue(replica& r);
  /// Why the replicas cannot be loaded: `reason`, or else what rows that fail their checksums have left.
  storage::disk_fault not_loaded(ec why, std::string reason);
  void dispatch(node_id from, const message_view& m);
  bool forgot_generation(node_id from, const message_view& m);
  void run_timers();
  void run_common();
  void send_entries();
  void look_at_room();
  void take_room(const storage::space& room);
  void hand_over_unfit();
  void damaged(replica& r);
  enum class receivers : std::uint8_t { anybody, fit, quicker };
  void hand_over(replica& r, receivers to, std::size_t attempt);

  replica_host host;
  std::map<shard_id, std::unique_ptr<replica>> replicas;
  state_transfers transfers;
  cluster::successions successions;
  /// Election timers, soonest first; an entry counts only while it is its replica's `queued_deadline`.
  std::vector<std::pair<std::int64_t, shard_id>> timers;
  std::int64_t next_common = 0;
  std::size_t hand_overs = 0;      ///< of all leaderships, so far
  std::int64_t next_hand_over = 0; ///< of what this node should not lead
  bool slow = false;               ///< as the last event said of the disk
  bool wrote = false;
};

class replication::impl : public replication_parts {
public:
  using replication_parts::replication_parts;
};

} // namespace parley::cluster

#pragma once
// The STORE actor: one thread, one LMDB environment, all Raft groups in it.
#include "actors/interfaces.hpp"
#include "cluster/machine/shard_machine.hpp"
#include "cluster/replication/replication.hpp"
#include "protocol/values/config_fault.hpp"
#include "protocol/values/node_limits.hpp"
#include "storage/environment.hpp"

#include <atomic>
#include <functional>
#include <string>
#include <unordered_map>

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

/// Answered by a call of `done`, on the store's thread.
struct whole_request {
  node_id without{};
  std::function<void(std::vector<shard_id>)> done;
};

struct store_wiring {
  std::unordered_map<std::uint16_t, shard_actor> shards;
  router_actor router;
  raft_port* peers = nullptr;         ///< outlives the actor
  store_observer* observer = nullptr; ///< may be null
};

/// A reader has found a row of the shard's state that does not match its checksum.
struct damaged_row {
  shard_id shard{};
};

} // namespace parley::cluster
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::cluster::store_wiring)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::cluster::node_row)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::cluster::whole_request)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::cluster::damaged_row)

namespace parley::cluster {

/// The STORE as its node starts it: it begins to work when it receives the wiring. When it is told to stop,
/// it publishes what it has committed and ends, so that the next program of any version needs no journal.
using wired_store_actor =
    store_actor::extend<caf::reacts_to<store_wiring>, caf::reacts_to<damaged_row>,
                        caf::reacts_to<atom::sweep>, caf::reacts_to<atom::stop>, caf::reacts_to<node_row>,
                        caf::reacts_to<peer_begun>, caf::reacts_to<whole_request>>;

/// Spawns it detached, because it blocks during a sync. `env` outlives the actor. A store that cannot open
/// aborts the process; its data is on the other replicas.
wired_store_actor spawn_store(caf::actor_system& sys, store_config config, storage::environment& env);

} // namespace parley::cluster

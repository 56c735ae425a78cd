#pragma once
// One node of a cluster that exists: everything that runs in a parleyd between formation and drain.
#include "actors/router.hpp"
#include "actors/session.hpp"
#include "actors/shard.hpp"
#include "cluster/links/links.hpp"
#include "cluster/membership/formation_service.hpp"
#include "cluster/node/metrics.hpp"
#include "cluster/node/store.hpp"
#include "cluster/ops/node_config.hpp"
#include "protocol/gateway/metrics.hpp"
#include "storage/data_directory.hpp"
#include "storage/journaled_environment.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace parley::cluster {

/// Owns:   the actors and the gateway threads; it starts and stops them in the right order.
/// Thread: main's. The links, the environment and the actor system outlive it.
class node {
public:
  node(caf::actor_system& system, const node_config& config, const storage::identity& identity,
       const membership& cluster, storage::journaled_environment& env);
  ~node();
  node(const node&) = delete;
  node& operator=(const node&) = delete;

  /// Receives the events of the links; to be given to their constructor.
  link_events& events();
  /// `fenced` is called once, from any thread, when this node must not go on (docs/decisions/0032), with a sentence for
  /// the operator. From that moment on nothing leaves for other nodes. To be called before `start`.
  void when_fenced(std::function<void(storage::fence)> fenced);
  /// Makes a row of `table::node` durable, then calls back, from the store's thread.
  void keep(std::string key, std::string value, std::function<void()> durable);
  /// Starts everything, the gateways last. Returns `none`, or a sentence for the operator.
  std::optional<std::string> start(links& transport);
  /// Reads the certificate for clients again. New connections use it, existing ones go on. Returns `none`, or a
  /// sentence for the operator; then the one in use stays. Any thread.
  std::optional<std::string> renew_certificate();
  /// What was left when a drain ended.
  struct leftovers {
    std::size_t clients = 0, leaderships = 0;
  };
  /// Stops accepting clients, hands leaderships over, and asks clients to reconnect elsewhere, spread over
  /// time. Returns when all have left or the deadline has passed.
  leftovers drain();
  /// After the node was fenced: ends the connections of all clients, which go to other nodes. Nothing is handed over.
  void fall_silent();
  /// Stops the store, after which nothing is written and the tables contain what the journal holds. False: it
  /// has not ended in time, and the next start applies the journal to the tables.
  bool close_store();
  /// Tells the operator of nodes that are away; to be called about once a minute. Any thread.
  void remind();
  node_snapshot snapshot();
  const gateway::gateway_metrics& metrics() const;
  const commit_metrics& commits() const;
  const depths& waiting() const;
  const router_counters& routing() const;
  const fan_out_counters& paying() const;
  const refused_calls& refused() const;
  /// The nodes of the cluster that this node knows. Any thread.
  std::vector<core::node_record> nodes() const;
  /// For the answer to a fenced node's question. It is as of the last time that the node asked, and empty the first
  /// time: nobody waits for the store here. Any thread.
  formation_service::wholeness whole_without(node_id node);
  /// Proposes to list `newcomer` in the meta shard, and returns at once. Any thread.
  void admit(const core::node_record& newcomer);

private:
  class impl;
  std::unique_ptr<impl> impl_;
};

} // namespace parley::cluster

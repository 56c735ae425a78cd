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

#include <memory>
#include <optional>
#include <string>

namespace parley::cluster {

/// Owns:   the actors, the gateway threads and their order of birth and death.
/// Thread: main's. `links`, `env` and the actor system outlive it; `links` is started by it.
class node {
public:
  node(caf::actor_system& system, const node_config& config, const storage::identity& identity,
       const membership& cluster, storage::journaled_environment& env);
  ~node();
  node(const node&) = delete;
  node& operator=(const node&) = delete;

  /// What links call. Give it to their constructor.
  link_events& events();
  /// Everything up, gateways last. `none`, or a sentence for the operator.
  std::optional<std::string> start(links& transport);
  /// What a drain left behind when its time was over.
  struct leftovers {
    std::size_t clients = 0, leaderships = 0;
  };
  /// Stops accepting, hands leaderships over, tells clients to reconnect spread in time; returns when they
  /// are gone or the deadline has passed.
  leftovers drain();
  node_snapshot snapshot();
  const gateway::gateway_metrics& metrics() const;
  const commit_metrics& commits() const;
  const depths& waiting() const;
  const router_counters& routing() const;
  /// Nodes of the cluster, as far as this one has heard. Any thread.
  std::vector<core::node_record> nodes() const;
  /// Wants `newcomer` listed in the meta shard; returns at once. Any thread.
  void admit(const core::node_record& newcomer);

private:
  class impl;
  std::unique_ptr<impl> impl_;
};

} // namespace parley::cluster

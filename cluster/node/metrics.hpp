#pragma once
// The metrics that the admin port exports. They are gathered at each request; hot paths only add to atomics.
#include "actors/delivery_queue.hpp"
#include "actors/fan_out.hpp"
#include "actors/router.hpp"
#include "cluster/node/health.hpp"
#include "cluster/node/store.hpp"
#include "cluster/ops/certificates.hpp"
#include "protocol/gateway/metrics.hpp"
#include "protocol/values/counters.hpp"
#include "storage/journaled_environment.hpp"

#include <prometheus/metric_family.h>

#include <mutex>
#include <set>
#include <vector>

namespace parley::cluster {

/// Commits of the store. Thread: `committed` is called by the store's thread, the others by any.
class commit_metrics final : public store_observer {
public:
  void committed(std::size_t commands, std::chrono::nanoseconds sync) override {
    commands_.observe(commands);
    sync_.observe(sync);
  }
  void refused_messages(std::uint64_t n) override { refused_.fetch_add(n, std::memory_order_relaxed); }
  void followers_forgot(std::uint64_t n) override { forgot_.fetch_add(n, std::memory_order_relaxed); }
  const counter& forgot() const { return forgot_; } ///< followers of replicas led here
  void has_room(bool yes) override { has_room_.store(yes, std::memory_order_relaxed); }
  bool room() const { return has_room_.load(std::memory_order_relaxed); } ///< of the disk, for proposals
  const std::atomic<bool>& room_flag() const { return has_room_; }
  void damaged(shard_id shard, bool yes) override {
    std::lock_guard guard{mutex_};
    if (yes)
      damaged_.insert(shard);
    else
      damaged_.erase(shard);
  }
  void members(std::vector<silent_member> silent, std::vector<lagging_member> lagging) override {
    std::lock_guard guard{mutex_};
    silent_.swap(silent);
    lagging_.swap(lagging);
  }
  /// As the last report said.
  std::vector<silent_member> silent() const {
    std::lock_guard guard{mutex_};
    return silent_;
  }
  std::vector<lagging_member> lagging() const {
    std::lock_guard guard{mutex_};
    return lagging_;
  }
  /// Shards of whose replicas here a row is damaged.
  std::set<shard_id> damaged() const {
    std::lock_guard guard{mutex_};
    return damaged_;
  }
  const counter& refused() const { return refused_; }          ///< messages of the Raft lane
  const size_histogram& commands() const { return commands_; } ///< proposed here and applied, per commit
  const duration_histogram& sync() const { return sync_; }

private:
  size_histogram commands_;
  duration_histogram sync_;
  counter refused_{0}, forgot_{0};
  std::atomic<bool> has_room_{true};
  mutable std::mutex mutex_;
  std::set<shard_id> damaged_;
  std::vector<silent_member> silent_;
  std::vector<lagging_member> lagging_;
};

/// How much waits in memory. Thread: any.
struct depths {
  delivery_totals delivery_queues; ///< rows for clients
};

/// The state of a node at one moment.
struct node_snapshot : health_facts {
  std::uint64_t link_versions_refused = 0; ///< calls of nodes without a common version of the node protocol
  std::uint64_t link_starts_refused =
      0; ///< calls of nodes whose directory is not the one that was seen before
  std::uint64_t rows_checked = 0, row_checks = 0; ///< by the slow check of all rows: rows, and whole passes
  std::uint64_t raft_bytes_waiting = 0, raft_bytes_left_out = 0; ///< for the store
  storage::lmdb_stats storage;
  storage::journal_stats journal;
  std::vector<certificate_end> certificates; ///< in use
};

struct node_facts {
  node_snapshot now;
  bool ready = false; ///< it serves, and does not drain
  bool whole = false;
  const gateway::gateway_metrics& clients;
  const commit_metrics& commits;
  const depths& waiting;
  const router_counters& router;
  const fan_out_counters& fan_outs;
  const refused_calls& refused;
};

/// Also exported before there is a node.
inline constexpr auto ready_help = "Whether clients can be served through this node: 1 if /readyz answers "
                                   "200, else 0.";

inline constexpr auto fenced_help = "Whether this node has fenced itself: 1 if its data directory is an "
                                    "older copy or one that runs twice, else 0.";

/// Names start with `parley_`, durations are in seconds. A test compares names, types, labels and HELP texts
/// with the table in cluster/node/README.md.
std::vector<prometheus::MetricFamily> collect(const node_facts& facts);

} // namespace parley::cluster

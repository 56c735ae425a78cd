#pragma once
// What the admin port says of this process, from before there is a node until it ends.
#include "cluster/node/node.hpp"
#include "cluster/ops/admin_server.hpp"

#include <atomic>
#include <functional>
#include <mutex>

namespace parley::cluster {

/// Thread: `starts`, `is` and `drains` main's, the rest the admin server's.
class node_pages final : public admin_source {
public:
  explicit node_pages(node_id self) : self_{self} {}
  /// While there is no node: what it waits for.
  void starts(std::function<std::string()> waits_for) {
    std::lock_guard guard{mutex_};
    waits_for_ = std::move(waits_for);
  }
  /// Formation is over: from now on the pages are about `it`, which outlives them.
  void is(node& it) { node_.store(&it); }
  void drains() { draining_.store(true); }

  readiness state() override;
  std::string metrics() override;
  std::string page() override;

private:
  readiness state_of(const node_snapshot& now) const;

  node_id self_;
  std::mutex mutex_; ///< guards the next
  std::function<std::string()> waits_for_;
  std::atomic<node*> node_{nullptr};
  std::atomic<bool> draining_{false};
};

} // namespace parley::cluster

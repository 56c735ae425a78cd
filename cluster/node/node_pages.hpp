#pragma once
// The pages of the admin port, from the start of the process to its end, also before there is a node.
#include "cluster/node/node.hpp"
#include "cluster/ops/admin_server.hpp"

#include <atomic>
#include <functional>
#include <mutex>

namespace parley::cluster {

/// Thread: main calls `starts`, `is`, `drains` and `fenced`; the admin server calls the others.
class node_pages final : public admin_source {
public:
  explicit node_pages(node_id self) : self_{self} {}
  /// Until there is a node, the pages show what `waits_for` returns.
  void starts(std::function<std::string()> waits_for) {
    std::lock_guard guard{mutex_};
    waits_for_ = std::move(waits_for);
  }
  /// `ends` returns the certificates in use; to be called before `is`.
  void certificates(std::function<std::vector<certificate_end>()> ends) { certificates_ = std::move(ends); }
  /// To be called after formation: from now on the pages show `it`, which outlives them.
  void is(node& it) { node_.store(&it); }
  void drains() { draining_.store(true); }
  /// From now on the pages show only `why`, and what comes next: the node does nothing any more.
  void fenced(const std::string& why, const std::string& next) {
    std::lock_guard guard{mutex_};
    fenced_ =
        "fenced: " + why + ". This node neither votes nor serves, and it has handed nothing over: " + next;
  }

  readiness state() override;
  readiness whole() override;
  std::string metrics() override;
  std::string page() override;

private:
  node_snapshot look(node& at) const; ///< with what others know of the node
  readiness state_of(const node_snapshot& now) const;
  readiness starting();

  node_id self_;
  std::optional<readiness> fence();

  std::mutex mutex_; ///< guards the two below
  std::function<std::string()> waits_for_;
  std::string fenced_;
  std::function<std::vector<certificate_end>()> certificates_;
  std::atomic<node*> node_{nullptr};
  std::atomic<bool> draining_{false};
};

} // namespace parley::cluster

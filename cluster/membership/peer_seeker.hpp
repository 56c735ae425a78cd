#pragma once
// Looks for nodes to which there is no link: they may have another address than the one in the meta shard's list, which
// needs a majority to change. If all nodes came back on other addresses at once, nobody would find anybody.
#include "cluster/links/links.hpp"
#include "cluster/membership/formation.hpp"

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace parley::cluster {

struct peer_seeker_config {
  core::node_record self;
  cluster_id cluster;
  std::vector<endpoint> seeds;
  std::chrono::milliseconds look_every{2000};
  std::chrono::milliseconds say_after{5000};    ///< a peer is sought for so long until the log says so
  std::chrono::milliseconds say_every{600'000}; ///< and this long until it says so again
};

/// What an answer of a seed says of where nodes are, if it is of a member of `cluster`.
std::vector<core::node_record> addresses_in(const formation_answer& answer, cluster_id cluster);

/// Owns:   a thread, which asks the seeds and the missing nodes while there are any, and has the nodes remembered when they
///         change.
/// Thread: its owner's. `transport`, `nodes` and `remember` outlive it; these two are called on its thread.
class peer_seeker {
public:
  using node_list = std::vector<core::node_record>;
  peer_seeker(peer_seeker_config config, links& transport, std::function<node_list()> nodes,
              std::function<void(const node_list&)> remember);
  ~peer_seeker();
  peer_seeker(const peer_seeker&) = delete;
  peer_seeker& operator=(const peer_seeker&) = delete;

private:
  using clock = std::chrono::steady_clock;
  struct sought {
    clock::time_point since, say_at;
    bool elsewhere = false; ///< as last said
  };
  void run();
  void keep(const node_list& nodes);
  bool look(const node_list& nodes);
  void ask(const node_list& nodes);

  peer_seeker_config config_;
  links& transport_;
  std::function<node_list()> nodes_;
  std::function<void(const node_list&)> remember_;
  std::string remembered_; ///< encoded
  std::map<node_id, sought> missing_;
  /// What the answers said; they may come after this object's end.
  struct found {
    std::mutex mutex;
    std::map<node_id, endpoint> at;
    std::set<node_id> elsewhere; ///< nodes that answered as members of another cluster
  };
  std::shared_ptr<found> found_ = std::make_shared<found>();
  std::mutex mutex_;
  std::condition_variable stopping_;
  bool stop_ = false;
  std::thread thread_; // last: it uses all of the above
};

} // namespace parley::cluster

#pragma once
// Runs formation over the links: asks the seeds, makes promises durable, and answers others who ask.
//
//   formation_service forming{…};
//   transport.on_query([&](node_id from, std::string_view q) { return forming.answer(from, q); });
//   transport.start();
//   auto cluster = forming.run(transport, stop, found_shards); // blocks until this node belongs to a cluster
//   … start the node …
//   forming.serve(directory, admit);                           // from now on this member answers newcomers
//
// Thread: `answer` from any; `run` from one, before the environment has another writer; `serve` from any.
#include "cluster/links/links.hpp"
#include "cluster/membership/formation.hpp"
#include "storage/environment.hpp"

#include <atomic>
#include <chrono>
#include <functional>
#include <mutex>

namespace parley::cluster {

struct formation_service_config {
  formation_config decision;
  std::string peers_file; ///< a hint, stored beside the data; empty: none
  /// Interval at which each seed is asked while something is missing.
  std::chrono::milliseconds ask_every{300};
  /// Interval at which the same reason for waiting is logged again.
  std::chrono::milliseconds say_every{10'000};
  /// So long a node that is its only seed listens for nodes that look for it, before it founds a cluster: longer than the
  /// time between two questions of a `peer_seeker`.
  std::chrono::milliseconds listen_first{3'000};
  /// How long others may take a process of this node that has died for one that runs: longer than a link takes to notice.
  std::chrono::milliseconds beside_max{10'000};
};
/// The nodes in such a file; none if it cannot be read.
std::vector<core::node_record> read_peers(const std::string& file);
/// Made from a node's settings and the identity of its disk.
formation_service_config make_formation_config(const node_config& c, disk_id disk);

struct membership {
  founding cluster;
  std::vector<core::node_record> nodes; ///< all known nodes, including this one and the founders
};

class formation_service {
public:
  /// Reads the state of formation from `env`, which outlives this object.
  formation_service(formation_service_config config, storage::environment& env);

  /// To be called by `links::on_query`.
  std::string answer(node_id from, std::string_view question);

  /// Stores this node's replicas of a founding record, in the transaction.
  using found_shards = std::function<void(storage::write_txn&, const founding&)>;
  /// Returns when this node belongs to a cluster and the cluster lists it. The error is a sentence for the
  /// operator, or "stopped" if `stop` was set.
  tl::expected<membership, std::string> run(links& transport, const std::atomic<bool>& stop,
                                            const found_shards& found);
  /// After `run` failed: because another process of this node runs, and this one was started on a copy of its directory.
  bool runs_beside_another() const { return beside_; }

  /// What `run` waits for, as last logged; empty before that. Any thread.
  std::string waits_for() const {
    std::lock_guard guard{mutex_};
    return said_;
  }

  /// From now on this member answers newcomers with `nodes`. It calls `admit` when a node asks to be listed
  /// in the meta shard: that proposes the node and returns at once; the node asks again until `nodes` lists
  /// it. A node that has a session here is not admitted: it runs already, and is listed with its own address.
  /// `whole_without`: what this node knows at the moment for an answer to that question; it waits for nothing.
  struct wholeness {
    std::vector<std::uint16_t> shards;
    bool has_session = false;
  };
  void serve(std::function<std::vector<core::node_record>()> nodes,
             std::function<void(const core::node_record&)> admit,
             std::function<wholeness(node_id)> whole_without = {});
  /// Stores the list for the next start.
  void remember(const std::vector<core::node_record>& nodes);

private:
  struct round;
  void ask(links& transport, const std::vector<endpoint>& whom, const std::string& question, round& r);
  tl::expected<void, std::string> persist(const formation_step& step, const found_shards& found);
  tl::expected<membership, std::string> be_listed(links& transport, const std::atomic<bool>& stop);
  std::vector<core::node_record> known() const;
  void say(const std::string& why);
  void note_asker(const core::node_record& who);
  bool listens(const formation_step& step) const;

  formation_service_config config_;
  storage::environment& env_;
  mutable std::mutex mutex_; ///< guards all below
  std::string objection_;    ///< why what the disk holds cannot be gone on with
  formation formation_;
  /// Where nodes that asked listen. One that asks while this node is empty may belong to the cluster of its lost disk.
  std::vector<endpoint> askers_;
  std::chrono::steady_clock::time_point listens_until_{};
  std::vector<core::node_record> remembered_;
  std::function<std::vector<core::node_record>()> nodes_;
  std::function<void(const core::node_record&)> admit_;
  std::function<wholeness(node_id)> whole_without_;
  std::atomic<bool> beside_{false};
  std::string said_;
  std::chrono::steady_clock::time_point said_at_{};
};

} // namespace parley::cluster

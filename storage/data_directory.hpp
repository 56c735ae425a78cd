#pragma once
// One node's directory: whose it is, and that only one process uses it.
//
//   <data_dir>/lock           held (flock) by the process that uses the directory; its pid, for people
//   <data_dir>/layout         "parley-data 1": what another version has to know before it looks further
//   <data_dir>/store.mdb      the tables (storage/lmdb_environment.hpp)
//   <data_dir>/store.mdb-lock LMDB's own; worthless when nobody runs
//   <data_dir>/store.journal  what is committed but not in the tables yet (storage/journal.hpp)
//
// Rows of table::node under the prefix 'i' (those of replicas are under 'r', and replication's; the journal's
// mark is under 'j'):
//
//   "i/identity"   u8 version (1), u64 node, u64 disk, u64 cluster.hi, u64 cluster.lo   (cluster 0: none yet)
//   "i/promise"    u8 version (1), u64 cluster.hi, u64 cluster.lo
#include "storage/environment.hpp"
#include "storage/failure.hpp"

#include <tl/expected.hpp>

#include <compare>
#include <cstdint>
#include <optional>
#include <string>

namespace parley::storage {

/// Owns:   the directory's lock, until it is destroyed or its process ends, however it ends.
/// Thread: any, one at a time.
class data_directory {
public:
  /// Makes the directory if there is none (for its user only), locks it, and checks its layout.
  /// Errors: another process has it (whose pid the sentence names); another layout; no permission.
  static tl::expected<data_directory, failure> lock(const std::string& path);
  /// As `lock`, for a tool that reads what a stopped node left: makes nothing, and there has to be something.
  static tl::expected<data_directory, failure> lock_existing(const std::string& path);

  data_directory(data_directory&& other) noexcept;
  data_directory& operator=(data_directory&& other) noexcept;
  ~data_directory();

  const std::string& path() const { return path_; }

private:
  data_directory(std::string path, int fd) : path_{std::move(path)}, fd_{fd} {}
  std::string path_;
  int fd_ = -1;
};

struct identity {
  node_id node{};
  disk_id disk{};
  cluster_id cluster; ///< not set until this node belongs to one
};

/// Who this directory belongs to, or nothing if nobody yet. `corrupt` if the row cannot be read.
tl::expected<std::optional<identity>, failure> read_identity(read_txn& txn);

/// Makes `txn`'s environment `node`'s, with a disk id drawn at random, or checks that it is already.
/// Durable with the transaction's commit; a second call with the same node changes nothing.
tl::expected<identity, failure> claim_identity(write_txn& txn, node_id node);

/// Puts this node into `cluster`, for ever. `wrong_cluster` if it is in another, or promised itself to
/// another.
tl::expected<void, failure> join_cluster(write_txn& txn, cluster_id cluster);

/// Formation: before the seeds make a cluster, each promises, durably, which one it will be part of.
/// Two clusters cannot come from one list of seeds, for nobody promises twice.
std::optional<cluster_id> read_promise(read_txn& txn);
enum class earlier_promise {
  binds,
  is_void
}; ///< `is_void`: the operator's override; never against a joined cluster
tl::expected<void, failure> promise_cluster(write_txn& txn, cluster_id cluster,
                                            earlier_promise policy = earlier_promise::binds);

/// From the kernel's generator; never 0.
cluster_id random_cluster_id();

} // namespace parley::storage

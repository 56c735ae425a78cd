#pragma once
// One node's data directory: it records which node owns it, and allows only one process to use it.
//
//   <data_dir>/lock           held (flock) by the process that uses the directory; has its pid, for people
//   <data_dir>/layout         "parley-data 1": another version reads this first
//   <data_dir>/store.mdb      the tables (storage/lmdb_environment.hpp)
//   <data_dir>/store.mdb-lock LMDB's own; meaningless while no process runs
//   <data_dir>/store.journal  commits that are not in the tables yet (storage/journal.hpp)
//   <data_dir>/fenced         only if the node must not run on this directory: the sentence that says why
//
// Rows of table::node under the prefix 'i' (those of replicas are under 'r', and replication's; the journal's
// mark is under 'j'):
//
//   "i/identity"   envelope (1): u64 node, u64 disk, u64 cluster.hi, u64 cluster.lo   (cluster 0: none yet)
//   "i/promise"    envelope (1): u64 cluster.hi, u64 cluster.lo
//   "i/start"      envelope (1): u64 number of the newest start, u32 count, u64 words of the newest starts
//   "i/seen/" node what was seen of another node's starts (cluster/links/node_start.hpp)
#include "storage/disk_fault.hpp"
#include "storage/environment.hpp"

#include <tl/expected.hpp>

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace parley::storage {

/// Owns:   the directory's lock, until this object is destroyed or the process ends in any way.
/// Thread: any, one at a time.
class data_directory {
public:
  /// Creates the directory if it is missing (only its user may read it), locks it, and checks its layout.
  /// Errors: another process uses it (the sentence names its pid); another layout; no permission.
  static tl::expected<data_directory, disk_fault> lock(const std::string& path);
  /// As `lock`, for a tool that reads the data of a stopped node: it creates nothing, and fails if there is
  /// no data directory.
  static tl::expected<data_directory, disk_fault> lock_existing(const std::string& path);

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

/// The node that owns this directory, or nothing if none does yet.
/// Error: `corrupt` if the row cannot be read.
tl::expected<std::optional<identity>, disk_fault> read_identity(read_txn& txn);

/// Records `node` as the owner of the environment of `txn`, with a random disk id, or checks that it is the
/// owner already. Durable with the transaction's commit; a second call with the same node changes nothing.
/// Error: `corrupt` also if the promise cannot be read, so that no node starts with such a one.
tl::expected<identity, disk_fault> claim_identity(write_txn& txn, node_id node);

/// The starts of a node on one disk, by which other nodes recognise it (docs/decisions/0032). The row stands in the
/// tables, so that it is as old as everything else in a copy of the directory.
struct start_history {
  static constexpr std::size_t words_max = 512; ///< of the newest starts: 4 KiB in each greeting
  std::uint64_t number = 0;
  std::vector<std::uint64_t> words; ///< oldest first; the last one is of `number`
};
/// Records the next start, with a random word. Error: `corrupt` if the row cannot be read.
tl::expected<start_history, disk_fault> begin_start(write_txn& txn);

/// Rows of what was seen of the starts of other nodes. Error: not all of them can be read.
std::string seen_key(node_id node);
tl::expected<std::vector<std::pair<node_id, std::string>>, disk_fault> read_seen(read_txn& txn);

/// Why no node may run on a directory any more.
struct fence {
  enum class then : std::uint8_t {
    stay,      ///< a person has to act
    begin_anew ///< it may be set aside, once the other nodes have everything
  };
  std::string why; ///< empty: there is none
  then next = then::stay;
};
tl::expected<fence, disk_fault> read_fence(const std::string& directory);
/// Durable when it returns. The first reason stays.
tl::expected<void, disk_fault> write_fence(const std::string& directory, const fence& f);
/// For the last resort only: durable when it returns, and nothing if there is none.
tl::expected<void, disk_fault> remove_fence(const std::string& directory);

/// Renames the directory to `<directory>.aside-<when>` and returns that name. Nothing is erased, so there are at most
/// `asides_max` of them: a node that is fenced again and again must not fill the disk. Refused, too, if the disk has
/// less free than the directory holds: what the node is sent again has to fit beside it.
inline constexpr std::size_t asides_max = 3;
tl::expected<std::string, disk_fault> set_aside(const std::string& directory, const std::string& when);

/// Records for ever that this node belongs to `cluster`. Error: `wrong_cluster` if it belongs to another one,
/// or has promised to.
tl::expected<void, disk_fault> join_cluster(write_txn& txn, cluster_id cluster);

/// Before the seeds form a cluster, each of them durably promises which one it will belong to. No seed
/// promises twice, so one list of seeds cannot form two clusters. Error: `corrupt` if the row cannot be read:
/// it must not look like no promise.
tl::expected<std::optional<cluster_id>, disk_fault> read_promise(read_txn& txn);
enum class earlier_promise {
  binds,
  is_void ///< the operator's override; it never overrides a cluster that was joined
};
tl::expected<void, disk_fault> promise_cluster(write_txn& txn, cluster_id cluster,
                                               earlier_promise policy = earlier_promise::binds);

/// From the kernel's generator; never 0.
cluster_id random_cluster_id();

} // namespace parley::storage

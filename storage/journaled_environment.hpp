#pragma once
// LMDB behind a redo journal: the storage of a node's replicas.
//
//   commit (now)        the rows of the batch are written to the journal: one write, one sync
//   commit (with_next)  the rows wait in memory and are written with the next record
//   publish             the LMDB transaction that took all these rows commits: readers see them, and the
//                       journal begins anew
//
// Between two publishes one LMDB transaction stays open and takes batch after batch: each page is copied,
// written and synced once for all of them, and LMDB's own two syncs are rare. A reader sees what LMDB has
// committed, so whoever promises that something can be read publishes first.
//
// Commits are atomic and in order: after a crash the tables hold a prefix of them, which contains every
// commit that returned as durable. LMDB lags behind the journal, but none of its modes that weaken durability
// is used: its own commits are fully synced.
#include "storage/journal.hpp"
#include "storage/lmdb_environment.hpp"

namespace parley::storage {

struct journal_config {
  std::uint64_t bytes = 32ULL << 20; ///< size of the file; when it is full, a publish follows
  /// Rows in the open transaction, after which a publish follows. Each row may dirty a page, which needs free
  /// space in the LMDB file: keep it below a third of `lmdb_config::reserve_bytes` in pages.
  std::uint64_t rows_max = 20'000;
  std::chrono::milliseconds publish_every{1000}; ///< the interval of `publish(if_due)`
};
config_check validate(const journal_config& config);

/// For metrics. Counts since the start.
struct journal_stats {
  std::uint64_t syncs = 0; ///< records written
  std::uint64_t bytes = 0;
  std::chrono::microseconds sync_last{};
  std::chrono::microseconds sync_total{};
  std::uint64_t commits = 0; ///< batches; more than syncs where several shared one
};

/// Thread: as `environment` says. The writer's thread may change only after a `publish`.
/// Holds:  as `lmdb_environment`; and no reader sees a commit without those before it.
class journaled_environment : public environment {
public:
  /// Opens both files in `directory` (see lmdb_environment) and applies the journal of an earlier
  /// process to the tables.
  static tl::expected<std::unique_ptr<journaled_environment>, disk_fault>
  open(const std::string& directory, const lmdb_config& tables, const journal_config& config);
  ~journaled_environment() override;

  std::unique_ptr<write_txn> begin_write() override;
  std::unique_ptr<read_txn> begin_read() override;
  space room() override;
  ec publish(publishing when) override;
  bool all_visible() const override;
  bool visible(shard_id shard, std::string_view beginning) const override;

  lmdb_stats stats(); ///< of the tables; each of its commits is a publish
  journal_stats journal();

private:
  class impl;
  explicit journaled_environment(std::unique_ptr<impl> impl);
  std::unique_ptr<impl> impl_;
};

} // namespace parley::storage

#pragma once
// LMDB behind a redo journal: the storage of a node's replicas.
//
//   commit (now)        the rows of the batch are written to the journal: one write, one sync
//   commit (with_next)  the rows wait in memory and are written with the next record
//   publish             the LMDB transaction that took all these rows commits: readers see them
//   checkpoint          what was published is synced in the background; then words of the journal name that commit of LMDB, and
//                       the records before it are needed no more
//
// Between two publishes one LMDB transaction stays open and takes batch after batch: each page is copied
// and written once for all of them. A reader sees what LMDB has committed, so whoever promises that something can be read
// publishes first. What readers see is in the journal, so it is durable.
//
// LMDB's commits are not synced by themselves: two syncs of all its changed pages in the writer's turn held up everybody, 20 to
// 70 ms at a time on a busy disk (docs/decisions/0052). So after a crash nothing is believed that LMDB wrote after the commit
// that a word names: the next start returns to that commit (lmdb_checkpoint.hpp), whose pages were kept from being used again,
// and applies the records behind it. A killed process and a power failure take the same way. Only a clean stop leaves tables
// that are opened as they are.
//
// Commits are atomic and in order: after a crash the tables hold a prefix of them, which contains every
// commit that returned as durable.
#include "storage/journal.hpp"
#include "storage/lmdb_environment.hpp"

namespace parley::storage {

struct journal_config {
  std::uint64_t bytes = 32ULL << 20; ///< size of the file; a quarter of it is the most between two publishes
  /// Rows in the open transaction, after which a publish follows. Each row may dirty a page, which needs free
  /// space in the LMDB file: keep it below a third of `lmdb_config::reserve_bytes` in pages.
  std::uint64_t rows_max = 20'000;
  std::chrono::milliseconds publish_every{1000}; ///< the interval of `publish(if_due)`
  /// From the beginning of one to that of the next. Sooner, if half of the journal is used, or `rows_max` rows changed.
  std::chrono::milliseconds checkpoint_every{1000};
};
config_check validate(const journal_config& config);

/// For metrics. Counts since the start.
struct journal_stats {
  std::uint64_t syncs = 0; ///< records written
  std::uint64_t bytes = 0;
  std::chrono::microseconds sync_last{};
  std::chrono::microseconds sync_total{};
  std::uint64_t commits = 0; ///< batches; more than syncs where several shared one
  std::uint64_t checkpoints = 0;
  std::uint64_t checkpoints_awaited = 0; ///< those that held up the writer, because the journal was full
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

  /// Syncs everything that was published, after which the tables are opened as they are, by any program that knows LMDB; nothing
  /// is written any more. The end of this object does the same. False: a start after it applies what the journal holds, as after a
  /// crash. Thread: the writer's.
  bool close();

  lmdb_stats stats(); ///< of the tables; each of its commits is a publish
  journal_stats journal();

private:
  class impl;
  explicit journaled_environment(std::unique_ptr<impl> impl);
  std::unique_ptr<impl> impl_;
};

} // namespace parley::storage

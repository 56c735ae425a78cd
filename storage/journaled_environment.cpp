#include "storage/journaled_environment.hpp"

#include "protocol/values/chance.hpp"
#include "protocol/values/last_words.hpp"
#include "storage/background_sync.hpp"
#include "storage/changed_rows.hpp"
#include "storage/journal_rows.hpp"
#include "storage/lmdb_checkpoint.hpp"
#include "storage/os.hpp"

#include <atomic>
#include <cassert>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

namespace parley::storage {
namespace {

using steady = std::chrono::steady_clock;

/// A transaction for a reader that could not be served.
class unreadable final : public read_txn {
public:
  explicit unreadable(ec why) : why_{why} {}
  std::optional<std::string_view> get(table, std::string_view) override { return std::nullopt; }
  void ascend(table, std::string_view, std::string_view, const visitor&) override {}
  void descend(table, std::string_view, std::string_view, const visitor&) override {}
  ec status() const override { return why_; }

private:
  ec why_;
};

} // namespace

config_check validate(const journal_config& c) {
  if (c.bytes < journal::bytes_min || c.bytes > 1ULL << 30)
    return config_fault{"journal bytes"};
  if (c.rows_max == 0)
    return config_fault{"rows_max"};
  if (c.publish_every.count() < 1)
    return config_fault{"publish_every"};
  if (c.checkpoint_every.count() < 0)
    return config_fault{"checkpoint_every"};
  return std::nullopt;
}

class journaled_environment::impl {
public:
  impl(std::unique_ptr<lmdb_environment> tables, class journal file, journal_config config, bool aborts)
      : tables{std::move(tables)}, file_{std::move(file)}, config_{config}, aborts_{aborts} {}
  ~impl();

  /// Of the tables as they were opened; `named`: what the journal's words say about them.
  std::optional<disk_fault> recover(journal_mark was, const std::optional<journal_word>& named);
  std::unique_ptr<write_txn> begin_write();
  std::unique_ptr<read_txn> begin_read();
  ec publish(publishing when);
  bool close();
  bool all_visible() const { return !open_; }
  bool visible(shard_id shard, std::string_view beginning) const {
    return !changed_.may_have(shard, beginning);
  }

  std::unique_ptr<lmdb_environment> tables;
  std::atomic<std::uint64_t> syncs{0}, bytes{0}, sync_last_us{0}, sync_total_us{0}, commits{0},
      checkpoints{0}, checkpoints_awaited{0};

private:
  class turn;
  ec commit(durable when);
  ec publish_rows(publishing when);
  ec write_record();
  ec make_room();
  ec commit_tables();
  ec name_if_synced(bool waits);
  void take_over_if_named();
  ec write_names();
  ec await_checkpoint();
  ec begin_checkpoint();
  ec checkpoint_in_idleness();
  ec settle();
  void abandon();
  ec stop(const char* doing, int error);

  class journal file_;
  const journal_config config_;
  const bool aborts_; ///< on failure, as the tables do

  // Used by the writer only.
  std::unique_ptr<write_txn> open_;   ///< LMDB's, since the last publish
  journal_record pending_;            ///< committed, but not synced; then the open turn's rows
  std::size_t turn_began_at_ = 0;     ///< in it
  std::uint64_t rows_ = 0;            ///< in `open_`
  changed_rows changed_;              ///< by it; also by turns that were abandoned
  std::uint64_t turn_began_with_ = 0; ///< of `rows_`
  journal_place published_;
  std::uint64_t unpublished_bytes_ = 0; ///< of records
  steady::time_point due_{};
  bool in_turn_ = false;
  bool failed_ = true; ///< until it is open

  // Checkpoints: `named_` is in the journal's words; `next_` is being synced, or synced and named by the next words.
  std::unique_ptr<lmdb_environment::kept_commit> named_, next_;
  journal_place next_from_;
  bool next_is_synced_ = false;
  bool is_behind_ = false;        ///< what was published is in neither
  std::uint64_t rows_behind_ = 0; ///< that were published since `next_`
  steady::time_point checkpoint_due_{};
  background_sync syncer_{[this] { return tables->sync(); }};

  std::atomic<std::thread::id> writer_{}; ///< who holds `open_`
};

/// The transaction that the user of an environment sees: LMDB's, with its rows copied for the journal.
class journaled_environment::impl::turn final : public write_txn {
public:
  explicit turn(impl& env) : env_{env}, in_{*env.open_}, out_{env.pending_.bytes()} {}
  ~turn() override {
    if (!done_)
      env_.abandon();
  }
  std::optional<std::string_view> get(table t, std::string_view key) override { return in_.get(t, key); }
  void ascend(table t, std::string_view from, std::string_view to, const visitor& visit) override {
    in_.ascend(t, from, to, visit);
  }
  void descend(table t, std::string_view from, std::string_view to, const visitor& visit) override {
    in_.descend(t, from, to, visit);
  }
  ec status() const override { return in_.status(); }

  // The journal comes first: views into LMDB's pages may become invalid with the write.
  void put(table t, std::string_view key, std::string_view value) override {
    note_put(out_, t, key, value);
    changes(t, key);
    in_.put(t, key, value);
  }
  void append(table t, std::string_view key, std::string_view value) override {
    note_append(out_, t, key, value);
    changes(t, key);
    in_.append(t, key, value);
  }
  void erase(table t, std::string_view key) override {
    note_erase(out_, t, key);
    changes(t, key);
    in_.erase(t, key);
  }
  std::size_t erase_range(table t, std::string_view from, std::string_view to,
                          std::size_t rows_max) override {
    note_erase_range(out_, t, from, to, rows_max);
    if (t == table::state)
      env_.changed_.note_range(from, to);
    const auto erased = in_.erase_range(t, from, to, rows_max);
    env_.rows_ += erased + 1; // the record counts even if it erased nothing: the tables have to name it
    return erased;
  }
  ec commit(durable when) override {
    assert(!done_);
    done_ = true;
    return env_.commit(when);
  }

private:
  void changes(table t, std::string_view key) {
    ++env_.rows_;
    if (t == table::state)
      env_.changed_.note(key);
  }
  impl& env_;
  write_txn& in_;
  std::string& out_;
  bool done_ = false;
};

// --- opening -----------------------------------------------------------------------------------------------

std::optional<disk_fault> journaled_environment::impl::recover(journal_mark was,
                                                               const std::optional<journal_word>& named) {
  const auto cannot_write = [](int error) {
    return disk_fault{error == ENOSPC ? ec::disk_full : ec::storage_failed,
                      std::string{"the journal cannot be written, so the node has not started: "} +
                          std::strerror(error) + ". Check the disk, then start the node again"};
  };
  const auto from = named ? named->names->from : journal_place{was.sequence, journal::words_bytes};
  auto txn = tables->begin_write();
  journal_mark now{system_chance().nonzero(), was.sequence};
  if (was.salt != 0) {
    auto last = file_.read(was.salt, from, [&](std::string_view payload) { return redo(*txn, payload); });
    if (!last)
      return std::move(last.error());
    now.sequence = *last;
  }
  if (const int error = file_.begin(now, was); error != 0)
    return cannot_write(error);
  txn->put(table::node, mark_key, encode(now));
  if (const auto error = tables->belong_to(now.salt, was.salt) != 0 ? ec::storage_failed : txn->commit();
      error != ec::none)
    return disk_fault{
        error, "the rows of the journal could not be written to the LMDB file, so the node has not started. "
               "Nothing is lost: check the disk, then start the node again"};
  named_ = tables->keep();
  if (!named_)
    return disk_fault{ec::storage_failed,
                      "the LMDB file cannot be read, so the node has not started: check the disk"};
  if (const int error = file_.restart(now, named_->name()); error != 0)
    return cannot_write(error);
  tables->belong_to(
      now.salt, now.salt); // on the disk with the next sync; until then the journal before may be there, too
  tables->leave_syncing_to_caller();
  published_ = file_.here();
  failed_ = false;
  return std::nullopt;
}

journaled_environment::impl::~impl() {
  assert(!in_turn_);
  close();
}

bool journaled_environment::impl::close() {
  if (next_ && !next_is_synced_)
    next_is_synced_ = syncer_.wait() == 0;
  // If one of these fails, the words still name a commit.
  const bool closes = !failed_ && !open_ && tables->sync() == 0 && file_.close() == 0;
  failed_ = true; // for what may be tried after it
  next_.reset();
  return closes;
}

tl::expected<std::unique_ptr<journaled_environment>, disk_fault>
journaled_environment::open(const std::string& directory, const lmdb_config& tables,
                            const journal_config& config) {
  if (const auto fault = validate(config))
    return tl::make_unexpected(
        disk_fault{ec::bad_config, "storage cannot be run with this " + std::string{fault->field}});
  const auto named = journal::checkpoint_in(directory);
  if (!named)
    return tl::make_unexpected(named.error());
  if (*named)
    if (auto objection = return_to_commit(lmdb_environment::path_in(directory), (*named)->returned.salt,
                                          (*named)->names->tables))
      return tl::make_unexpected(std::move(*objection));
  auto inside = lmdb_environment::open(directory, tables);
  if (!inside)
    return tl::make_unexpected(std::move(inside.error()));
  journal_mark mark;
  {
    const auto txn = (*inside)->begin_read();
    if (const auto row = txn->get(table::node, mark_key)) {
      const auto found = decode_mark(*row);
      if (!found)
        return tl::make_unexpected(journal::of_another_version(journal::path_in(directory)));
      mark = *found;
    } else if (txn->status() != ec::none) {
      return tl::make_unexpected(disk_fault{
          txn->status(), "the LMDB file cannot be read, so the node has not started: check the disk"});
    }
  }
  if (mark.salt != 0 && !journal::exists(directory))
    return tl::make_unexpected(
        disk_fault{ec::corrupt, journal::path_in(directory) +
                                    " is missing or cut off, and it held what was acknowledged last. " +
                                    std::string{restore_advice}});
  if (*named && ((*named)->returned.salt != mark.salt || (*named)->names->from.sequence != mark.sequence))
    return tl::make_unexpected(not_of_the_journal(lmdb_environment::path_in(directory)));
  auto file = journal::open(directory, config.bytes);
  if (!file)
    return tl::make_unexpected(std::move(file.error()));
  if (mark.salt == 0 && file->holds_a_record()) // the mark is durable before the first record
    return tl::make_unexpected(
        disk_fault{ec::corrupt, lmdb_environment::path_in(directory) + " is missing or empty, and " +
                                    journal::path_in(directory) + " was written beside it. " +
                                    std::string{restore_advice}});
  auto it = std::make_unique<impl>(std::move(*inside), std::move(*file), config, tables.abort_on_failure);
  if (auto objection = it->recover(mark, *named))
    return tl::make_unexpected(std::move(*objection));
  return std::unique_ptr<journaled_environment>{new journaled_environment{std::move(it)}};
}

// --- writing -----------------------------------------------------------------------------------------------

std::unique_ptr<write_txn> journaled_environment::impl::begin_write() {
  assert(!in_turn_);
  if (!open_) {
    open_ = tables->begin_write();
    due_ = steady::now() + config_.publish_every;
    writer_ = std::this_thread::get_id();
  }
  assert(writer_.load() == std::this_thread::get_id());
  in_turn_ = true;
  turn_began_at_ = pending_.bytes().size();
  turn_began_with_ = rows_;
  return std::make_unique<turn>(*this);
}

ec journaled_environment::impl::commit(durable when) {
  in_turn_ = false;
  if (failed_)
    return ec::storage_failed;
  if (open_->status() != ec::none)
    return open_->commit(); // which says what is wrong with it, and stops
  ++commits;
  if (when == durable::now || !file_.has_room_for(pending_))
    if (const auto error = write_record(); error != ec::none)
      return error;
  return rows_ >= config_.rows_max || unpublished_bytes_ >= file_.bytes() / 4 ? publish(publishing::now)
                                                                              : ec::none;
}

ec journaled_environment::impl::write_record() {
  if (pending_.empty())
    return ec::none;
  if (!file_.has_room_for(pending_)) {
    if (const auto error = make_room(); error != ec::none || pending_.empty())
      return error;
  }
  if (const auto error = name_if_synced(false); error != ec::none)
    return error;
  const auto began = steady::now();
  if (const int error = file_.append(pending_); error != 0)
    return stop("write the journal", error);
  const auto took = std::chrono::duration_cast<std::chrono::microseconds>(steady::now() - began);
  ++syncs;
  bytes += pending_.bytes().size();
  unpublished_bytes_ += pending_.bytes().size();
  sync_last_us = static_cast<std::uint64_t>(took.count());
  sync_total_us += static_cast<std::uint64_t>(took.count());
  pending_.clear();
  take_over_if_named();
  return ec::none;
}

ec journaled_environment::impl::publish(publishing when) {
  assert(!in_turn_);
  if (const auto error = publish_rows(when); error != ec::none)
    return error;
  if (!open_)
    tables->give_back(); // even if somebody waits: where there are always readers, no other publish happens
  return ec::none;
}

ec journaled_environment::impl::publish_rows(publishing when) {
  if (failed_)
    return ec::storage_failed;
  if (!open_)
    return checkpoint_in_idleness();
  if (when == publishing::if_due && steady::now() < due_)
    return ec::none;
  if (const auto error = write_record(); error != ec::none) // nobody sees what is not durable
    return error;
  if (const auto error = commit_tables(); error != ec::none)
    return error;
  return begin_checkpoint();
}

ec journaled_environment::impl::commit_tables() {
  if (!open_)
    return ec::none;
  if (rows_ != 0) {
    open_->put(table::node, mark_key, encode(file_.last()));
    if (const auto error = open_->commit(); error != ec::none) {
      failed_ = true;
      return error;
    }
    is_behind_ = true;
    rows_behind_ += rows_;
  }
  open_.reset();
  rows_ = 0;
  changed_.clear();
  pending_.clear();
  published_ = file_.here();
  unpublished_bytes_ = 0;
  writer_ = std::thread::id{};
  return ec::none;
}

// --- checkpoints -------------------------------------------------------------------------------------------

/// From the next word on the journal names the commit that was synced.
ec journaled_environment::impl::name_if_synced(bool waits) {
  if (!next_ || next_is_synced_)
    return ec::none;
  const auto result = waits ? std::optional{syncer_.wait()} : syncer_.result();
  if (!result)
    return ec::none;
  next_is_synced_ = true;
  if (*result != 0)
    return stop("sync the data file", *result);
  file_.name(next_from_, next_->name());
  return ec::none;
}

/// The commit before it is needed no more when both words name the next one: with one of them damaged, the other decides.
void journaled_environment::impl::take_over_if_named() {
  if (!next_ || !next_is_synced_ || !file_.is_named())
    return;
  named_ = std::move(next_);
  next_is_synced_ = false;
  ++checkpoints;
}

/// In words of their own: no record comes along with them.
ec journaled_environment::impl::write_names() {
  if (const int error = file_.write_names(); error != 0)
    return stop("write the journal", error);
  take_over_if_named();
  return ec::none;
}

ec journaled_environment::impl::await_checkpoint() {
  ++checkpoints_awaited;
  const auto error = name_if_synced(true);
  return error != ec::none ? error : write_names();
}

ec journaled_environment::impl::begin_checkpoint() {
  // Pages that were changed since `named_` are not used again, so the file grows with them; who changes that much waits.
  constexpr int times_behind_max = 4;
  if (next_ && rows_behind_ >= times_behind_max * config_.rows_max)
    if (const auto error = await_checkpoint(); error != ec::none)
      return error;
  if (next_ || !is_behind_)
    return ec::none;
  const auto now = steady::now();
  if (now < checkpoint_due_ && rows_behind_ < config_.rows_max && file_.bytes_used() < file_.bytes() / 2)
    return ec::none;
  checkpoint_due_ = now + config_.checkpoint_every;
  next_ = tables->keep();
  if (!next_)
    return stop("read the data file", EIO);
  next_from_ = published_;
  is_behind_ = false;
  rows_behind_ = 0;
  syncer_.begin();
  return ec::none;
}

ec journaled_environment::impl::checkpoint_in_idleness() {
  if (const auto error = name_if_synced(false); error != ec::none)
    return error;
  if (next_is_synced_)
    if (const auto error = write_names(); error != ec::none)
      return error;
  return begin_checkpoint();
}

/// The journal is full: what it holds has to be on the disk in the tables before it can be written over.
ec journaled_environment::impl::make_room() {
  if (next_) {
    if (const auto error = await_checkpoint(); error != ec::none)
      return error;
    if (file_.has_room_for(pending_))
      return ec::none;
  }
  return settle();
}

/// Everything into the tables, and the journal begins anew. A reader may see a batch that alone fills half of the journal some
/// milliseconds before it is durable; nobody is answered until then.
ec journaled_environment::impl::settle() {
  if (const auto error = commit_tables(); error != ec::none)
    return error;
  auto newest = tables->keep();
  if (!newest)
    return stop("read the data file", EIO);
  if (const int error = tables->sync(); error != 0)
    return stop("sync the data file", error);
  if (const int error = file_.restart(file_.last(), newest->name()); error != 0)
    return stop("write the journal", error);
  named_ = std::move(newest);
  published_ = file_.here();
  is_behind_ = false;
  rows_behind_ = 0;
  checkpoint_due_ = steady::now() + config_.checkpoint_every;
  ++checkpoints;
  return ec::none;
}

// --- giving up, stopping -----------------------------------------------------------------------------------

/// LMDB can only abort everything since the last publish, so what was committed since then is applied again.
void journaled_environment::impl::abandon() {
  in_turn_ = false;
  auto& bytes = pending_.bytes();
  if (bytes.size() == turn_began_at_)
    return;
  bytes.resize(turn_began_at_);
  open_.reset();
  open_ = tables->begin_write();
  rows_ = turn_began_with_; // were it 0 with rows in `open_`, the next publish would drop them
  const auto repeat = [&](std::string_view payload) { return redo(*open_, payload); };
  const auto last = file_.read(file_.last().salt, published_, repeat);
  if (!last || *last != file_.last().sequence || repeat(pending_.payload()) != record_fault::none)
    failed_ = stop("read back the journal", EIO) != ec::none;
}

ec journaled_environment::impl::stop(const char* doing, int error) {
  failed_ = true;
  if (aborts_) {
    end_process(std::string{"parleyd: storage failed: cannot "} + doing + ": " + std::strerror(error) +
                advice_after_failed_write(error == ENOSPC ? ec::disk_full : ec::storage_failed));
  }
  return ec::storage_failed;
}

// --- reading -----------------------------------------------------------------------------------------------

std::unique_ptr<read_txn> journaled_environment::impl::begin_read() {
  if (writer_.load() == std::this_thread::get_id()) {
    if (in_turn_)
      return std::make_unique<unreadable>(ec::internal); // it cannot see what is not committed
    if (const auto error = publish(publishing::now); error != ec::none)
      return std::make_unique<unreadable>(error);
  }
  return tables->begin_read();
}

// --- the outside -------------------------------------------------------------------------------------------

journaled_environment::journaled_environment(std::unique_ptr<impl> impl) : impl_{std::move(impl)} {}
journaled_environment::~journaled_environment() = default;

std::unique_ptr<write_txn> journaled_environment::begin_write() {
  return impl_->begin_write();
}
std::unique_ptr<read_txn> journaled_environment::begin_read() {
  return impl_->begin_read();
}
space journaled_environment::room() {
  return impl_->tables->room();
}
ec journaled_environment::publish(publishing when) {
  return impl_->publish(when);
}
bool journaled_environment::all_visible() const {
  return impl_->all_visible();
}

bool journaled_environment::visible(shard_id shard, std::string_view beginning) const {
  return impl_->visible(shard, beginning);
}
bool journaled_environment::close() {
  return impl_->close();
}
lmdb_stats journaled_environment::stats() {
  return impl_->tables->stats();
}

journal_stats journaled_environment::journal() {
  journal_stats s;
  s.syncs = impl_->syncs;
  s.bytes = impl_->bytes;
  s.sync_last = std::chrono::microseconds{impl_->sync_last_us.load()};
  s.sync_total = std::chrono::microseconds{impl_->sync_total_us.load()};
  s.commits = impl_->commits;
  s.checkpoints = impl_->checkpoints;
  s.checkpoints_awaited = impl_->checkpoints_awaited;
  return s;
}

} // namespace parley::storage

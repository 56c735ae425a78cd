#include "storage/journaled_environment.hpp"

#include "protocol/values/chance.hpp"
#include "protocol/values/last_words.hpp"
#include "storage/changed_rows.hpp"
#include "storage/journal_rows.hpp"
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
  return std::nullopt;
}

class journaled_environment::impl {
public:
  impl(std::unique_ptr<lmdb_environment> tables, class journal file, journal_config config, bool aborts)
      : tables{std::move(tables)}, file_{std::move(file)}, config_{config}, aborts_{aborts} {}
  ~impl() { assert(!in_turn_); }

  std::optional<disk_fault> recover(journal_mark was);
  std::unique_ptr<write_txn> begin_write();
  std::unique_ptr<read_txn> begin_read();
  ec publish(publishing when);
  bool all_visible() const { return !open_; }
  bool visible(shard_id shard, std::string_view beginning) const {
    return !changed_.may_have(shard, beginning);
  }

  std::unique_ptr<lmdb_environment> tables;
  std::atomic<std::uint64_t> syncs{0}, bytes{0}, sync_last_us{0}, sync_total_us{0}, commits{0};

private:
  class turn;
  ec commit(durable when);
  ec publish_rows(publishing when);
  ec write_record();
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
  std::uint64_t published_sequence_ = 0;
  steady::time_point due_{};
  bool in_turn_ = false;
  bool failed_ = false;

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

std::optional<disk_fault> journaled_environment::impl::recover(journal_mark was) {
  auto txn = tables->begin_write();
  journal_mark now{system_chance().nonzero(), was.sequence};
  if (was.salt != 0) {
    auto last = file_.read(was, [&](std::string_view payload) { return redo(*txn, payload); });
    if (!last)
      return std::move(last.error());
    now.sequence = *last;
  }
  if (const int error = file_.begin(now, was); error != 0)
    return disk_fault{error == ENOSPC ? ec::disk_full : ec::storage_failed,
                      std::string{"the journal cannot be written, so the node has not started: "} +
                          std::strerror(error) + ". Check the disk, then start the node again"};
  txn->put(table::node, mark_key, encode(now));
  if (const auto error = txn->commit(); error != ec::none)
    return disk_fault{
        error, "the rows of the journal could not be written to the LMDB file, so the node has not started. "
               "Nothing is lost: check the disk, then start the node again"};
  file_.rewind(now);
  published_sequence_ = now.sequence;
  return std::nullopt;
}

tl::expected<std::unique_ptr<journaled_environment>, disk_fault>
journaled_environment::open(const std::string& directory, const lmdb_config& tables,
                            const journal_config& config) {
  if (const auto fault = validate(config))
    return tl::make_unexpected(
        disk_fault{ec::bad_config, "storage cannot be run with this " + std::string{fault->field}});
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
    return tl::make_unexpected(disk_fault{
        ec::corrupt, journal::path_in(directory) +
                         " is missing or cut off, and it held what was acknowledged last. Restore it, or "
                         "start this node with an empty data directory; other replicas, if there are any, "
                         "fill it"});
  auto file = journal::open(directory, config.bytes);
  if (!file)
    return tl::make_unexpected(std::move(file.error()));
  if (mark.salt == 0 && file->holds_a_record()) // the mark is durable before the first record
    return tl::make_unexpected(disk_fault{
        ec::corrupt,
        directory + "/store.mdb is missing or empty, and " + journal::path_in(directory) +
            " was written beside it. Restore it, or start this node with an empty data directory; other "
            "replicas, if there are any, fill it"});
  auto it = std::make_unique<impl>(std::move(*inside), std::move(*file), config, tables.abort_on_failure);
  if (auto objection = it->recover(mark))
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
  // A publish makes the rows durable too, so no record is written if one follows.
  if (rows_ >= config_.rows_max || !file_.has_room_for(pending_))
    return publish(publishing::now);
  return when == durable::now ? write_record() : ec::none;
}

ec journaled_environment::impl::write_record() {
  if (pending_.empty())
    return ec::none;
  const auto began = steady::now();
  if (const int error = file_.append(pending_); error != 0)
    return stop("write the journal", error);
  const auto took = std::chrono::duration_cast<std::chrono::microseconds>(steady::now() - began);
  ++syncs;
  bytes += pending_.bytes().size();
  sync_last_us = static_cast<std::uint64_t>(took.count());
  sync_total_us += static_cast<std::uint64_t>(took.count());
  pending_.clear();
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
  if (!open_)
    return ec::none;
  if (failed_)
    return ec::storage_failed;
  if (when == publishing::if_due && steady::now() < due_)
    return ec::none;
  if (rows_ != 0) {
    open_->put(table::node, mark_key, encode(file_.last()));
    if (const auto error = open_->commit(); error != ec::none) {
      failed_ = true;
      return error;
    }
  }
  open_.reset();
  rows_ = 0;
  changed_.clear();
  pending_.clear();
  file_.rewind(file_.last());
  published_sequence_ = file_.last().sequence;
  writer_ = std::thread::id{};
  return ec::none;
}

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
  const journal_mark from{file_.last().salt, published_sequence_};
  const auto last = file_.read(from, repeat);
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
  return s;
}

} // namespace parley::storage

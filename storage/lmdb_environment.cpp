#include "storage/lmdb_environment.hpp"

#include "protocol/values/last_words.hpp"
#include "storage/lmdb_checkpoint.hpp"
#include "storage/lmdb_file.hpp"
#include "storage/lmdb_tables.hpp"
#include "storage/map_guard.hpp"
#include "storage/os.hpp"
#include "storage/spare_pages.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cassert>
#include <cerrno>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>

namespace parley::storage {
namespace {

using steady = std::chrono::steady_clock;

constexpr std::uint64_t page_bytes_max = 64 << 10; // map sizes are multiples of any page size
constexpr unsigned kept_commits_max = 3; // the named one, the next, and the one that takes its place

std::uint64_t round_up(std::uint64_t n, std::uint64_t step) {
  return (n + step - 1) / step * step;
}

} // namespace

class lmdb_environment::impl {
public:
  impl(std::string directory, const lmdb_config& config)
      : directory_{std::move(directory)}, file_{path_in(directory_)}, config_{config} {}
  ~impl();
  impl(const impl&) = delete;
  impl& operator=(const impl&) = delete;

  std::optional<disk_fault> open();
  std::unique_ptr<write_txn> begin_write();
  std::unique_ptr<read_txn> begin_read();
  std::unique_ptr<kept_commit> keep();
  void release(MDB_txn* txn, std::size_t moment);
  void leave_syncing_to_caller() { mdb_env_set_flags(env_, MDB_NOSYNC, 1); }
  int descriptor() const { return file_descriptor_; }
  space room();
  void give_back() {
    if (const auto pages = failed_ || writing_ ? 0 : spare_.due(steady::now()); pages != 0)
      free_pages(env_, tables_[0], page_bytes_, pages);
  }
  lmdb_stats stats();

private:
  /// A read transaction of LMDB, reset between its uses: a new one would cost a lock and a slot.
  struct slot {
    slot(MDB_txn* txn, const lmdb_tables::handles& tables) : tables{txn, tables, nullptr} {}
    lmdb_tables tables;
    std::size_t moment = 0; ///< number of the commit it sees
  };
  enum class if_full { wait, refuse };
  class reader;
  class writer;

  std::unique_ptr<slot> take_slot(if_full policy, ec& why);
  void give_back(std::unique_ptr<slot> s);
  void grow_if_needed();
  void prepare_file();
  /// Ends the process. In tests that turn this off, every transaction from now on fails.
  ec stop(ec why, const std::string& objection);
  void committed(std::uint64_t rows, std::chrono::microseconds took);
  void measure();
  std::uint64_t disk_bytes_free() const { return bytes_free_on_disk(directory_); }

  const std::string directory_;
  const std::string file_;
  const lmdb_config config_;
  map_guard guard_{file_};
  MDB_env* env_ = nullptr;
  lmdb_tables::handles tables_{};
  std::uint64_t page_bytes_ = 4096;

  // Used by the writer only.
  std::string scratch_;
  bool writing_ = false;
  spare_pages spare_{config_.pages_kept_for};
  steady::time_point grow_again_at_{};
  int file_descriptor_ = -1; ///< LMDB's
  bool prepares_ = true;

  std::atomic<bool> failed_{false};
  std::atomic<std::uint64_t> map_bytes_{0};
  std::atomic<std::uint64_t> used_bytes_{0};
  std::atomic<std::uint64_t> prepared_bytes_{0}; ///< the file's size
  std::atomic<std::uint64_t> commits_{0};

  // The gate, and the pool behind it.
  std::mutex gate_;
  std::condition_variable gate_moved_;
  bool growing_ = false;
  std::uint32_t readers_ = 0;
  std::uint32_t readers_peak_ = 0;
  std::vector<std::unique_ptr<slot>> idle_;
  std::vector<std::size_t> moments_; ///< those that open readers see, and those that are kept; in no order

  std::mutex stats_mutex_;
  lmdb_stats stats_;

  std::mutex room_mutex_;
  bool accepts_ = true;
  std::uint64_t free_bytes_ = 0;
  std::uint64_t free_counted_at_ = ~std::uint64_t{0}; ///< number of commits
  std::size_t free_counted_for_ = 0;                  ///< the oldest reader's moment
};

// --- transactions ------------------------------------------------------------------------------------------

class lmdb_environment::impl::reader final : public read_txn {
public:
  reader(impl& env, std::unique_ptr<slot> s, ec why) : env_{env}, slot_{std::move(s)}, dead_{why} {}
  ~reader() override {
    if (slot_)
      env_.give_back(std::move(slot_));
  }
  std::optional<std::string_view> get(table t, std::string_view key) override {
    return slot_ ? slot_->tables.get(t, key) : std::nullopt;
  }
  void ascend(table t, std::string_view from, std::string_view to, const visitor& visit) override {
    if (slot_)
      slot_->tables.ascend(t, from, to, visit);
  }
  void descend(table t, std::string_view from, std::string_view to, const visitor& visit) override {
    if (slot_)
      slot_->tables.descend(t, from, to, visit);
  }
  ec status() const override { return slot_ ? slot_->tables.status() : dead_; }

private:
  impl& env_;
  std::unique_ptr<slot> slot_;
  ec dead_; ///< without a slot: why
};

class lmdb_environment::impl::writer final : public write_txn {
public:
  writer(impl& env, MDB_txn* txn)
      : env_{env}, tables_{txn, env.tables_, &env.scratch_}, open_{txn != nullptr} {
    if (!open_)
      tables_.fail(ec::storage_failed, "there is no transaction: storage failed before");
  }
  ~writer() override { abandon(); }

  std::optional<std::string_view> get(table t, std::string_view key) override { return tables_.get(t, key); }
  void ascend(table t, std::string_view from, std::string_view to, const visitor& visit) override {
    tables_.ascend(t, from, to, visit);
  }
  void descend(table t, std::string_view from, std::string_view to, const visitor& visit) override {
    tables_.descend(t, from, to, visit);
  }
  void put(table t, std::string_view key, std::string_view value) override { tables_.put(t, key, value); }
  void append(table t, std::string_view key, std::string_view value) override {
    tables_.append(t, key, value);
  }
  void erase(table t, std::string_view key) override { tables_.erase(t, key); }
  std::size_t erase_range(table t, std::string_view from, std::string_view to,
                          std::size_t rows_max) override {
    return tables_.erase_range(t, from, to, rows_max);
  }
  ec status() const override { return tables_.status(); }

  ec commit(durable /*LMDB has one way at a time*/) override {
    if (tables_.status() != ec::none) {
      abandon();
      return env_.stop(tables_.status(), tables_.objection());
    }
    if (!open_)
      return env_.stop(ec::internal, "a transaction was committed twice");
    const auto began = steady::now();
    tables_.close_cursors();
    const int rc = mdb_txn_commit(tables_.txn());
    open_ = false;
    env_.writing_ = false;
    if (rc != 0)
      return env_.stop(rc == MDB_MAP_FULL || stopped_by_full_disk(rc, env_.disk_bytes_free())
                           ? ec::disk_full
                           : ec::storage_failed,
                       std::string{"commit: "} + mdb_strerror(rc));
    env_.spare_.committed(tables_.rows_scattered(), steady::now());
    env_.committed(tables_.rows_written(),
                   std::chrono::duration_cast<std::chrono::microseconds>(steady::now() - began));
    return ec::none;
  }

private:
  void abandon() {
    if (!open_)
      return;
    tables_.close_cursors();
    mdb_txn_abort(tables_.txn());
    open_ = false;
    env_.writing_ = false;
  }

  impl& env_;
  lmdb_tables tables_;
  bool open_;
};

// --- opening and closing -----------------------------------------------------------------------------------

std::optional<disk_fault> lmdb_environment::impl::open() {
  struct stat had {};
  const bool is_new = ::stat(file_.c_str(), &had) != 0;
  const auto size = is_new ? 0 : static_cast<std::uint64_t>(had.st_size);
  const auto wanted = std::max(config_.map_bytes_initial, round_up(size, config_.map_bytes_step));
  const auto map = round_up(std::min(wanted, config_.map_bytes_max), page_bytes_max);

  if (const int rc = mdb_env_create(&env_); rc != 0)
    return lmdb_failure(file_, "open", rc);
  mdb_env_set_maxdbs(env_, table_count);
  mdb_env_set_maxreaders(env_, config_.readers_max + kept_commits_max);
  mdb_env_set_mapsize(env_, map);
  unsigned flags = MDB_NOSUBDIR | MDB_NOTLS; // NOTLS: a reader belongs to its object, not to a thread
  if (!config_.read_ahead)
    flags |= MDB_NORDAHEAD;
  if (config_.read_only)
    flags |= MDB_RDONLY | MDB_NOLOCK; // the caller holds the directory's lock, so there is no writer
  mdb_env_set_userctx(env_, const_cast<std::string*>(&file_));
  mdb_env_set_assert(env_, assertion_failed);
  if (const int rc = mdb_env_open(env_, file_.c_str(), flags, 0600); rc != 0)
    return lmdb_failure(file_, "open", rc);
  guard_.find_map();
  if (!config_.read_only) {
    int dead = 0;
    mdb_reader_check(env_, &dead); // slots of a killed predecessor pin the pages it was reading
  }

  MDB_txn* txn = nullptr;
  if (const int rc = mdb_txn_begin(env_, nullptr, config_.read_only ? MDB_RDONLY : 0, &txn); rc != 0)
    return lmdb_failure(file_, "open", rc);
  constexpr const char* names[table_count] = {"node", "log", "state"};
  for (std::size_t i = 0; i < table_count; ++i) {
    const int rc = mdb_dbi_open(txn, names[i], config_.read_only ? 0 : MDB_CREATE, &tables_[i]);
    if (rc != 0) {
      mdb_txn_abort(txn);
      return lmdb_failure(file_, "find its tables in", rc);
    }
  }
  if (const int rc = mdb_txn_commit(txn); rc != 0)
    return lmdb_failure(file_, "write to", rc);
  if (is_new) {
    if (const int rc = sync_directory(directory_); rc != 0)
      return lmdb_failure(directory_, "sync", rc);
  }
  MDB_stat whole{};
  mdb_env_stat(env_, &whole);
  page_bytes_ = whole.ms_psize;
  mdb_env_get_fd(env_, &file_descriptor_);
  if (struct stat has{}; ::fstat(file_descriptor_, &has) == 0)
    prepared_bytes_ = round_up(static_cast<std::uint64_t>(has.st_size), page_bytes_);
  else
    prepares_ = false;
  measure();
  return std::nullopt;
}

lmdb_environment::impl::~impl() {
  assert(readers_ == 0 && !writing_);
  for (auto& s : idle_) {
    s->tables.close_cursors();
    mdb_txn_abort(s->tables.txn());
  }
  if (env_ != nullptr)
    mdb_env_close(env_);
}

// --- writing -----------------------------------------------------------------------------------------------

std::unique_ptr<write_txn> lmdb_environment::impl::begin_write() {
  assert(!writing_ && !config_.read_only);
  MDB_txn* txn = nullptr;
  if (!failed_) {
    grow_if_needed();
    prepare_file();
    if (const int rc = mdb_txn_begin(env_, nullptr, 0, &txn); rc != 0) {
      txn = nullptr;
      stop(ec::storage_failed, std::string{"begin: "} + mdb_strerror(rc));
    }
  }
  writing_ = txn != nullptr;
  return std::make_unique<writer>(*this, txn);
}

ec lmdb_environment::impl::stop(ec why, const std::string& objection) {
  failed_ = true;
  if (config_.abort_on_failure) {
    end_process("parleyd: storage failed (" + std::string{describe(why).name} + "): " + file_ + ": " +
                objection + advice_after_failed_write(why));
  }
  return why;
}

void lmdb_environment::impl::committed(std::uint64_t rows, std::chrono::microseconds took) {
  measure();
  ++commits_;
  std::lock_guard guard{stats_mutex_};
  ++stats_.commits;
  stats_.rows += rows;
  stats_.commit_last = took;
  stats_.commit_total += took;
  const auto bucket = rows <= 1 ? 0 : std::bit_width(rows - 1);
  ++stats_.batches[std::min<std::size_t>(bucket, stats_.batches.size() - 1)];
}

void lmdb_environment::impl::measure() {
  MDB_envinfo info{};
  mdb_env_info(env_, &info);
  map_bytes_ = info.me_mapsize;
  used_bytes_ = (info.me_last_pgno + 1) * page_bytes_;
}

void lmdb_environment::impl::grow_if_needed() {
  const auto used = used_bytes_.load();
  const auto needed = config_.reserve_bytes + config_.map_bytes_step / 2;
  auto target = map_bytes_.load();
  const auto most = std::max(target, round_up(config_.map_bytes_max, page_bytes_max));
  if (target >= most || used + needed <= target)
    return;
  const auto now = steady::now();
  if (now < grow_again_at_)
    return;
  while (target < most && target < used + needed)
    target += config_.map_bytes_step;
  target = std::min(round_up(target, page_bytes_max), most);

  int rc = 0;
  bool alone = false;
  {
    std::unique_lock lock{gate_};
    growing_ = true;
    alone = gate_moved_.wait_for(lock, config_.grow_wait, [this] { return readers_ == 0; });
    if (alone)
      rc = mdb_env_set_mapsize(env_, target);
    if (alone && rc == 0)
      guard_.find_map();
    growing_ = false;
  }
  gate_moved_.notify_all();
  if (rc != 0) { // the old map is gone
    stop(ec::storage_failed, std::string{"growing the map: "} + mdb_strerror(rc));
    return;
  }
  if (alone)
    measure();
  else
    grow_again_at_ = now + config_.grow_retry_every;
  std::lock_guard guard{stats_mutex_};
  ++(alone ? stats_.growths : stats_.growths_put_off);
}

void lmdb_environment::impl::prepare_file() {
  // A sync is cheaper when it has no new blocks and no new file size to record. Measured with 32 KiB and a
  // meta page per commit: 560 us where the file grows, 475 where fallocate went ahead (the extents change
  // still), 370 where zeros did. And no other program can take the space of the file: it adds to the reserve.
  static constexpr std::size_t step = 1 << 20;
  static const std::string zeros(step, '\0');
  const auto from = std::max(prepared_bytes_.load(), used_bytes_.load());
  const auto end = std::min(from + step, map_bytes_.load());
  if (!prepares_ || end <= from || from >= used_bytes_ + config_.prepare_bytes)
    return;
  // Beyond the file's end, so never over one of LMDB's pages; synced by the next commit.
  const auto n = ::pwrite(file_descriptor_, zeros.data(), end - from, static_cast<off_t>(from));
  prepares_ = n == static_cast<ssize_t>(end - from); // if not, commits go on as they can
  if (n > 0)
    prepared_bytes_ = from + static_cast<std::uint64_t>(n);
}

// --- reading -----------------------------------------------------------------------------------------------

std::unique_ptr<lmdb_environment::impl::slot> lmdb_environment::impl::take_slot(if_full policy, ec& why) {
  std::unique_ptr<slot> s;
  {
    std::unique_lock lock{gate_};
    const auto free = [this] { return !growing_ && readers_ < config_.readers_max; };
    const auto patience = policy == if_full::wait ? config_.reader_wait : std::chrono::milliseconds{0};
    if (failed_) {
      why = ec::storage_failed;
      return nullptr;
    }
    if (!gate_moved_.wait_for(lock, patience, free)) {
      why = ec::overloaded;
      return nullptr;
    }
    readers_peak_ = std::max(readers_peak_, ++readers_);
    if (!idle_.empty()) {
      s = std::move(idle_.back());
      idle_.pop_back();
    }
  }
  int rc = 0;
  if (s) {
    rc = mdb_txn_renew(s->tables.txn());
    s->tables.renewed();
  } else {
    MDB_txn* txn = nullptr;
    rc = mdb_txn_begin(env_, nullptr, MDB_RDONLY, &txn);
    if (rc == 0)
      s = std::make_unique<slot>(txn, tables_);
  }
  if (rc != 0) {
    if (s) {
      s->tables.close_cursors();
      mdb_txn_abort(s->tables.txn());
    }
    {
      std::lock_guard guard{gate_};
      --readers_;
    }
    gate_moved_.notify_all();
    why = ec::storage_failed;
    return nullptr;
  }
  s->moment = mdb_txn_id(s->tables.txn());
  std::lock_guard guard{gate_};
  moments_.push_back(s->moment);
  return s;
}

void lmdb_environment::impl::give_back(std::unique_ptr<slot> s) {
  mdb_txn_reset(s->tables.txn());
  bool awaited = false;
  {
    std::lock_guard guard{gate_};
    awaited = growing_ || readers_ == config_.readers_max;
    --readers_;
    *std::find(moments_.begin(), moments_.end(), s->moment) = moments_.back();
    moments_.pop_back();
    idle_.push_back(std::move(s));
  }
  if (awaited)
    gate_moved_.notify_all();
}

std::unique_ptr<read_txn> lmdb_environment::impl::begin_read() {
  ec why = ec::none;
  auto s = take_slot(if_full::wait, why);
  return std::make_unique<reader>(*this, std::move(s), why);
}

std::unique_ptr<lmdb_environment::kept_commit> lmdb_environment::impl::keep() {
  auto name = name_commit(file_descriptor_, page_bytes_);
  MDB_txn* txn = nullptr;
  if (failed_ || !name || mdb_txn_begin(env_, nullptr, MDB_RDONLY, &txn) != 0)
    return nullptr;
  // It is no open reader: nothing is read in it, so the map may grow meanwhile.
  const auto moment = mdb_txn_id(txn);
  {
    std::lock_guard guard{gate_};
    moments_.push_back(moment);
  }
  return std::unique_ptr<kept_commit>{new kept_commit{*this, txn, moment, std::move(*name)}};
}

void lmdb_environment::impl::release(MDB_txn* txn, std::size_t moment) {
  mdb_txn_abort(txn);
  std::lock_guard guard{gate_};
  *std::find(moments_.begin(), moments_.end(), moment) = moments_.back();
  moments_.pop_back();
}

lmdb_environment::kept_commit::~kept_commit() {
  env_.release(txn_, moment_);
}

// --- space -------------------------------------------------------------------------------------------------

space lmdb_environment::impl::room() {
  const auto used = used_bytes_.load();
  const auto map = map_bytes_.load();
  const auto below = [](std::uint64_t limit, std::uint64_t n) { return limit > n ? limit - n : 0; };
  const auto disk = disk_bytes_free() + below(prepared_bytes_, used);
  const auto until_map_ends = std::min(disk, below(map, used));
  const auto until_limit = std::min(disk, below(std::max(map, config_.map_bytes_max), used));
  const auto resume_at = config_.reserve_bytes + config_.resume_bytes;

  std::lock_guard guard{room_mutex_};
  std::uint64_t free = 0;
  if (until_map_ends < resume_at) {
    // The file never shrinks: on a full disk, what was erased comes back as free pages inside it. They are
    // counted only here, where it matters, and only when something changed, because the count walks LMDB's
    // list. Pages that a reader still sees do not count as free: otherwise a long reader could fill the map.
    ec why = ec::none;
    const auto now = commits_.load();
    if (auto s = take_slot(if_full::refuse, why)) {
      std::size_t oldest = s->moment;
      {
        std::lock_guard readers{gate_};
        oldest = *std::min_element(moments_.begin(), moments_.end());
      }
      if (now != free_counted_at_ || oldest != free_counted_for_) {
        free_bytes_ = count_free_pages(s->tables.txn(), oldest) * page_bytes_;
        free_counted_at_ = now;
        free_counted_for_ = oldest;
      }
      give_back(std::move(s));
    }
    free = free_bytes_;
  }
  const auto usable = until_map_ends + free;
  if (accepts_ && usable < config_.reserve_bytes)
    accepts_ = false;
  else if (!accepts_ && usable >= resume_at)
    accepts_ = true;
  return {until_limit + free, accepts_ && !failed_};
}

lmdb_stats lmdb_environment::impl::stats() {
  lmdb_stats s;
  {
    std::lock_guard guard{stats_mutex_};
    s = stats_;
  }
  s.map_bytes = map_bytes_;
  s.used_bytes = used_bytes_;
  {
    std::lock_guard guard{gate_};
    s.readers = readers_;
    s.readers_peak = readers_peak_;
  }
  ec why = ec::none;
  if (auto slot = take_slot(if_full::refuse, why)) {
    s.free_bytes = count_free_pages(slot->tables.txn(), ~std::size_t{0}) * page_bytes_;
    for (std::size_t i = 0; i < table_count; ++i) {
      MDB_stat one{};
      if (mdb_stat(slot->tables.txn(), tables_[i], &one) == 0)
        s.entries[i] = one.ms_entries;
    }
    give_back(std::move(slot));
  }
  return s;
}

// --- the outside -------------------------------------------------------------------------------------------

lmdb_environment::lmdb_environment(std::unique_ptr<impl> impl) : impl_{std::move(impl)} {}
lmdb_environment::~lmdb_environment() = default;

std::string lmdb_environment::path_in(const std::string& directory) {
  return directory + "/store.mdb";
}

tl::expected<std::unique_ptr<lmdb_environment>, disk_fault>
lmdb_environment::open(const std::string& directory, lmdb_config config) {
  if (const auto fault = validate(config))
    return tl::make_unexpected(
        disk_fault{ec::bad_config, "storage cannot be run with this " + std::string{fault->field}});
  auto inside = std::make_unique<impl>(directory, config);
  if (auto objection = inside->open())
    return tl::make_unexpected(std::move(*objection));
  return std::unique_ptr<lmdb_environment>{new lmdb_environment{std::move(inside)}};
}

std::unique_ptr<write_txn> lmdb_environment::begin_write() {
  return impl_->begin_write();
}
std::unique_ptr<read_txn> lmdb_environment::begin_read() {
  return impl_->begin_read();
}
space lmdb_environment::room() {
  return impl_->room();
}
void lmdb_environment::leave_syncing_to_caller() {
  impl_->leave_syncing_to_caller();
}
std::unique_ptr<lmdb_environment::kept_commit> lmdb_environment::keep() {
  return impl_->keep();
}
int lmdb_environment::belong_to(std::uint64_t salt, std::uint64_t or_to) {
  return storage::belong_to(impl_->descriptor(), salt, or_to);
}
int lmdb_environment::sync() {
  return ::fdatasync(impl_->descriptor()) == 0 ? 0 : errno;
}
void lmdb_environment::give_back() {
  impl_->give_back();
}
lmdb_stats lmdb_environment::stats() {
  return impl_->stats();
}

} // namespace parley::storage

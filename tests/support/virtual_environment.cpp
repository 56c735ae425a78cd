#include "tests/support/virtual_environment.hpp"

#include <iterator>
#include <set>
#include <stdexcept>
#include <utility>

namespace parley::test {

using storage::scan;
using storage::table;

namespace {

std::size_t at(table t) {
  return static_cast<std::size_t>(t);
}

void check_key(std::string_view key) {
  if (key.empty() || key.size() > storage::key_bytes_max)
    throw std::logic_error{"virtual_environment: a key has 1 to 511 bytes"};
}

template <class Map>
auto bound(Map& map, std::string_view key) {
  return key.empty() ? map.end() : map.lower_bound(key);
}

} // namespace

/// Reads from the pinned image. The pin is released under the lock, so that a writer that finds no
/// other owner may change the rows in place.
class virtual_environment::reader : public storage::read_txn {
public:
  explicit reader(virtual_environment& env) : env_{env}, rows_{env.pin()} {}
  ~reader() override {
    std::lock_guard guard{env_.mutex_};
    rows_ = {};
  }

  std::optional<std::string_view> get(table t, std::string_view key) override {
    auto i = rows_[at(t)]->find(key);
    return i == rows_[at(t)]->end() ? std::nullopt : read(i->second);
  }

  void ascend(table t, std::string_view from, std::string_view to, const storage::visitor& visit) override {
    auto& rows = *rows_[at(t)];
    if (!to.empty() && to <= from)
      return;
    for (auto i = rows.lower_bound(from), end = bound(rows, to); i != end; ++i)
      if (auto value = read(i->second); value && visit(i->first, *value) == scan::stop)
        return;
  }

  void descend(table t, std::string_view from, std::string_view to, const storage::visitor& visit) override {
    auto& rows = *rows_[at(t)];
    if (!to.empty() && to <= from)
      return;
    for (auto i = bound(rows, to), begin = rows.lower_bound(from); i != begin;) {
      --i;
      if (auto value = read(i->second); value && visit(i->first, *value) == scan::stop)
        return;
    }
  }

  ec status() const override { return status_; }

private:
  std::optional<std::string_view> read(const record& r) {
    if (r.readable)
      return r.value;
    status_ = ec::corrupt;
    return std::nullopt;
  }

  virtual_environment& env_;
  image rows_;
  ec status_ = ec::none;
};

/// The pinned image with the transaction's own changes on top.
class virtual_environment::writer : public storage::write_txn {
public:
  explicit writer(virtual_environment& env) : env_{env}, life_{env.life_} {
    if (env.writing_)
      throw std::logic_error{"virtual_environment: two write transactions at once"};
    env.writing_ = true;
  }
  ~writer() override { close(); }

  std::optional<std::string_view> get(table t, std::string_view key) override {
    if (auto i = changes_[at(t)].find(key); i != changes_[at(t)].end())
      return i->second ? std::optional<std::string_view>{*i->second} : std::nullopt;
    auto& rows = below(t);
    auto i = rows.find(key);
    return i == rows.end() ? std::nullopt : read(i->second);
  }

  void ascend(table t, std::string_view from, std::string_view to, const storage::visitor& visit) override {
    if (!to.empty() && to <= from)
      return;
    auto& rows = below(t);
    auto& changes = changes_[at(t)];
    auto i = rows.lower_bound(from);
    auto j = changes.lower_bound(from);
    const auto i_end = bound(rows, to);
    const auto j_end = bound(changes, to);
    while (i != i_end || j != j_end) {
      if (j == j_end || (i != i_end && i->first < j->first)) {
        if (auto value = read(i->second); value && visit(i->first, *value) == scan::stop)
          return;
        ++i;
        continue;
      }
      if (i != i_end && i->first == j->first)
        ++i;
      if (j->second && visit(j->first, *j->second) == scan::stop)
        return;
      ++j;
    }
  }

  void descend(table t, std::string_view from, std::string_view to, const storage::visitor& visit) override {
    if (!to.empty() && to <= from)
      return;
    auto& rows = below(t);
    auto& changes = changes_[at(t)];
    auto i = bound(rows, to);
    auto j = bound(changes, to);
    const auto i_begin = rows.lower_bound(from);
    const auto j_begin = changes.lower_bound(from);
    while (i != i_begin || j != j_begin) {
      if (j == j_begin || (i != i_begin && std::prev(i)->first > std::prev(j)->first)) {
        --i;
        if (auto value = read(i->second); value && visit(i->first, *value) == scan::stop)
          return;
        continue;
      }
      if (i != i_begin && std::prev(i)->first == std::prev(j)->first)
        --i;
      --j;
      if (j->second && visit(j->first, *j->second) == scan::stop)
        return;
    }
  }

  ec status() const override { return status_; }

  void put(table t, std::string_view key, std::string_view value) override {
    check_key(key);
    changes_[at(t)].insert_or_assign(std::string{key}, std::string{value});
  }

  void append(table t, std::string_view key, std::string_view value) override {
    bool is_last = true;
    descend(t, {}, {}, [&](std::string_view last, std::string_view) {
      is_last = last < key;
      return scan::stop;
    });
    if (!is_last)
      throw std::logic_error{"virtual_environment: append below the last key"};
    put(t, key, value);
  }

  void erase(table t, std::string_view key) override {
    check_key(key);
    changes_[at(t)].insert_or_assign(std::string{key}, std::nullopt);
  }

  std::size_t erase_range(table t, std::string_view from, std::string_view to,
                          std::size_t rows_max) override {
    // As LMDB does, it looks at keys only: a row that cannot be read is erased like others.
    std::set<std::string> doomed;
    if (to.empty() || from < to) {
      auto& rows = below(t);
      for (auto i = rows.lower_bound(from), end = bound(rows, to); i != end; ++i)
        doomed.insert(i->first);
      auto& changes = changes_[at(t)];
      for (auto i = changes.lower_bound(from), end = bound(changes, to); i != end; ++i)
        if (i->second)
          doomed.insert(i->first);
        else
          doomed.erase(i->first);
    }
    while (doomed.size() > rows_max)
      doomed.erase(std::prev(doomed.end()));
    for (auto& key : doomed)
      erase(t, key);
    return doomed.size();
  }

  ec commit(storage::durable /*the test decides*/) override {
    if (!close())
      throw std::logic_error{"virtual_environment: a transaction commits once"};
    if (status_ != ec::none)
      return status_; // what it wrote may follow from a row that it could not read
    return env_.commit(changes_, life_);
  }

private:
  // This needs no lock: only the writer changes the image, and there is one writer.
  const rows_type& below(table t) const { return *env_.image_[at(t)]; }

  std::optional<std::string_view> read(const record& r) {
    if (r.readable)
      return r.value;
    status_ = ec::corrupt;
    return std::nullopt;
  }

  bool close() {
    const bool was_open = open_;
    if (was_open && env_.life_ == life_)
      env_.writing_ = false;
    open_ = false;
    return was_open;
  }

  virtual_environment& env_;
  changes_type changes_;
  std::uint64_t life_;
  ec status_ = ec::none;
  bool open_ = true;
};

virtual_environment::virtual_environment(durability when, std::uint64_t seed) : when_{when}, seed_{seed} {
  for (auto& rows : image_)
    rows = std::make_shared<rows_type>();
}

virtual_environment::~virtual_environment() = default;

std::unique_ptr<storage::write_txn> virtual_environment::begin_write() {
  return std::make_unique<writer>(*this);
}

std::unique_ptr<storage::read_txn> virtual_environment::begin_read() {
  return std::make_unique<reader>(*this);
}

storage::space virtual_environment::room() {
  return room_;
}

void virtual_environment::synced() {
  undo_.clear();
}

std::size_t virtual_environment::crash(unsynced what) {
  ++life_;
  writing_ = false;
  std::size_t kept = 0;
  if (what == unsynced::kept)
    kept = undo_.size();
  else if (what == unsynced::seeded && !undo_.empty())
    kept = chance() % (undo_.size() + 1);
  std::lock_guard guard{mutex_};
  while (undo_.size() > kept) {
    const auto& batch = undo_.back();
    // Only the oldest lost batch can be torn, because the disk writes batches in order.
    const bool torn = tear_ && undo_.size() == kept + 1 && !batch.empty();
    undo(batch, torn ? chance() % batch.size() : 0);
    undo_.pop_back();
  }
  undo_.clear();
  return kept;
}

virtual_environment::copy_type virtual_environment::copy() const {
  copy_type out;
  std::lock_guard guard{mutex_};
  for (std::size_t t = 0; t < out.size(); ++t)
    out[t] = *image_[t];
  return out;
}

void virtual_environment::put_back(const copy_type& older) {
  wipe();
  std::lock_guard guard{mutex_};
  for (std::size_t t = 0; t < older.size(); ++t)
    image_[t] = std::make_shared<rows_type>(older[t]);
}

void virtual_environment::wipe() {
  ++life_;
  writing_ = false;
  undo_.clear();
  std::lock_guard guard{mutex_};
  for (auto& rows : image_)
    rows = std::make_shared<rows_type>();
}

void virtual_environment::set_room(storage::space space) {
  room_ = space;
}

bool virtual_environment::corrupt(table t, std::string_view key) {
  std::lock_guard guard{mutex_};
  auto& rows = own(t);
  auto i = rows.find(key);
  if (i == rows.end())
    return false;
  i->second.readable = false;
  return true;
}

void virtual_environment::fail_next_commit() {
  fail_next_ = true;
}

void virtual_environment::tear_batches(bool on) {
  tear_ = on;
}

std::size_t virtual_environment::rows(table t) const {
  return pin()[at(t)]->size();
}

std::map<std::string, std::string> virtual_environment::dump(table t) const {
  const auto pinned = pin();
  std::map<std::string, std::string> out;
  for (auto& [key, record] : *pinned[at(t)])
    out.emplace(key, record.value);
  return out;
}

virtual_environment::image virtual_environment::pin() const {
  std::lock_guard guard{mutex_};
  return image_;
}

// Must be called under the lock. Makes the table exclusively ours, by copying it if a reader still holds it.
virtual_environment::rows_type& virtual_environment::own(table t) {
  auto& rows = image_[at(t)];
  if (rows.use_count() > 1)
    rows = std::make_shared<rows_type>(*rows);
  return *rows;
}

ec virtual_environment::commit(changes_type& changes, std::uint64_t life) {
  if (life != life_)
    return ec::storage_failed;
  const bool fails = std::exchange(fail_next_, false);
  if (fails && chance() % 2 == 0)
    return ec::storage_failed;
  undo_type batch;
  {
    std::lock_guard guard{mutex_};
    for (std::size_t n = 0; n < changes.size(); ++n) {
      if (changes[n].empty())
        continue;
      const auto t = static_cast<table>(n);
      auto& rows = own(t);
      for (auto& [key, value] : changes[n]) {
        auto i = rows.find(key);
        if (i == rows.end() && !value)
          continue;
        if (when_ == durability::on_synced)
          batch.push_back({t, key, i == rows.end() ? std::nullopt : std::optional{std::move(i->second)}});
        if (!value)
          rows.erase(i);
        else if (i == rows.end())
          rows.emplace(key, record{std::move(*value)});
        else
          i->second = record{std::move(*value)};
      }
    }
  }
  ++commits_;
  if (when_ == durability::on_synced)
    undo_.push_back(std::move(batch));
  return fails ? ec::storage_failed : ec::none;
}

// Must be called under the lock. Keeps `rows_kept` rows of the batch, which tears it.
void virtual_environment::undo(const undo_type& batch, std::size_t rows_kept) {
  for (auto n = batch.size(); n-- > rows_kept;) {
    auto& rows = own(batch[n].table);
    if (batch[n].was)
      rows.insert_or_assign(batch[n].key, *batch[n].was);
    else
      rows.erase(batch[n].key);
  }
}

std::uint64_t virtual_environment::chance() {
  seed_ += 0x9e3779b97f4a7c15ULL;
  return mix64(seed_);
}

} // namespace parley::test

#include "storage/lmdb_tables.hpp"

#include "storage/crc32c.hpp"

#include <cassert>
#include <cstring>

namespace parley::storage {
namespace {

constexpr std::size_t index(table t) {
  return static_cast<std::size_t>(t);
}

constexpr const char* name(table t) {
  constexpr const char* names[] = {"node", "log", "state"};
  return names[index(t)];
}

MDB_val val(std::string_view s) {
  return {s.size(), const_cast<char*>(s.data())};
}

std::string_view view(const MDB_val& v) {
  return {static_cast<const char*>(v.mv_data), v.mv_size};
}

std::uint32_t checksum(table t, std::string_view key, std::string_view value) {
  const char which = static_cast<char>(t);
  return crc32c(value, crc32c(key, crc32c({&which, 1})));
}

/// A copy of a key, valid after its page has changed.
class key_copy {
public:
  key_copy() = default;
  explicit key_copy(std::string_view key) { *this = key; }
  key_copy& operator=(std::string_view key) {
    size_ = key.copy(bytes_, sizeof bytes_);
    return *this;
  }
  std::string_view view() const { return {bytes_, size_}; }

private:
  std::size_t size_ = 0;
  char bytes_[lmdb_tables::key_bytes_max + 1]; // one more than allowed: what is too long stays too long
};

} // namespace

/// A cursor for one scan; scans may be nested.
class lmdb_tables::lease {
public:
  lease(lmdb_tables& owner, table t) : owner_{owner}, t_{t} {
    auto& idle = owner.idle_[index(t)];
    int rc = 0;
    if (!idle.empty()) {
      const auto last = idle.back();
      idle.pop_back();
      cursor_ = last.cursor;
      if (last.life != owner.life_)
        rc = mdb_cursor_renew(owner.txn_, cursor_);
    } else {
      rc = mdb_cursor_open(owner.txn_, owner.tables_[index(t)], &cursor_);
      if (rc != 0)
        cursor_ = nullptr;
    }
    usable_ = !owner.fault(rc, "cursor", t) && rc == 0;
  }
  ~lease() {
    if (cursor_ != nullptr)
      owner_.idle_[index(t_)].push_back({cursor_, usable_ ? owner_.life_ : ~std::uint64_t{0}});
  }
  lease(const lease&) = delete;
  lease& operator=(const lease&) = delete;

  bool usable() const { return usable_; }
  /// Moves the cursor; returns whether it is at a record, and at which.
  bool move(MDB_cursor_op op, MDB_val& key, MDB_val& record) {
    const int rc = mdb_cursor_get(cursor_, &key, &record, op);
    return !owner_.fault(rc, "scan", t_) && rc == 0;
  }
  /// Moves to the first key at or above `from`; an empty `from` is below all others.
  bool seek(std::string_view from, MDB_val& key, MDB_val& record) {
    key = val(from);
    return move(from.empty() ? MDB_FIRST : MDB_SET_RANGE, key, record);
  }
  /// Moves to the last key below `to`; an empty `to` is above all others.
  bool seek_below(std::string_view to, MDB_val& key, MDB_val& record) {
    if (to.empty())
      return move(MDB_LAST, key, record);
    key = val(to);
    return move(MDB_SET_RANGE, key, record) ? move(MDB_PREV, key, record) : move(MDB_LAST, key, record);
  }
  bool erase() {
    const int rc = mdb_cursor_del(cursor_, 0);
    return !owner_.fault(rc, "erase", t_) && rc == 0;
  }

private:
  lmdb_tables& owner_;
  table t_;
  MDB_cursor* cursor_ = nullptr;
  bool usable_ = false;
};

void lmdb_tables::fail(ec why, std::string objection) {
  if (status_ != ec::none)
    return;
  status_ = why;
  objection_ = std::move(objection);
}

bool lmdb_tables::fault(int rc, const char* call, table t) {
  if (rc == 0 || rc == MDB_NOTFOUND)
    return false;
  ec why = ec::storage_failed;
  if (rc == MDB_MAP_FULL)
    why = ec::disk_full;
  else if (rc == MDB_CORRUPTED || rc == MDB_PAGE_NOTFOUND)
    why = ec::corrupt;
  fail(why, std::string{call} + " in table " + name(t) + ": " + mdb_strerror(rc));
  return true;
}

std::optional<std::string_view> lmdb_tables::checked(table t, std::string_view key, const MDB_val& record) {
  const auto whole = view(record);
  if (whole.size() >= trailer_bytes && whole.size() <= record_bytes_max) {
    const auto value = whole.substr(0, whole.size() - trailer_bytes);
    std::uint32_t stored = 0;
    std::memcpy(&stored, value.data() + value.size(), trailer_bytes);
    if (stored == checksum(t, key, value))
      return value;
  }
  fail(ec::corrupt, std::string{"a record of table "} + name(t) + " fails its checksum");
  return std::nullopt;
}

std::optional<std::string_view> lmdb_tables::get(table t, std::string_view key) {
  if (txn_ == nullptr || key.empty())
    return std::nullopt;
  auto k = val(key);
  MDB_val record{};
  const int rc = mdb_get(txn_, tables_[index(t)], &k, &record);
  if (fault(rc, "get", t) || rc != 0)
    return std::nullopt;
  return checked(t, key, record);
}

void lmdb_tables::ascend(table t, std::string_view from, std::string_view to, const visitor& visit) {
  if (txn_ == nullptr || (!to.empty() && from >= to))
    return;
  lease cursor{*this, t};
  MDB_val k{}, record{};
  bool found = cursor.usable() && cursor.seek(from, k, record);
  while (found) {
    const auto key = view(k);
    if (!to.empty() && key >= to)
      return;
    if (const auto value = checked(t, key, record)) {
      const auto written = rows_written_;
      key_copy here;
      if (scratch_ != nullptr)
        here = key; // the page under `key` may change while the visitor writes
      if (visit(key, *value) == scan::stop)
        return;
      if (rows_written_ != written) {
        found = cursor.seek(here.view(), k, record);
        if (!found || view(k) != here.view())
          continue;
      }
    }
    found = cursor.move(MDB_NEXT, k, record);
  }
}

void lmdb_tables::descend(table t, std::string_view from, std::string_view to, const visitor& visit) {
  if (txn_ == nullptr || (!to.empty() && from >= to))
    return;
  // `from` is needed until the end, but a caller's buffer (that of shard_view) may change
  // when its visitor reads.
  const std::string low{from};
  lease cursor{*this, t};
  MDB_val k{}, record{};
  bool found = cursor.usable() && cursor.seek_below(to, k, record);
  while (found) {
    const auto key = view(k);
    if (key < low)
      return;
    if (const auto value = checked(t, key, record)) {
      const auto written = rows_written_;
      key_copy here;
      if (scratch_ != nullptr)
        here = key;
      if (visit(key, *value) == scan::stop)
        return;
      if (rows_written_ != written) {
        found = cursor.seek_below(here.view(), k, record);
        continue;
      }
    }
    found = cursor.move(MDB_PREV, k, record);
  }
}

bool lmdb_tables::may_write() {
  assert(scratch_ != nullptr);
  return txn_ != nullptr && status_ == ec::none;
}

void lmdb_tables::put(table t, std::string_view key, std::string_view value) {
  if (!may_write())
    return;
  // The record is built outside the tree: `value` and `key` may be views into pages that this call
  // rearranges.
  scratch_->assign(value);
  const auto sum = checksum(t, key, value);
  scratch_->append(reinterpret_cast<const char*>(&sum), trailer_bytes);
  const key_copy own{key};
  auto k = val(own.view());
  auto record = val(*scratch_);
  fault(mdb_put(txn_, tables_[index(t)], &k, &record, 0), "put", t);
  ++rows_written_, ++rows_scattered_;
}

void lmdb_tables::append(table t, std::string_view key, std::string_view value) {
  if (!may_write())
    return;
  auto k = val(key);
  MDB_val record{value.size() + trailer_bytes, nullptr};
  const int rc = mdb_put(txn_, tables_[index(t)], &k, &record, MDB_APPEND | MDB_RESERVE);
  if (rc == MDB_KEYEXIST) { // not above all others
    put(t, key, value);
    return;
  }
  ++rows_written_, ++rows_scattered_;
  if (fault(rc, "append", t))
    return;
  // The record is built in place: log entries are large, and each is written once.
  auto* at = static_cast<char*>(record.mv_data);
  const auto sum = checksum(t, key, value);
  value.copy(at, value.size());
  std::memcpy(at + value.size(), &sum, trailer_bytes);
}

void lmdb_tables::erase(table t, std::string_view key) {
  if (!may_write() || key.empty())
    return;
  const key_copy own{key};
  auto k = val(own.view());
  fault(mdb_del(txn_, tables_[index(t)], &k, nullptr), "erase", t);
  ++rows_written_, ++rows_scattered_;
}

std::size_t lmdb_tables::erase_range(table t, std::string_view from, std::string_view to,
                                     std::size_t rows_max) {
  if (!may_write() || (!to.empty() && from >= to))
    return 0;
  lease cursor{*this, t};
  const std::string high{to};
  key_copy here{from};
  MDB_val k{}, record{};
  std::size_t erased = 0;
  // The cursor seeks again after each deletion: where LMDB leaves it depends on how the pages have changed.
  while (erased < rows_max && cursor.usable() && cursor.seek(here.view(), k, record)) {
    if (!high.empty() && view(k) >= high)
      break;
    here = view(k);
    if (!cursor.erase())
      break;
    ++erased;
    ++rows_written_;
  }
  return erased;
}

void lmdb_tables::renewed() {
  ++life_;
  status_ = ec::none;
  objection_.clear();
}

void lmdb_tables::close_cursors() {
  for (auto& table_cursors : idle_) {
    for (auto& idle : table_cursors)
      mdb_cursor_close(idle.cursor);
    table_cursors.clear();
  }
}

} // namespace parley::storage

#pragma once
// The disk as the rest of the node sees it: ordered tables, and transactions with one sync per commit.
// Implementations: `journaled_environment` over `lmdb_environment` (a node), `virtual_environment`
// (tests/support; crashes on command).
#include "protocol/values/errors.hpp"
#include "protocol/values/types.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace parley::storage {

/// Records of the journal hold these numbers: never renumber.
enum class table : std::uint8_t {
  node = 0,  ///< identity, cluster, promise; one row per replica (members, term, vote, applied, slot)
  log = 1,   ///< Raft entries of all shards; key = node-wide sequence, so a batch touches few pages
  state = 2, ///< rows that applied commands have written: [shard][slot][key]
};
inline constexpr std::size_t table_count = 3;
/// Of a key in a table. It is LMDB's bound, as Debian builds it.
inline constexpr std::size_t key_bytes_max = 511;

/// Whether a scan continues; the answer of its visitor.
enum class scan { more, stop };
using visitor = std::function<scan(std::string_view key, std::string_view value)>;

/// One consistent view.
/// Thread: any, one at a time. Views into it are valid until it ends or writes.
/// Errors: a record that fails its checksum reads as absent; from then on `status()` is `corrupt`.
class read_txn {
public:
  virtual ~read_txn() = default;
  virtual std::optional<std::string_view> get(table t, std::string_view key) = 0;
  /// Keys in [from, to), ascending; an empty `to` means "to the end".
  virtual void ascend(table t, std::string_view from, std::string_view to, const visitor& visit) = 0;
  /// Keys in [from, to), descending.
  virtual void descend(table t, std::string_view from, std::string_view to, const visitor& visit) = 0;
  virtual ec status() const = 0;
};

/// When a commit has to survive a power failure.
enum class durable {
  now,      ///< when `commit` returns
  with_next ///< with the next commit that is synced; a crash before that may lose it, and all after it
};

/// Its writes become visible all together or not at all. Thread: the environment's one writer.
class write_txn : public read_txn {
public:
  virtual void put(table t, std::string_view key, std::string_view value) = 0;
  /// As `put`, for a key above all others of the table: cheaper.
  virtual void append(table t, std::string_view key, std::string_view value) = 0;
  virtual void erase(table t, std::string_view key) = 0;
  /// Erases at most `rows_max` keys of [from, to) and returns how many. A result below `rows_max` means
  /// that none is left.
  virtual std::size_t erase_range(table t, std::string_view from, std::string_view to,
                                  std::size_t rows_max) = 0;
  /// When it returns `none`, the transaction is as durable (fdatasync) as `when` says. After any other result
  /// the outcome is unknown: the process must stop, and Raft restores what was lost. (The environment of a
  /// node aborts by itself; only tests turn that off.)
  virtual ec commit(durable when) = 0;
  ec commit() { return commit(durable::now); }
};

struct space {
  std::uint64_t bytes_free = 0;  ///< that commits can still add
  bool accepts_proposals = true; ///< false: only votes, applies and trimming, which use the reserve
};

class environment {
public:
  virtual ~environment() = default;
  virtual std::unique_ptr<write_txn> begin_write() = 0;
  /// Sees what was published last, and never waits for the writer. Any thread; the writer itself sees all its
  /// commits, because they are published for it. Keep it short: it pins pages.
  virtual std::unique_ptr<read_txn> begin_read() = 0;
  virtual space room() = 0;

  /// Makes everything that is committed visible to readers. The writer calls it between its transactions:
  /// when somebody is told that something can be read, and regularly with `if_due`. After it, another
  /// thread may become the writer.
  enum class publishing { now, if_due };
  virtual ec publish(publishing) { return ec::none; }
  /// Whether readers see all that is committed, so that `publish` has nothing to do. For the writer.
  virtual bool all_visible() const { return true; }
  /// Whether readers see all that is committed of the shard's rows whose keys begin so: with a letter and an id of 8 or 16
  /// bytes. For the writer. May say no although they do.
  virtual bool visible(shard_id, std::string_view /*beginning*/) const { return all_visible(); }
};

/// One shard's state rows inside a transaction, as a state machine sees them: keys have no shard and slot
/// prefix. The slot changes when a snapshot is installed: its rows are stored beside the old ones, then the
/// replica's record names the new slot.
class shard_view {
public:
  static constexpr std::size_t key_bytes_max = storage::key_bytes_max - 3; ///< without the prefix

  shard_view(read_txn& txn, shard_id shard, std::uint8_t slot) : txn_{txn}, prefix_{prefix(shard, slot)} {}

  static std::string prefix(shard_id shard, std::uint8_t slot) {
    return {static_cast<char>(number(shard) >> 8), static_cast<char>(number(shard) & 0xff),
            static_cast<char>(slot)};
  }

  std::optional<std::string_view> get(std::string_view key) { return txn_.get(table::state, full(key)); }
  void ascend(std::string_view from, std::string_view to, const visitor& visit) {
    txn_.ascend(table::state, full(from), to.empty() ? above() : prefix_ + std::string{to},
                [&](std::string_view k, std::string_view v) { return visit(k.substr(prefix_.size()), v); });
  }
  void descend(std::string_view from, std::string_view to, const visitor& visit) {
    txn_.descend(table::state, full(from), to.empty() ? above() : prefix_ + std::string{to},
                 [&](std::string_view k, std::string_view v) { return visit(k.substr(prefix_.size()), v); });
  }
  ec status() const { return txn_.status(); }

protected:
  std::string_view full(std::string_view key) {
    scratch_.assign(prefix_).append(key);
    return scratch_;
  }
  std::string above() const { // the first key after all of this shard's slot
    std::string s = prefix_;
    for (auto i = s.size(); i-- > 0;) {
      if (static_cast<unsigned char>(s[i]) != 0xff) {
        s[i] = static_cast<char>(s[i] + 1);
        s.resize(i + 1);
        return s;
      }
    }
    return {};
  }
  read_txn& txn_;
  std::string prefix_;
  std::string scratch_;
};

class shard_txn : public shard_view {
public:
  shard_txn(write_txn& txn, shard_id shard, std::uint8_t slot) : shard_view{txn, shard, slot}, write_{txn} {}
  void put(std::string_view key, std::string_view value) { write_.put(table::state, full(key), value); }
  void erase(std::string_view key) { write_.erase(table::state, full(key)); }
  std::size_t erase_range(std::string_view from, std::string_view to, std::size_t rows_max) {
    const std::string low{full(from)};
    return write_.erase_range(table::state, low, to.empty() ? above() : prefix_ + std::string{to}, rows_max);
  }

private:
  write_txn& write_;
};

} // namespace parley::storage

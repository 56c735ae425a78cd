#include "tests/sim/late_environment.hpp"

#include <algorithm>
#include <set>
#include <stdexcept>
#include <utility>

namespace parley::sim {

using storage::scan;
using storage::table;

/// Notes which rows it touches. The log's are read by the writer alone.
class late_environment::turn final : public storage::write_txn {
public:
  explicit turn(late_environment& env) : env_{env}, inner_{env.inner_.begin_write()} { env_.in_turn_ = true; }
  ~turn() override { env_.in_turn_ = false; }

  std::optional<std::string_view> get(table t, std::string_view key) override { return inner_->get(t, key); }
  void ascend(table t, std::string_view from, std::string_view to, const storage::visitor& visit) override {
    inner_->ascend(t, from, to, visit);
  }
  void descend(table t, std::string_view from, std::string_view to, const storage::visitor& visit) override {
    inner_->descend(t, from, to, visit);
  }
  ec status() const override { return inner_->status(); }
  void put(table t, std::string_view key, std::string_view value) override {
    touch(t, key);
    inner_->put(t, key, value);
  }
  void append(table t, std::string_view key, std::string_view value) override {
    touch(t, key);
    inner_->append(t, key, value);
  }
  void erase(table t, std::string_view key) override {
    touch(t, key);
    inner_->erase(t, key);
  }
  std::size_t erase_range(table t, std::string_view from, std::string_view to,
                          std::size_t rows_max) override {
    if (t != table::log) {
      std::size_t left = rows_max;
      // Not in this transaction: it would have read rows that it only erases, and one that is damaged would be its end.
      env_.inner_.begin_read()->ascend(t, from, to, [&](std::string_view key, std::string_view) {
        if (left-- == 0)
          return scan::stop;
        touch(t, key);
        return scan::more;
      });
    }
    return inner_->erase_range(t, from, to, rows_max);
  }
  ec commit(storage::durable when) override {
    {
      const auto before =
          env_.inner_.begin_read(); // ends before the commit, which would copy its tables else
      for (std::size_t n = 0; n < touched_.size(); ++n)
        for (const auto& key : touched_[n])
          if (auto& old = env_.old_[n]; !old.contains(key)) {
            const auto value = before->get(static_cast<table>(n), key);
            old.emplace(key, value ? std::optional{std::string{*value}} : std::nullopt);
          }
    }
    env_.in_turn_ = false;
    return inner_->commit(when);
  }

private:
  void touch(table t, std::string_view key) {
    if (t != table::log)
      touched_[static_cast<std::size_t>(t)].emplace(key);
  }
  late_environment& env_;
  std::unique_ptr<storage::write_txn> inner_;
  std::array<std::set<std::string, std::less<>>, storage::table_count> touched_;
};

/// What is committed, with the older values on top.
class late_environment::view final : public storage::read_txn {
public:
  explicit view(late_environment& env) : env_{env}, inner_{env.inner_.begin_read()} {}

  std::optional<std::string_view> get(table t, std::string_view key) override {
    const auto& old = rows(t);
    if (const auto i = old.find(key); i != old.end())
      return i->second ? std::optional<std::string_view>{*i->second} : std::nullopt;
    return inner_->get(t, key);
  }
  void ascend(table t, std::string_view from, std::string_view to, const storage::visitor& visit) override {
    if (!to.empty() && to <= from)
      return;
    const auto& old = rows(t);
    auto i = old.lower_bound(from);
    const auto end = to.empty() ? old.end() : old.lower_bound(to);
    bool stopped = false;
    // Those before `key`, or all of them.
    const auto older = [&](std::optional<std::string_view> key) {
      for (; i != end && !stopped && (!key || i->first < *key); ++i)
        stopped = i->second && visit(i->first, *i->second) == scan::stop;
    };
    inner_->ascend(t, from, to, [&](std::string_view key, std::string_view value) {
      older(key);
      if (stopped)
        return scan::stop;
      if (i != end && i->first == key)
        return scan::more; // it is older itself
      stopped = visit(key, value) == scan::stop;
      return stopped ? scan::stop : scan::more;
    });
    if (!stopped)
      older(std::nullopt);
  }
  void descend(table t, std::string_view from, std::string_view to, const storage::visitor& visit) override {
    if (!to.empty() && to <= from)
      return;
    const auto& old = rows(t);
    auto i = std::make_reverse_iterator(to.empty() ? old.end() : old.lower_bound(to));
    const auto end = std::make_reverse_iterator(old.lower_bound(from));
    bool stopped = false;
    const auto older = [&](std::optional<std::string_view> key) {
      for (; i != end && !stopped && (!key || i->first > *key); ++i)
        stopped = i->second && visit(i->first, *i->second) == scan::stop;
    };
    inner_->descend(t, from, to, [&](std::string_view key, std::string_view value) {
      older(key);
      if (stopped)
        return scan::stop;
      if (i != end && i->first == key)
        return scan::more;
      stopped = visit(key, value) == scan::stop;
      return stopped ? scan::stop : scan::more;
    });
    if (!stopped)
      older(std::nullopt);
  }
  ec status() const override { return inner_->status(); }

private:
  const old_rows& rows(table t) const { return env_.old_[static_cast<std::size_t>(t)]; }
  late_environment& env_;
  std::unique_ptr<storage::read_txn> inner_;
};

std::unique_ptr<storage::write_txn> late_environment::begin_write() {
  if (!std::exchange(behind_, true))
    due_ = now_() + publish_every_;
  return std::make_unique<turn>(*this);
}

std::unique_ptr<storage::read_txn> late_environment::begin_read() {
  publish(publishing::now);
  return inner_.begin_read();
}

ec late_environment::publish(publishing when) {
  if (in_turn_)
    throw std::logic_error{"late_environment: published, or read by the writer, in the middle of a turn"};
  if (!behind_ || (when == publishing::if_due && now_() < due_))
    return ec::none;
  begin();
  inner_.synced();
  return ec::none;
}

void late_environment::begin() {
  for (auto& rows : old_)
    rows.clear();
  behind_ = false;
  in_turn_ = false; // a process that ended in the middle of one has not said so
}

std::unique_ptr<storage::read_txn> late_environment::reading_side::begin_read() {
  env_.late_reads_ += env_.behind_;
  return std::make_unique<view>(env_);
}

bool late_environment::visible(shard_id shard, std::string_view beginning) const {
  const auto& changed = old_[static_cast<std::size_t>(table::state)];
  return std::ranges::none_of(std::array<std::uint8_t, 2>{0, 1}, [&](std::uint8_t slot) {
    const auto all = storage::shard_view::prefix(shard, slot).append(beginning);
    const auto first = changed.lower_bound(all);
    return first != changed.end() && first->first.starts_with(all);
  });
}

} // namespace parley::sim

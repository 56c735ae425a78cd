#include "tests/sim/failing_environment.hpp"

#include <utility>

namespace parley::sim {

using storage::table;

/// What every transaction does that reads. `Txn`: `read_txn` or `write_txn`.
template <class Txn>
class failing_environment::asking : public Txn {
public:
  asking(failing_environment& env, std::unique_ptr<Txn> inner) : inner_{std::move(inner)}, env_{env} {}
  std::optional<std::string_view> get(table t, std::string_view key) override {
    env_.before_read_();
    return inner_->get(t, key);
  }
  void ascend(table t, std::string_view from, std::string_view to, const storage::visitor& visit) override {
    env_.before_read_();
    inner_->ascend(t, from, to, visit);
  }
  void descend(table t, std::string_view from, std::string_view to, const storage::visitor& visit) override {
    env_.before_read_();
    inner_->descend(t, from, to, visit);
  }
  ec status() const override { return inner_->status(); }

protected:
  void before_read() { env_.before_read_(); }
  std::unique_ptr<Txn> inner_;

private:
  failing_environment& env_;
};

class failing_environment::reads final : public asking<storage::read_txn> {
public:
  explicit reads(failing_environment& env) : asking{env, env.inner_.begin_read()} {}
};

class failing_environment::writes final : public asking<storage::write_txn> {
public:
  explicit writes(failing_environment& env) : asking{env, env.inner_.begin_write()} {}
  void put(table t, std::string_view key, std::string_view value) override { inner_->put(t, key, value); }
  void append(table t, std::string_view key, std::string_view value) override {
    inner_->append(t, key, value);
  }
  void erase(table t, std::string_view key) override { inner_->erase(t, key); }
  std::size_t erase_range(table t, std::string_view from, std::string_view to,
                          std::size_t rows_max) override {
    before_read(); // the pages are read first
    return inner_->erase_range(t, from, to, rows_max);
  }
  ec commit(storage::durable when) override { return inner_->commit(when); }
};

std::unique_ptr<storage::write_txn> failing_environment::begin_write() {
  return std::make_unique<writes>(*this);
}

std::unique_ptr<storage::read_txn> failing_environment::begin_read() {
  return std::make_unique<reads>(*this);
}

} // namespace parley::sim

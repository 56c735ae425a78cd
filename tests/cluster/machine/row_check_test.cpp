// All rows of a node's replicas are read, slowly, and a damaged one is found.
#include "cluster/machine/row_check.hpp"
#include "cluster/replication/replication.hpp"
#include "tests/support/virtual_environment.hpp"

#include <doctest/doctest.h>

#include <set>

using namespace parley;
using namespace parley::cluster;
using namespace std::chrono_literals;

namespace {

using milliseconds = std::chrono::milliseconds;

/// A disk with as many rows as asked, read as a node reads it, in virtual time.
struct virtual_reader {
  milliseconds now{1'000'000};
  check_pace pace;
  explicit virtual_reader(milliseconds pass) : pace{pass, now} {}

  /// How long one pass takes, to the beginning of the next one.
  milliseconds pass_over(std::uint64_t rows) {
    const auto began = now;
    for (auto left = rows; left != 0;) {
      const auto n = std::min<std::uint64_t>(left, check_pace::rows_at_once_max);
      left -= n;
      const auto wait = pace.read(static_cast<std::size_t>(n), now);
      CHECK(wait >= check_pace::wait_min);
      if (left != 0)
        now += wait;
    }
    now += pace.passed(now);
    return now - began;
  }
};

struct replicas {
  test::virtual_environment env;
  row_walk walk{env};
  std::set<shard_id> damaged;
  std::size_t rows = 0;

  explicit replicas(int shards, int rows_each) {
    auto txn = env.begin_write();
    for (int s = 0; s < shards; ++s) {
      const shard_id shard{static_cast<std::uint16_t>(s)};
      const member self{node_id{1}, disk_id{1}};
      replication::found(*txn, shard, {self}, self);
      for (int i = 0; i < rows_each; ++i)
        storage::shard_txn{*txn, shard, 0}.put("row " + std::to_string(1'000'000 + i), "value");
    }
    REQUIRE(txn->commit() == ec::none);
  }
  void flip(int shard, int row) {
    REQUIRE(env.corrupt(storage::table::state,
                        storage::shard_view::prefix(shard_id{static_cast<std::uint16_t>(shard)}, 0) + "row " +
                            std::to_string(1'000'000 + row)));
  }
  /// Reads to the end of a pass; gives how often it read.
  int pass() {
    rows = 0;
    damaged.clear();
    for (int n = 1;; ++n) {
      const auto s = walk.next();
      CHECK(s.rows <= check_pace::rows_at_once_max);
      rows += s.rows;
      if (s.damaged)
        damaged.insert(*s.damaged);
      if (s.last)
        return n;
      REQUIRE(n < 10'000);
    }
  }
};

} // namespace

TEST_CASE("a pass takes the time that it may take, whether there are few rows or many") {
  for (const std::uint64_t rows : {std::uint64_t{1}, std::uint64_t{1'000}, std::uint64_t{3'000'000}}) {
    CAPTURE(rows);
    virtual_reader r{24h};
    r.pass_over(rows); // in which it learns how many there are
    const auto second = r.pass_over(rows);
    CHECK(second >= 23h);
    CHECK(second <= 25h);
  }
}

TEST_CASE("the first pass reads evenly, though it does not know how many rows there are") {
  virtual_reader r{24h};
  const auto first = r.pass_over(500'000);
  CHECK(first >= 12h);
  CHECK(first <= 25h);
  virtual_reader many{24h};
  CHECK(many.pass_over(8'000'000) <= 48h);
}

TEST_CASE(
    "with too many rows for the time it reads on without a rest, and never more in a second than it may") {
  virtual_reader r{1s};
  constexpr std::uint64_t rows = 1'000'000;
  const auto took = r.pass_over(rows);
  CHECK(took >= (rows / check_pace::rows_at_once_max) * check_pace::wait_min);
}

TEST_CASE("every row of every replica is read in a pass, a few at a time") {
  replicas r{3, 1'000};
  for (int i = 0; i < 2; ++i) {
    const auto readings = r.pass();
    CHECK(r.rows == 3'000);
    CHECK(r.damaged.empty());
    CHECK(readings >= 3'000 / static_cast<int>(check_pace::rows_at_once_max));
  }
}

TEST_CASE("the shards with damaged rows are found, each once in a pass, and the others are read as a whole") {
  replicas r{4, 700};
  r.flip(1, 0);
  r.flip(1, 699);
  r.flip(3, 699);
  for (int i = 0; i < 2; ++i) {
    r.pass();
    CHECK(r.damaged == std::set{shard_id{1}, shard_id{3}});
    CHECK(r.rows >= 2 * 700);
  }
}

TEST_CASE("a node without replicas, and a replica without rows, are passed at once") {
  replicas none{0, 0};
  CHECK(none.pass() == 1);
  replicas empty{2, 0};
  CHECK(empty.pass() == 1);
}

#pragma once
// A virtual disk whose readers see what was published last, as those of a node's journaled environment do. The
// writer's own reads publish first. What is published is on the disk, because there a publish is a synced commit.
//
// Owns:   by row, the value that readers still see in place of the one that was committed since.
// Thread: one for all.
// Holds:  no reader is open while anything is committed or published (residents read within one message).
#include "tests/cluster/fuzz/simulation.hpp"
#include "tests/support/virtual_environment.hpp"

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

namespace parley::sim {

class late_environment final : public storage::environment {
public:
  /// `inner` and what `now` needs outlive it. `publish_every`: of `publishing::if_due`.
  late_environment(test::virtual_environment& inner, std::function<fuzz::micros()> now,
                   fuzz::micros publish_every)
      : inner_{inner}, now_{std::move(now)}, publish_every_{publish_every}, readers_{*this} {}

  std::unique_ptr<storage::write_txn> begin_write() override;
  std::unique_ptr<storage::read_txn> begin_read() override;
  storage::space room() override { return inner_.room(); }
  ec publish(publishing when) override;
  bool all_visible() const override { return !behind_; }
  bool visible(shard_id shard, std::string_view beginning) const override;

  /// The same for those who read on other threads than the writer's.
  storage::environment& readers() { return readers_; }
  /// A process begins: the journal of the one before is in the tables.
  void begin();
  /// Reads that began while something was not published.
  std::uint64_t late_reads() const { return late_reads_; }

private:
  using old_rows = std::map<std::string, std::optional<std::string>, std::less<>>;
  class turn;
  class view;
  class reading_side final : public storage::environment {
  public:
    explicit reading_side(late_environment& env) : env_{env} {}
    std::unique_ptr<storage::write_txn> begin_write() override { return nullptr; }
    std::unique_ptr<storage::read_txn> begin_read() override;
    storage::space room() override { return env_.room(); }

  private:
    late_environment& env_;
  };

  test::virtual_environment& inner_;
  std::function<fuzz::micros()> now_;
  fuzz::micros publish_every_;
  reading_side readers_;
  std::array<old_rows, storage::table_count> old_; ///< absent: readers see that there was none
  fuzz::micros due_ = 0;
  bool behind_ = false; ///< a transaction was begun since the last publish
  bool in_turn_ = false;
  std::uint64_t late_reads_ = 0;
};

} // namespace parley::sim

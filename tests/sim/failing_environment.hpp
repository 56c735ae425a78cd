#pragma once
// A disk on which a read can fail: before each row that the process reads, and each scan, somebody is asked, who may end the
// process. A node ends then, because LMDB's file is mapped, and the journal is read at its start only (storage/map_guard.hpp).
//
// Thread: one for all.
#include "storage/environment.hpp"

#include <functional>
#include <memory>

namespace parley::sim {

class failing_environment final : public storage::environment {
public:
  /// `inner` and what `before_read` needs outlive it. `before_read` need not return.
  failing_environment(storage::environment& inner, std::function<void()> before_read)
      : inner_{inner}, before_read_{std::move(before_read)} {}

  std::unique_ptr<storage::write_txn> begin_write() override;
  std::unique_ptr<storage::read_txn> begin_read() override;
  storage::space room() override { return inner_.room(); }
  ec publish(publishing when) override { return inner_.publish(when); }
  bool all_visible() const override { return inner_.all_visible(); }
  bool visible(shard_id s, std::string_view beginning) const override { return inner_.visible(s, beginning); }

private:
  template <class Txn>
  class asking;
  class reads;
  class writes;

  storage::environment& inner_;
  std::function<void()> before_read_;
};

} // namespace parley::sim

#pragma once
// One Raft group as a C++ value: libraft's state machine (raft_core.h), with its invariants checked around
// each step, because the packaged library has its own assertions compiled out.
#include "cluster/replication/raft_core.h"
#include "protocol/values/types.hpp"

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace parley::cluster {

/// Stops the process, because a replica that broke its own rules must not continue. Never returns.
[[noreturn]] void broken(std::string_view what, shard_id shard, generation gen, std::uint64_t a = 0,
                         std::uint64_t b = 0);

/// Thread: the store's. Time never runs backwards.
class raft_group {
public:
  struct settings {
    shard_id shard{};
    generation gen{};
    std::uint64_t self = 0;
    std::span<const std::uint64_t> members;
    std::uint32_t seed = 1;
    std::uint32_t election_ms = 500;
    std::uint32_t heartbeat_ms = 80;
    std::uint32_t install_ms = 2000;
    std::uint32_t inflight_entries_max = 4096;
  };
  explicit raft_group(const settings& s);

  using update = raft_core_update;
  using message = raft_core_message;
  using entry = raft_core_entry;

  /// Loads what is stored on the disk. To be called once, first. `first` ≤ snapshot index + 1.
  const update& start(std::int64_t now, std::uint64_t term, std::uint64_t vote, std::uint64_t snapshot_index,
                      std::uint64_t snapshot_term, std::uint64_t first, std::span<const entry> entries);
  /// Null if the library refused the message; nothing has changed then.
  const update* receive(std::int64_t now, const message& m, std::span<const entry> entries);
  /// Null if it is not possible now (not leader, or handing over).
  const update* submit(std::int64_t now, std::uint8_t type, std::uint32_t n);
  const update& persisted_entries(std::int64_t now, std::uint64_t index);
  const update& persisted_snapshot(std::int64_t now, std::uint64_t index, std::uint64_t term);
  const update& snapshot(std::int64_t now, std::uint64_t index, std::uint64_t term, std::uint32_t trailing);
  const update& timeout(std::int64_t now);
  /// Null if it is refused (not leader, already handing over, unknown member).
  const update* transfer(std::int64_t now, std::uint64_t to);

  /// Messages of the last update; valid until the next step.
  message message_at(std::uint32_t i) const;

  std::uint64_t term() const { return raft_core_term(core_.get()); }
  std::uint64_t vote() const { return raft_core_vote(core_.get()); }
  /// Never falls. The library's own index may: a late probe that ends below it, from a leader with a higher
  /// commit index, sets it back to the end of the probe.
  std::uint64_t commit() const { return commit_seen_; }
  std::uint64_t library_commit() const { return raft_core_commit(core_.get()); }
  std::uint64_t last() const { return raft_core_last(core_.get()); }
  std::uint64_t stored() const { return raft_core_stored(core_.get()); }
  std::uint64_t first() const { return raft_core_first(core_.get()); }
  /// What a follower has stored of this leader's log; 0: unknown.
  std::uint64_t match(std::uint64_t id) const { return raft_core_match(core_.get(), id); }
  std::uint64_t leader() const { return raft_core_leader(core_.get()); }
  int state() const { return raft_core_state(core_.get()); }
  bool leads() const { return state() == RAFT_CORE_LEADER; }
  /// When `timeout` has to be called; always after `now`, although the library's time may be in the past.
  std::int64_t deadline(std::int64_t now) const;

private:
  const update& checked(int code, std::string_view step);

  struct closer {
    void operator()(raft_core* core) const { raft_core_destroy(core); }
  };
  std::unique_ptr<raft_core, closer> core_;
  shard_id shard_{};
  generation gen_{};
  update update_{};
  std::uint64_t term_seen_ = 0;
  std::uint64_t commit_seen_ = 0;
};

} // namespace parley::cluster

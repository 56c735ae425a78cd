#pragma once
#include "actors/core/debt_ledger.hpp"
#include "actors/core/delivered_debts.hpp"
#include "actors/interfaces.hpp"
#include "actors/state_reader.hpp"
#include "protocol/values/config_fault.hpp"
#include "protocol/values/counters.hpp"
#include "protocol/values/node_limits.hpp"

#include <chrono>
#include <functional>

namespace parley {

/// What the fan-outs of a node count together. Thread: any.
struct fan_out_counters {
  counter owed{0};         ///< debts in memory
  counter reads_failed{0}; ///< of stored debts
  counter refused{0};      ///< parts of debts that another shard refused, for now or for good
};

/// What keeps a fan-out from paying, for its node's log.
enum class fan_out_trouble : std::uint8_t {
  unread, ///< the stored debts cannot be read; with `none`: they can be read again
  refused ///< another shard refused parts of debts
};

struct fan_out_config {
  core::ledger_config ledger; ///< its `retry` also after the stored debts could not be read
  core::forget_config forget;
  std::chrono::milliseconds sweep_every{50};     ///< while anything is owed
  std::chrono::milliseconds answer_within{2000}; ///< then it is sent again
  fan_out_counters* counters = nullptr;          ///< outlives the actor
  /// Is called on the actor's thread, of `unread` once for each change.
  std::function<void(shard_id, fan_out_trouble, ec)> report;
};
config_check validate(const fan_out_config& config);

/// Spawns the FAN-OUT of a shard that leads here. It begins with the stored debts, so a failover replays
/// what the leader before left, and a bounded number of delivered debts: appends cover ranges, an inbox ignores what
/// it has.
fan_out_actor spawn_fan_out(caf::actor_system& sys, shard_id shard, core::format_number format,
                            fan_out_config config, state_reader& reader, store_actor store,
                            router_actor router);

} // namespace parley

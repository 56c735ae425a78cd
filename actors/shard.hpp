#pragma once
#include "actors/fan_out.hpp"
#include "actors/resident.hpp"

namespace parley {

struct shard_config {
  resident_config resident;
  fan_out_config fan_out;
  std::size_t residents_max = 100'000; ///< per shard; above: overloaded until some passivate
};
config_check validate(const shard_config& config);

/// Spawns the SHARD of one replica. It serves nothing until the STORE sends that it leads.
shard_actor spawn_shard(caf::actor_system& sys, shard_id shard, shard_config config, state_reader& reader,
                        store_actor store, router_actor router);

} // namespace parley

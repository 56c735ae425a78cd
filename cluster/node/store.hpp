#pragma once
// The STORE actor: one thread, one LMDB environment, all Raft groups in it. What it does is in store_loop.hpp.
#include "cluster/node/store_loop.hpp"

namespace parley::cluster {

/// Answered by a call of `done`, on the store's thread.
struct whole_request {
  node_id without{};
  std::function<void(std::vector<shard_id>)> done;
};

/// A reader has found a row of the shard's state that does not match its checksum.
struct damaged_row {
  shard_id shard{};
};

} // namespace parley::cluster
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::cluster::store_wiring)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::cluster::node_row)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::cluster::whole_request)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::cluster::damaged_row)

namespace parley::cluster {

/// The STORE as its node starts it: it begins to work when it receives the wiring. When it is told to stop,
/// it publishes what it has committed and ends, so that the next program of any version needs no journal.
using wired_store_actor =
    store_actor::extend<caf::reacts_to<store_wiring>, caf::reacts_to<damaged_row>,
                        caf::reacts_to<atom::sweep>, caf::reacts_to<atom::stop>, caf::reacts_to<node_row>,
                        caf::reacts_to<peer_begun>, caf::reacts_to<whole_request>>;

/// Spawns it detached, because it blocks during a sync. `env` outlives the actor. A store that cannot open
/// aborts the process; its data is on the other replicas.
wired_store_actor spawn_store(caf::actor_system& sys, store_config config, storage::environment& env);

} // namespace parley::cluster

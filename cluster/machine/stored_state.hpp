#pragma once
// The stored state that residents read: a `state_reader` over an environment, with one short
// read transaction per question.
#include "actors/state_reader.hpp"
#include "storage/environment.hpp"

#include <functional>
#include <memory>

namespace parley::cluster {

/// `env` outlives it. `damaged` is called for each question that met a row which does not match its checksum; from
/// any thread, and it must not block. Thread: any.
std::unique_ptr<state_reader> open_stored_state(storage::environment& env,
                                                std::function<void(shard_id)> damaged);

} // namespace parley::cluster

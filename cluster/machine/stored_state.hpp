#pragma once
// The stored state that residents read: a `state_reader` over an environment, with one short
// read transaction per question.
#include "actors/state_reader.hpp"
#include "storage/environment.hpp"

#include <memory>

namespace parley::cluster {

/// `env` outlives it. Thread: any.
std::unique_ptr<state_reader> open_stored_state(storage::environment& env);

} // namespace parley::cluster

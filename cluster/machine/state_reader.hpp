#pragma once
// The residents' state_reader over an environment: one short read transaction per question.
#include "actors/state_reader.hpp"
#include "storage/environment.hpp"

#include <memory>

namespace parley::cluster {

/// `env` outlives it. Thread: any.
std::unique_ptr<state_reader> make_state_reader(storage::environment& env);

} // namespace parley::cluster

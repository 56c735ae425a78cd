#pragma once
// Runs seeds in processes of their own: a node that cannot go on ends its process, and a run that begins
// with the same memory does the same even if something depends on addresses.
#include "tests/sim/world.hpp"

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace parley::sim {

/// What one seed, or many, came to.
struct result {
  tally count;
  shape_tally shapes;
  std::uint64_t seeds = 0, bad = 0, trace_hash = 0;
  micros took = 0; ///< virtual time
  void add(const result& o);
};
static_assert(std::is_trivially_copyable_v<result>);

struct process {
  int fd = -1;
  pid_t id = -1;
};
process begin(const std::function<result()>& work);
/// Nothing if the process ended before it had a result.
std::optional<result> end(const process& p);

/// Of one seed.
struct finding {
  result is;
  std::string violation; ///< empty if there was none
  std::string story;
  micros storm_began = -1;
};
/// Runs one seed in a process and waits for it.
finding run_alone(const run_options& options);

} // namespace parley::sim

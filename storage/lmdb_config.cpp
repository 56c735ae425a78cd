// Which settings the environment over LMDB can be run with.
#include "storage/lmdb_environment.hpp"

namespace parley::storage {

config_check validate(const lmdb_config& c) {
  if (c.map_bytes_initial == 0)
    return config_fault{"map_bytes_initial"};
  if (c.map_bytes_step == 0)
    return config_fault{"map_bytes_step"};
  if (c.map_bytes_max < c.map_bytes_initial)
    return config_fault{"map_bytes_max"};
  if (c.reserve_bytes >= c.map_bytes_max || c.resume_bytes >= c.map_bytes_max - c.reserve_bytes)
    return config_fault{"reserve_bytes"};
  if (c.readers_max == 0 || c.readers_max > 4096)
    return config_fault{"readers_max"};
  if (c.reader_wait.count() < 0)
    return config_fault{"reader_wait"};
  if (c.grow_wait.count() < 0)
    return config_fault{"grow_wait"};
  if (c.grow_retry_every.count() < 1)
    return config_fault{"grow_retry_every"};
  if (c.pages_kept_for.count() < 0)
    return config_fault{"pages_kept_for"};
  return std::nullopt;
}

} // namespace parley::storage

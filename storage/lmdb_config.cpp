// Which settings the environment over LMDB can be run with.
#include "storage/lmdb_environment.hpp"

namespace parley::storage {

std::optional<std::string> validate(const lmdb_config& c) {
  if (c.map_bytes_initial == 0)
    return "map_bytes_initial";
  if (c.map_bytes_step == 0)
    return "map_bytes_step";
  if (c.map_bytes_max < c.map_bytes_initial)
    return "map_bytes_max";
  if (c.reserve_bytes >= c.map_bytes_max || c.resume_bytes >= c.map_bytes_max - c.reserve_bytes)
    return "reserve_bytes";
  if (c.readers_max == 0 || c.readers_max > 4096)
    return "readers_max";
  if (c.reader_wait.count() < 0)
    return "reader_wait";
  if (c.grow_wait.count() < 0)
    return "grow_wait";
  if (c.grow_retry_every.count() < 1)
    return "grow_retry_every";
  return std::nullopt;
}

} // namespace parley::storage

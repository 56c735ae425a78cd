// What travels together keeps to its bound: several parts are never more than a command may hold, and only
// a part that is larger by itself travels alone.
#include "tests/sim/rules_bounds.hpp"

#include "actors/core/debt_targets.hpp"

#include <fmt/format.h>

namespace parley::sim {

std::string above_bounds(std::string_view command, const core::ledger_config& bounds) {
  const auto c = core::decode_whole<core::command>(command).it;
  const auto* append = c ? std::get_if<core::append_inbox>(&*c) : nullptr;
  if (append == nullptr)
    return {};
  std::size_t bytes = 0;
  for (const auto& part : append->parts)
    bytes += core::weight(part);
  if (append->parts.size() > bounds.parts_max)
    return fmt::format("a command has {} parts, and {} may be", append->parts.size(), bounds.parts_max);
  if (append->parts.size() > 1 && bytes > bounds.parts_bytes_max)
    return fmt::format("a command has {} parts of {} bytes, and {} bytes may be", append->parts.size(), bytes,
                       bounds.parts_bytes_max);
  return {};
}

} // namespace parley::sim

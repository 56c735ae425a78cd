// How far each device counts a conversation as applied: in the end up to the last message that others wrote since it was
// there. What it holds, because something before is missing, does not count.
#include "tests/sim/world.hpp"

#include <fmt/format.h>

#include <ranges>

namespace parley::sim {

seq_no judge::due(conversation_id c, user_id user, device_id device) const {
  const auto known = conversations_.find(c);
  if (known == conversations_.end())
    return {};
  for (const auto& [seq, message] : known->second.at | std::views::reverse)
    if (const auto& m = messages_.at(message);
        m.from != user && !is_lost(c, seq) && was_there(user, device, m))
      return seq;
  return {};
}

std::string world::unplaced() {
  for (const auto& [a, b] : judge_.pairs())
    for (const auto& one : clients_) {
      if (one->user() != a && one->user() != b)
        continue;
      const auto c = core::direct_conversation(a, b);
      if (const auto due = judge_.due(c, one->user(), one->device()); one->position(c) < due)
        return fmt::format(
            "device {} of user {} counts conversation {} as applied up to seq {}, and others wrote up to seq "
            "{} since it was there",
            number(one->device()), number(one->user()), name(c), number(one->position(c)), number(due));
    }
  return {};
}

} // namespace parley::sim

#include "protocol/client/rules/outbox_rules.hpp"

#include <algorithm>

namespace parley::client {
namespace {

/// A message gets so many new counters, and is then given up: the cluster refuses whatever is tried.
constexpr unsigned renumberings_max = 8;

/// How far the next counter is above the clock. The clock does not help if it is behind the one by which the
/// forgotten counters were chosen. By how much is unknown, so each step is a thousand times longer.
constexpr std::int64_t jump_of(unsigned renumberings) {
  return renumberings == 0 ? 0 : std::int64_t{1} << std::min(10 * renumberings, 40U);
}

} // namespace

const send_lanes::item* outbox_rules::take(instant now) {
  if (lanes_.in_flight() >= config_.in_flight_max || lanes_.in_flight_bytes() >= config_.in_flight_bytes_max)
    return nullptr;
  return lanes_.take(now);
}

std::optional<outbox_rules::verdict> outbox_rules::renumber(const send_lanes::item& item, ec why,
                                                            unix_ms calendar) const {
  if (item.renumberings >= renumberings_max)
    return std::nullopt;
  const auto from = static_cast<std::int64_t>(clock(calendar));
  return verdict{fate::renumber, why, unix_ms{from + jump_of(item.renumberings)}};
}

outbox_rules::verdict outbox_rules::stored(const send_attempt& a, const sent& placed, unix_ms calendar) {
  resend_.accepted();
  cluster_time_ = std::max(cluster_time_, placed.at);
  const auto* item = peek(a);
  if (!item)
    return {};
  if (!placed.duplicate || !item->first_attempt())
    return {fate::sent};
  // Another message with the same words: not this one.
  return renumber(*item, ec::conflict, calendar).value_or(verdict{fate::give_up, ec::conflict});
}

outbox_rules::verdict outbox_rules::refused(const send_attempt& a, const failure& why, instant now,
                                            unix_ms calendar, dice& chance) {
  const auto* item = peek(a);
  // The cluster has another text under this counter, so it never had this one; or, in a first attempt, it has
  // forgotten a counter that this profile has never used.
  const bool others =
      why.code == ec::conflict || (why.code == ec::retry_too_old && item && item->first_attempt());
  if (item && others)
    if (auto v = renumber(*item, why.code, calendar))
      return *v;
  const auto v = resend_.refused(why, a.number, item ? item->taken_at : now, now, chance);
  if (!v.again)
    return {item ? fate::give_up : fate::known, why.code};
  lanes_.again(a.conversation, a.counter, now + v.pause);
  return {fate::again, why.code, {}, v.leave};
}

} // namespace parley::client

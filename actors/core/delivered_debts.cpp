#include "actors/core/delivered_debts.hpp"

#include <algorithm>

namespace parley::core {

std::optional<delivered_debts::proposal> delivered_debts::due(time_point now, std::uint64_t confirmed) {
  if (waiting_.empty())
    return std::nullopt;
  if (!since_)
    since_ = now;
  if (waiting_.count() < config_.after && now < *since_ + config_.within)
    return std::nullopt;

  proposal out{++last_ticket_, {}};
  auto& pieces = proposed_[last_ticket_];
  std::size_t debts = 0;
  const auto take = [&](std::uint64_t upto) {
    const auto lowest = waiting_.lowest();
    const auto piece = waiting_.take_lowest(
        std::min<std::uint64_t>(config_.debts_max - debts, std::min(upto, lowest.upto) - lowest.from + 1));
    pieces.push_back(piece);
    debts += piece.upto - piece.from + 1;
    return piece;
  };
  const auto has = [&](std::uint64_t upto) {
    return debts < config_.debts_max && !waiting_.empty() && waiting_.lowest().from <= upto;
  };
  while (has(confirmed))
    out.what.upto = take(confirmed).upto;
  if (waiting_.empty() || waiting_.lowest().from > confirmed)
    out.what.upto = confirmed;
  // Usually the others are only on their way, and the next command names them with one number.
  if (debts < (config_.after + 1) / 2)
    while (has(UINT64_MAX) && out.what.beyond.size() < config_.ranges_max)
      out.what.beyond.push_back(take(UINT64_MAX));
  since_.reset();
  if (!waiting_.empty())
    since_ = now;
  return out;
}

void delivered_debts::answered(std::uint64_t ticket, bool applied) {
  const auto node = proposed_.extract(ticket);
  if (node.empty() || applied)
    return;
  for (const auto& piece : node.mapped())
    waiting_.add(piece);
}

} // namespace parley::core

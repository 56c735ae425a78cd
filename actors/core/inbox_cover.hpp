#pragma once
// Does an append follow what an inbox has of one conversation? Resending from the first unconfirmed seq must
// always be safe, and a hole must never be taken in.
//
// Appends of one stream may arrive in any order: calls that were under way to a leader that fell silent are
// sent again to the next one, and newer calls overtake them. So the append that an inbox receives first need
// not be the one that was sent first. But it is known where a stream begins: a membership m begins at seq m,
// so the inbox has all of the stream up to m - 1 when it has nothing yet.
#include "actors/core/commands.hpp"
#include "actors/core/rescue_numbers.hpp"
#include "protocol/values/overloaded.hpp"

namespace parley::core {

/// How much of one conversation's stream one inbox has.
struct stream_state {
  std::uint64_t membership = 0; ///< 0: the conversation is not known
  seq_no covered{};
  bool operator==(const stream_state&) const = default;
};

struct cover_verdict {
  enum class kind {
    accept,    ///< take items above `above`; the stream is `after` then
    repeat,    ///< all of it is here already (watermarks are still worth a look: they are monotone)
    gap,       ///< something before it is missing
    stale,     ///< of an earlier membership
    malformed, ///< contradicts itself
  } what{};
  seq_no above{};
  stream_state after;
};

/// The seq before the first one of a membership.
inline seq_no before_membership(std::uint64_t membership) {
  return seq_no{membership - 1};
}

/// Everything about a part that does not depend on the inbox.
inline bool well_formed(const inbox_append& part) {
  if (part.membership == 0 || part.prev > part.upto || part.upto < before_membership(part.membership))
    return false;
  auto before = part.prev;
  const auto belongs = overloaded{
      [&](const message_news& m) {
        const bool in_order = m.msg.seq > before && m.msg.seq <= part.upto;
        before = m.msg.seq;
        return in_order && m.msg.conversation == part.conversation;
      },
      [&](const opened_news& o) { return o.conversation == part.conversation; },
      [&](const watermark& w) { return w.conversation == part.conversation; },
      [](const device_added&) { return false; }, // of no conversation
  };
  for (const auto& item : part.items)
    if (!std::visit(belongs, item))
      return false;
  return true;
}

inline cover_verdict cover(const stream_state& has, const inbox_append& part) {
  using kind = cover_verdict::kind;
  if (!well_formed(part))
    return {kind::malformed, has.covered, has};
  if (part.membership < has.membership)
    return {kind::stale, has.covered, has};
  if (part.membership > has.membership) {
    const auto begin = before_membership(part.membership);
    if (part.prev > begin)
      return {kind::gap, begin, has};
    return {kind::accept, begin, {part.membership, part.upto}}; // what is before `begin` is not theirs to see
  }
  if (part.prev > has.covered)
    return {kind::gap, has.covered, has};
  if (part.upto <= has.covered)
    return {kind::repeat, has.covered, has};
  return {kind::accept, has.covered, {has.membership, part.upto}};
}

/// Does a (well formed) part hold every seq above `above` that it covers?
inline bool leaves_nothing_out(const inbox_append& part, seq_no above) {
  for (const auto& item : part.items)
    if (const auto* m = std::get_if<message_news>(&item); m && m->msg.seq > above) {
      if (!follows(above, m->msg.seq))
        return false;
      above = m->msg.seq;
    }
  return part.upto <= above;
}

} // namespace parley::core

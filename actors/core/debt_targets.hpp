#pragma once
// What a debt is, whatever its kind: to whom it is owed, what they have then, what it weighs in a command, and what an
// answer says of it.
#include "actors/core/model/debts.hpp"
#include "actors/core/model/outcomes.hpp"
#include "protocol/values/overloaded.hpp"

#include <optional>
#include <vector>

namespace parley::core {

/// The inboxes to which a debt is owed; null if it is owed to none.
inline const std::vector<fan_out_target>* inboxes_of(const owed& what) {
  using inboxes = const std::vector<fan_out_target>*;
  return std::visit(overloaded{
                        [](const owed_message& x) -> inboxes { return &x.to; },
                        [](const owed_opening& x) -> inboxes { return &x.to; },
                        [](const owed_receipt& x) -> inboxes { return &x.to; },
                        [](const owed_watermark&) -> inboxes { return nullptr; },
                        [](const owed_copies&) -> inboxes { return nullptr; },
                        [](const owed_renewal&) -> inboxes { return nullptr; },
                    },
                    what);
}

/// What an inbox has to have of a conversation when the debt is paid to it; null if it is owed to no inbox.
struct reach {
  conversation_id conversation;
  seq_no upto{};
};
inline std::optional<reach> reach_of(const owed& what, std::uint32_t index) {
  using found = std::optional<reach>;
  return std::visit(overloaded{
                        [](const owed_message& x) {
                          return found{{x.conversation, x.seq}};
                        },
                        [&](const owed_opening& x) {
                          return found{{x.what.conversation, x.to[index].prev}};
                        },
                        [&](const owed_receipt& x) {
                          return found{{x.mark.conversation, x.to[index].prev}};
                        },
                        [](const owed_watermark&) { return found{}; },
                        [](const owed_copies&) { return found{}; },
                        [](const owed_renewal&) { return found{}; },
                    },
                    what);
}

/// Whether the debts before it are waited for first, where an inbox lacks something that comes before it. A message is
/// repaired at once.
inline bool waits_for_others(const owed& what) {
  return std::visit(overloaded{
                        [](const owed_message&) { return false; },
                        [](const owed_opening&) { return true; },
                        [](const owed_receipt&) { return true; },
                        [](const owed_watermark&) { return true; },
                        [](const owed_copies&) { return true; },
                        [](const owed_renewal&) { return true; },
                    },
                    what);
}

/// The approximate size of a part in a command, in bytes.
inline std::size_t weight(const inbox_append& part) {
  constexpr std::size_t fixed = 96; // of the part, and of each piece of news
  std::size_t bytes = fixed;
  for (const auto& item : part.items)
    bytes += fixed + std::visit(overloaded{
                                    [](const message_news& m) { return m.msg.body.size(); },
                                    [](const opened_news& o) { return o.members.size() * sizeof(user_id); },
                                    [](const watermark&) { return std::size_t{0}; },
                                    [](const device_added& d) { return d.name.size(); },
                                },
                                item);
  return bytes;
}

/// What applying a call said of its part number `i`.
inline inbox_outcome outcome_of(const outcome& what, std::size_t i, std::size_t parts, bool to_inboxes) {
  constexpr inbox_outcome not_understood{ec::internal, {}};
  return std::visit(overloaded{
                        [&](const inbox_outcomes& x) {
                          return to_inboxes && x.parts.size() == parts ? x.parts[i] : not_understood;
                        },
                        [&](const done& x) {
                          return to_inboxes ? not_understood : inbox_outcome{x.error, {}};
                        },
                        [&](const placement&) { return not_understood; },
                        [&](const redeemed&) { return not_understood; },
                        [&](const advanced&) { return not_understood; },
                        [&](const copies_asked&) { return not_understood; },
                        [&](const streams_renewed& x) {
                          return to_inboxes ? not_understood : inbox_outcome{x.error, {}};
                        },
                        [&](const code_issued&) { return not_understood; },
                    },
                    what);
}

} // namespace parley::core

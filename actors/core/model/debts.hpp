#pragma once
// What a shard owes to other shards: stored until they have confirmed it (debt_ledger.hpp sends it).
#include "actors/core/model/news.hpp"
#include "protocol/values/errors.hpp"

#include <optional>

namespace parley::core {

/// One inbox that a debt concerns. `prev` is the last seq that its stream was sent before.
struct fan_out_target {
  user_id user{};
  std::uint64_t membership = 0;
  seq_no prev{};
  template <class F>
  auto fields(F&& f) {
    return f(user, membership, prev);
  }
};

/// A message for the inboxes of the members. Its body is in the conversation's log.
struct owed_message {
  conversation_id conversation;
  seq_no seq{};
  std::vector<fan_out_target> to;
  template <class F>
  auto fields(F&& f) {
    return f(conversation, seq, to);
  }
};

/// The news that a conversation was opened, for the inboxes of its members.
struct owed_opening {
  opened_news what;
  std::vector<fan_out_target> to;
  template <class F>
  auto fields(F&& f) {
    return f(what, to);
  }
};

/// A member got further: news for the inboxes of the other members.
struct owed_receipt {
  watermark mark;
  std::vector<fan_out_target> to;
  template <class F>
  auto fields(F&& f) {
    return f(mark, to);
  }
};

/// From an inbox to the conversation: this user's devices got that far.
struct owed_watermark {
  watermark mark;
  template <class F>
  auto fields(F&& f) {
    return f(mark);
  }
};

/// One member of one conversation.
struct member_ref {
  conversation_id conversation;
  user_id user{};
  template <class F>
  auto fields(F&& f) {
    return f(conversation, user);
  }
  bool operator==(const member_ref&) const = default;
};

/// From the user's shard to the conversation: this user has several devices now and wants copies of own
/// messages.
struct owed_copies {
  member_ref who;
  template <class F>
  auto fields(F&& f) {
    return f(who);
  }
};

/// From a rescued shard to another one: its inboxes may have lost what conversations there had brought to them.
struct owed_renewal {
  shard_id to{};
  shard_id of{};
  std::uint64_t rescues = 0;
  std::uint16_t shards = 0; ///< of the cluster: it says which inboxes are in `of`
  template <class F>
  auto fields(F&& f) {
    return f(to, of, rescues, shards);
  }
};

/// Cross-shard work that a shard owes, kept in order until the other side has confirmed it.
using owed =
    std::variant<owed_message, owed_opening, owed_receipt, owed_watermark, owed_copies, owed_renewal>;
template <>
inline constexpr bool follows_shard_format<owed> = true;

/// A debt and its number, for the fan-out actor. `full` is the message of an `owed_message`. It may be missing
/// if the recipient has several devices: their inbox reports a gap, and the fan-out reads the log.
struct incurred {
  shard_id shard{};
  std::uint64_t number = 0;
  owed what;
  std::optional<message> full;
};

/// Part of a shard's stored debts, oldest first, bodies loaded. An error says nothing about what is owed.
struct debt_page {
  ec error{};
  std::vector<incurred> rows;
  bool more = false; ///< there is more than was asked for or fits
  std::uint64_t newest =
      0; ///< if there is no more: the newest debt that there was, stored or forgotten; 0: none
};

} // namespace parley::core

#pragma once
// What an inbox stores for its user, and the appends with which conversations bring it there.
#include "actors/core/model/messages.hpp"

#include <variant>
#include <vector>

namespace parley::core {

/// News that a conversation was opened with this user in it.
struct opened_news {
  conversation_id conversation;
  std::vector<user_id> members; ///< ascending
  unix_ms at{};
  template <class F>
  auto fields(F&& f) {
    return f(conversation, members, at);
  }
};

/// A message for one user. `prev` is the seq before it in this user's stream of the conversation; the seqs
/// between are messages that the user sent.
struct message_news {
  seq_no prev{};
  message msg;
  template <class F>
  auto fields(F&& f) {
    return f(prev, msg);
  }
};

using parley::device_added;

/// One thing that a user has to learn. The user's own shard writes a `device_added`; the others come from
/// conversations.
using news = std::variant<message_news, opened_news, watermark, device_added>;

/// One piece of news at its position in a user's inbox.
struct inbox_row {
  inbox_pos pos{};
  news what;
  template <class F>
  auto fields(F&& f) {
    return f(pos, what);
  }
};

/// Part of one member's stream of one conversation: covers the seqs (prev, upto]. The stream of membership m
/// begins behind seq m - 1, so that is the `prev` of the first part, whichever arrives first.
struct inbox_append {
  static constexpr auto inside = nested::grows;
  user_id user{};
  conversation_id conversation;
  std::uint64_t membership = 0; ///< the seq at which this membership began; the higher wins
  seq_no prev{};
  seq_no upto{};
  std::vector<news>
      items; ///< `message_news` inside the range, an `opened_news`, or watermarks (prev == upto)
  template <class F>
  auto fields(F&& f) {
    return f(user, conversation, membership, prev, upto, items);
  }
};

} // namespace parley::core

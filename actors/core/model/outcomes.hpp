#pragma once
// What applying a command answers, and what it leaves for the actors of the leader to do.
#include "actors/core/model/news.hpp"
#include "protocol/values/errors.hpp"

#include <variant>
#include <vector>

namespace parley::core {

/// Where a message was put in its conversation, or why it was not.
struct placement {
  ec error{};
  seq_no seq{};
  message_id id;
  unix_ms at{};
  std::uint8_t duplicate = 0; ///< 1: stored before; also set with `conflict`, whose first answer this is
  std::uint32_t retry_after_ms = 0;
  template <class F>
  auto fields(F&& f) {
    return f(error, seq, id, at, duplicate, retry_after_ms);
  }
};

/// What became of one part of an `append_inbox`.
struct inbox_outcome {
  ec error{};       ///< none, gap, stale, bad_request
  seq_no covered{}; ///< with `gap`: resend from here
  template <class F>
  auto fields(F&& f) {
    return f(error, covered);
  }
};

/// What became of an `append_inbox`: one outcome for each part, in the order of the parts.
struct inbox_outcomes {
  std::vector<inbox_outcome> parts;
  template <class F>
  auto fields(F&& f) {
    return f(parts);
  }
};

/// Whether a code may be sent to a phone.
struct code_issued {
  ec error{}; ///< none, rate_limited, bad_phone, code_expired
  std::uint32_t retry_after_ms = 0;
  std::uint8_t sent = 0; ///< 1: an earlier request had this ticket, and its code is on its way: send none
  std::uint32_t good_for_ms = 0; ///< from now on
  template <class F>
  auto fields(F&& f) {
    return f(error, retry_after_ms, sent, good_for_ms);
  }
};

/// Whose phone number a code confirmed.
struct redeemed {
  ec error{}; ///< none, code_wrong, code_expired
  user_id user{};
  std::uint8_t is_new = 0;
  template <class F>
  auto fields(F&& f) {
    return f(error, user, is_new);
  }
};

/// How far an `advance_cursor` came.
struct advanced {
  ec error{};       ///< none, no_such_user
  inbox_pos upto{}; ///< below what was asked for at the inbox's end, or if one command may not go so far
  template <class F>
  auto fields(F&& f) {
    return f(error, upto);
  }
};

/// What became of an `ask_copies`.
struct copies_asked {
  ec error{};            ///< none, no_such_user
  std::uint8_t more = 0; ///< 1: there are conversations that are not told yet
  template <class F>
  auto fields(F&& f) {
    return f(error, more);
  }
};

/// What became of a `renew_streams`.
struct streams_renewed {
  /// Whether there are conversations that were not looked at yet: the command may come again at once, or only later,
  /// when what is owed by now was delivered.
  enum : std::uint8_t { nothing, at_once, later };
  ec error{}; ///< none, bad_request
  std::uint8_t more = nothing;
  template <class F>
  auto fields(F&& f) {
    return f(error, more);
  }
};

/// It was done, or why not: the outcome of all other commands.
struct done {
  ec error{};
  std::uint32_t retry_after_ms = 0;
  template <class F>
  auto fields(F&& f) {
    return f(error, retry_after_ms);
  }
};

using outcome = std::variant<done, placement, inbox_outcomes, redeemed, advanced, copies_asked, code_issued,
                             streams_renewed>;

/// What a leader's actors do with an applied command. Followers drop it.
struct applied {
  shard_id shard{};
  std::uint64_t ticket = 0; ///< 0: not proposed here
  outcome what;
};

/// New rows of one inbox, for the inbox actor, which pushes them to live sessions.
struct arrived {
  shard_id shard{};
  user_id user{};
  std::vector<inbox_row> rows;
};

} // namespace parley::core

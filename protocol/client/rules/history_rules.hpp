#pragma once
// Whether the cluster has another history than this device, and what follows from that. One of the two was put back to an older
// copy, or a shard of the cluster was rescued.
#include "protocol/client/rules/fork_search.hpp"
#include "protocol/client/store/store.hpp"

#include <algorithm>
#include <limits>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace parley::client {

/// Above the number of every message.
inline constexpr seq_no above_all{std::numeric_limits<std::int64_t>::max()};

/// Whether two messages with one number are one message. The cluster gives a message that it numbers again another time, so
/// time does not count.
bool is_same(const message& a, const message& b);

// --- the cluster's side ------------------------------------------------------------------------------------

/// What the cluster has at the place of one of this device's messages.
struct finding {
  bool same = false;
  seq_no last{}; ///< of the conversation in the cluster
};
/// After which number to ask for one message, to see the one with this number; `none`: only the last number is wanted.
constexpr seq_no asked_after(seq_no seq) {
  return seq == seq_no::none ? seq : seq_no{number(seq) - 1};
}
/// In the page that the cluster has answered. `mine`: null if this device has no message to compare.
finding found_in(const conversation_page& page, const message* mine);
/// Whether a refusal says that the cluster has nothing of the conversation: it was opened after the copy was made. Other
/// refusals say nothing of the history.
constexpr bool lacks_conversation(ec why) {
  return why == ec::no_such_conversation || why == ec::not_a_member;
}

// --- is it another history? --------------------------------------------------------------------------------

/// The conversations that a store remembers anything of.
std::vector<conversation_id> known_conversations(const client_store::applied_state& applied,
                                                 const std::vector<conversation_info>& opened);
/// The messages that show it, of the newest one of each conversation: those of the few conversations that changed last, because
/// a cluster that was put back has lost what came last.
std::vector<message> telling_messages(std::vector<message> newest);

/// On the cluster's history of the conversations, compared with the store's.
enum class history_verdict : std::uint8_t {
  same,
  other,   ///< the cluster has other messages than the store
  nothing, ///< the store has no message to compare
  unknown  ///< nothing differs, but a shard has no majority now
};
/// By what the cluster has at the places of the telling messages; nothing: it could not tell.
history_verdict judge_history(std::span<const std::optional<finding>> found);
/// A message whose conversation could not be asked, so that it is to be compared later.
struct doubt {
  conversation_id conversation;
  seq_no seq{};
};
struct judgement {
  history_verdict history = history_verdict::unknown;
  std::vector<doubt> doubts; ///< if it is `unknown`
};
/// `telling`: the messages that were looked at, in the order of `found`.
judgement judge_history(std::span<const doubt> telling, std::span<const std::optional<finding>> found);

/// What a device does that has a later place in its inbox than the cluster knows.
enum class late_place : std::uint8_t {
  go_on,
  offer_again, ///< the cluster has confirmed the place and forgotten it: the device acknowledges it again
  ask_later,   ///< hold what the doubts are about, see `delivery_rules::doubt`
  begin_again, ///< what came last comes again: call `start_over` of the store, and `compared`, and begin again
  start_over   ///< the place belongs to another history: call `start_over` of the store, and begin again
};
/// `idle`: nothing was to be acknowledged, from before the question until now. `to_compare`: the histories are to be compared
/// anyway. If it is not certain that the histories are the same, the place is not offered, and does not move: else the cluster
/// would know a later one, and nobody would ask again. But whoever has no message to compare would never know. It takes again
/// what came since the place that the cluster has: if that is another history, nothing of it is passed over.
constexpr late_place after_judging(history_verdict history, bool idle, bool to_compare) {
  if (history == history_verdict::other)
    return late_place::start_over;
  if (!idle || to_compare)
    return late_place::go_on;
  if (history == history_verdict::unknown)
    return late_place::ask_later;
  return history == history_verdict::same ? late_place::offer_again : late_place::begin_again;
}

/// Whether the cluster has ended the stream because its inbox does not have the place at which it began, `applied`. From no place
/// that cannot be, so the next stream does not end like this one.
inline bool is_place_unknown(ec closed_with, const cursor& applied) {
  return closed_with == ec::bad_cursor && !applied.empty();
}
/// Whether the cluster has given a message of this device a number that another message of the history has. Only a cluster
/// that has lost that message does so. `newest`: of the history, up to the number.
bool is_number_taken(const std::vector<message>& newest, const message& placed);

// --- what goes, and what is fetched ------------------------------------------------------------------------

/// Finds out what of a conversation the store has and the cluster has not, and the other way round.
///
/// Owns:   the search, and how far the conversation goes in the cluster.
/// Thread: its owner's. Pure: the store and the cluster are the owner's.
class history_comparison {
public:
  /// `newest`: of this device's messages.
  history_comparison(conversation_id c, seq_no newest) : conversation_{c}, newest_{newest}, search_{newest} {}

  struct look {
    seq_no seq{}; ///< `none`: the store keeps no messages to compare, so only the numbers tell anything
    std::optional<message> mine; ///< this device's message with the number
  };
  /// Where to look in the cluster now; then call `found`. Nothing: the search is over. `newest_upto`: of a number, the newest
  /// message that the store has at or below it.
  template <class Newest>
  std::optional<look> next(Newest newest_upto) {
    while (const auto upto = search_.next()) {
      std::optional<message> mine = newest_upto(*upto);
      if (mine && mine->seq > search_.same_upto()) {
        const auto seq = mine->seq;
        return look{seq, std::move(mine)};
      }
      search_.nothing();
    }
    if (newest_ == seq_no::none && !looked_)
      return look{};
    return std::nullopt;
  }
  /// `at`: of the look.
  void found(seq_no at, const finding& there) {
    looked_ = true;
    if (at != seq_no::none)
      search_.answer(at, there.same);
    last_ = std::max(last_, there.last);
  }

  struct repair {
    std::optional<seq_no> falls_to; ///< what the store has above this, the cluster has lost: roll it back
    seq_no wanted{};                ///< fetch up to here, if the cluster has it; up to `last()` it must have
  };
  /// When the search is over. `position`: of the store, before the repair. `newest`: of its messages, now: what this device has
  /// sent meanwhile is behind the difference as well, and is fetched again.
  repair outcome(seq_no position, seq_no newest) const;

  conversation_id conversation() const { return conversation_; }
  /// Of the cluster.
  seq_no last() const { return last_; }

private:
  conversation_id conversation_;
  seq_no newest_;
  fork_search search_;
  seq_no last_{};
  bool looked_ = false;
};

/// Of the conversations that the cluster lists: those that the store does not know.
std::vector<conversation_info> not_opened_yet(const conversation_list& there,
                                              const std::vector<conversation_info>& here);
/// How far a conversation of the list has to be fetched. `told`: where it ends according to the list, which is what the inbox was
/// told. `there`: of the conversation itself, which has lost the last of that if its shard was rescued, and the inbox's was not.
constexpr seq_no end_of_listed(seq_no told, const finding& there) {
  return std::min(told, there.last);
}

} // namespace parley::client

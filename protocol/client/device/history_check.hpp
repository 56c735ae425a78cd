#pragma once
#include "protocol/client/device/session_calls.hpp"
#include "protocol/client/rules/history_rules.hpp"
#include "protocol/client/rules/inbox_applier.hpp"
#include "protocol/client/rules/receipt_rules.hpp"

#include <functional>

namespace parley::client {

/// Compares the store's history with the cluster's, after one of them was put back to an older copy.
///
/// If the cluster was: the messages that it has lost are moved out of the history and the program is told of
/// each, and what the cluster has in their place is fetched and shown. If the profile was: what is missing in
/// it is fetched.
///
/// Owns:   nothing between two calls.
/// Thread: that of the loop. One call at a time; nothing else applies messages meanwhile, except in
///         `fetch_missing`.
/// Holds:  a comparison that is interrupted changes nothing that the next one would not find.
/// Errors: a `failure` if the cluster could not be asked. A store that fails ends the device.
class history_check {
public:
  /// Fetches and shows what is missing of a conversation, as far as the cluster lets it. An error means that
  /// the cluster could not be asked now.
  using fetcher = std::function<kj::Promise<result<nothing>>(inbox_applier::hole)>;
  /// What is missing of a conversation is to be fetched later: see `receiver::hold`.
  using holder = std::function<void(inbox_applier::hole)>;

  /// All references outlive it, and so does what `fetch` and `hold` refer to.
  history_check(link_host& host, session_calls& calls, const config& settings, client_store& store,
                observer& events, inbox_applier& applier, read_marks& reads, fetcher fetch, holder hold)
      : host_{host}, calls_{calls}, config_{settings}, store_{store}, observer_{events}, applier_{applier},
        reads_{reads}, fetch_{std::move(fetch)}, hold_{std::move(hold)} {}
  KJ_DISALLOW_COPY(history_check);

  /// Looks at the newest messages of the conversations that tell whether the cluster has another history.
  kj::Promise<judgement> judge();
  /// Looks at a message that could not be compared then.
  kj::Promise<result<finding>> look_again(const doubt& at) {
    return look(at.conversation, at.seq, newest(at.conversation, at.seq));
  }
  /// Compares all conversations and repairs the store. Afterwards the store need not be compared any more.
  kj::Promise<result<nothing>> repair();
  /// If a conversation cannot be fetched now, because its shard has no majority.
  enum class if_away : std::uint8_t {
    hold, ///< it is held, and the others are fetched: the place in the inbox stays behind it
    fail
  };
  /// Fetches what the conversations of the user have and the store has not.
  kj::Promise<result<nothing>> fetch_missing(if_away then);
  /// Tells the program of lost messages that it was not told of yet, but for those that the cluster has after
  /// all: this device had sent them while it compared.
  void tell_lost();

private:
  kj::Promise<result<finding>> look(conversation_id c, seq_no seq, std::optional<message> mine);
  kj::Promise<result<nothing>> repair_next(std::shared_ptr<std::vector<conversation_id>> all, std::size_t at);
  kj::Promise<result<nothing>> compare(std::shared_ptr<history_comparison> one);
  kj::Promise<result<nothing>> settle(const history_comparison& one);
  /// Fails if it does not get to `last`; goes on to `wanted` if the conversation is as long.
  kj::Promise<result<nothing>> fetch_upto(conversation_id c, seq_no last, seq_no wanted);
  kj::Promise<result<nothing>> fetch_page(conversation_id after, if_away then);
  kj::Promise<result<nothing>> fetch_listed(std::shared_ptr<conversation_list> list, std::size_t at,
                                            if_away then);
  /// Up to `told`, which is the inbox's word, or to where the conversation ends itself.
  kj::Promise<result<nothing>> fetch_told(conversation_id c, seq_no told);
  std::optional<message> newest(conversation_id c, seq_no upto);
  std::vector<conversation_id> known();

  link_host& host_;
  session_calls& calls_;
  const config& config_;
  client_store& store_;
  observer& observer_;
  inbox_applier& applier_;
  read_marks& reads_;
  fetcher fetch_;
  holder hold_;
};

} // namespace parley::client

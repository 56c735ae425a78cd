#pragma once
#include "protocol/client/rules/history_rules.hpp"
#include "protocol/client/rules/inbox_applier.hpp"
#include "protocol/client/rules/receipt_rules.hpp"
#include "protocol/client/rules/session_rules.hpp"
#include "protocol/client/store/store.hpp"

#include <map>
#include <optional>

namespace parley::client {

/// Decides what becomes of a delivery: what of it is kept, what has to be fetched before, which conversations
/// wait because they cannot be fetched now, and how far the place in the inbox moves.
///
/// Owns:   how far each conversation is applied, the watermarks, the conversations that are *held*, and the
///         place in the inbox with its acknowledgement.
/// Thread: its owner's. Pure: time is an argument, and the store is the owner's.
/// Holds:  the place moves only over what the store has kept: the owner calls `kept` after the store has the
///         batch of `to_keep`. A gap is fetched before anything after it in its conversation is kept. A gap
///         that the cluster refuses to fill `heal_tries_max` times in a row is passed over. One that it
///         cannot fill now, because the conversation's shard has no majority, is held: the rows of the
///         conversation wait, the others go on, and the place stays, so that all of it comes again if the
///         device dies. At most as many conversations are held as the device has. One is also held while it
///         is in doubt whether the cluster has what the store has of it.
class delivery_rules {
public:
  delivery_rules(std::chrono::nanoseconds ack_every, std::size_t ack_items_max, unsigned heal_tries_max)
      : heal_tries_max_{heal_tries_max}, acks_{ack_every, ack_items_max} {}

  /// What the store remembers of earlier lives of this device.
  void restore(const client_store::applied_state& applied, client_store::place place);

  // --- a delivery ------------------------------------------------------------------------------------------
  heal_tries new_tries() const { return heal_tries{heal_tries_max_}; }
  struct step {
    enum class kind : std::uint8_t {
      keep,  ///< keep the batch of `to_keep(…)`, then call `kept`
      fetch, ///< fetch what is missing, as far as the cluster lets it; then call `fetched`, and `next` again
      pass_over ///< report the gap and call `passed_over`, then `next` again
    };
    kind what = kind::keep;
    inbox_applier::plan plan;   ///< `keep`
    inbox_applier::hole hole{}; ///< `fetch`, `pass_over`
  };
  /// What is to be done with a delivery now. `tries`: of this delivery.
  step next(std::span<const inbox_row> rows, heal_tries& tries);
  enum class reply : std::uint8_t {
    given,  ///< the cluster has given what it has of it, or has refused it for good
    not_now ///< the cluster could not tell
  };
  /// What it means that a page of what is missing was refused.
  static reply reply_of(const failure& why) {
    return may_help_to_repeat(why) ? reply::not_now : reply::given;
  }
  /// Whether the next page may bring more of what is missing. `before`, `after`: the positions around this one.
  static bool goes_on(const conversation_page& page, seq_no before, seq_no after) {
    return page.more && before != after;
  }
  /// Answers whether the first conversation is held now, so that the fetching of what is held has to begin.
  bool fetched(const inbox_applier::hole& hole, reply got, heal_tries& tries);
  void passed_over(const inbox_applier::hole& hole, heal_tries& tries);

  struct batch {
    applied_batch to_apply;   ///< its messages are in `rows`
    std::size_t messages = 0; ///< message rows of the delivery, repeats and rows that wait too
    bool moves = false;       ///< the place moves with it
  };
  batch to_keep(const std::vector<inbox_row>& rows, const inbox_applier::plan& plan,
                const cursor& upto) const;
  /// The store has the batch.
  void kept(const batch& b, const inbox_applier::plan& plan, cursor upto);

  /// What of a fetched page is new to a device that is at `position`.
  static applied_batch to_keep(const conversation_page& page, conversation_id c, seq_no position);

  // --- what is held ----------------------------------------------------------------------------------------
  /// What is missing of the conversation is fetched later, and its rows wait until then. Answers as
  /// `fetched`.
  bool hold(const inbox_applier::hole& hole);
  /// The cluster knows only `known`, which is before the place that it had confirmed, and these messages could not be compared.
  /// Their conversations are held until they are; then the place is acknowledged again. Answers as `fetched`.
  bool doubt(std::span<const client::doubt> of, cursor known);
  bool doubts() const { return forgotten_.has_value(); }
  /// The message of a conversation that is held which has to be compared before anything is fetched; `none`: there is none.
  seq_no doubted(conversation_id c) const;
  /// The cluster has that message.
  void confirmed(conversation_id c);
  bool holds_any() const { return !held_.empty(); }
  /// What to fetch of the first conversation that is held and comes after `after`.
  std::optional<inbox_applier::hole> next_held(std::optional<conversation_id> after) const;
  struct held_step {
    enum class kind : std::uint8_t {
      stop,     ///< the conversation is not held any more: whoever changed that goes on with it
      another,  ///< try the next conversation: this one can still not be asked for
      restart,  ///< begin with the first conversation again
      complete, ///< keep `place` if there is one and then call `place_kept`; then restart
      give_up   ///< it was refused too often: report the gap `hole` unless it is empty, and call `given_up`
    };
    kind what = kind::stop;
    inbox_applier::hole hole{};  ///< `give_up`
    std::optional<cursor> place; ///< `complete`: nothing is held any more, and the place moves to here
  };
  /// The answer to what `next_held` said.
  held_step held_fetched(const inbox_applier::hole& hole, reply got);
  /// The gap is passed over, and nothing is held any more. The rows behind it were not kept, so a new stream
  /// has to bring them again.
  void given_up(const inbox_applier::hole& hole);
  void place_kept(cursor upto);
  /// The stream is over, and what waits comes again with the next one.
  void release_all();
  /// The place up to which rows were taken, kept or held.
  const cursor& taken() const { return held_.empty() ? acks_.applied() : held_upto_; }
  /// The cluster says that the device has acknowledged everything up to here.
  void take_up_to(cursor place) { held_upto_ = std::move(place); }

  inbox_applier& applier() { return applier_; }
  const inbox_applier& applier() const { return applier_; }
  delivery_acks& acks() { return acks_; }
  const delivery_acks& acks() const { return acks_; }

private:
  struct held_conversation {
    seq_no hole_upto{}; ///< what is missing
    seq_no upto{};      ///< the newest row that waits behind it
    heal_tries tries;
    seq_no doubted{}; ///< the message that has to be compared first
  };

  unsigned heal_tries_max_;
  inbox_applier applier_;
  delivery_acks acks_;
  std::map<conversation_id, held_conversation> held_;
  cursor held_upto_;                ///< the place in the inbox once nothing is held
  std::optional<cursor> forgotten_; ///< what the cluster knew, while anything is in doubt
};

} // namespace parley::client

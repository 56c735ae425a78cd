#pragma once
#include "protocol/client/rules/resend_rules.hpp"
#include "protocol/client/rules/send_lanes.hpp"

namespace parley::client {

/// One attempt to send a message.
struct send_attempt {
  conversation_id conversation;
  std::uint64_t counter = 0; ///< of the message, as `post` returned it
  std::uint64_t sent_as = 0; ///< the counter in its client_msg_id
  unsigned number = 0;       ///< counts the attempts of this message under this id, from 1
};

struct outbox_config {
  std::size_t window = 1;              ///< messages of one conversation that are under way at the same time
  std::size_t messages_max = 0;        ///< that are in the outbox
  std::size_t in_flight_max = 0;       ///< messages under way, of all conversations
  std::size_t in_flight_bytes_max = 0; ///< at this bound no further one is sent; as `send_lanes` counts them
  backoff_config resend;
  unsigned move_after_refusals = 0;
  bool other_nodes = false; ///< whether there is another node to go to
};

/// Decides which message of the outbox is sent now, and what each answer means for it: is it stored, is it
/// sent again, and when, under which id, or is it given up?
///
/// Owns:   the messages without an outcome, with their attempts, and the time that the cluster has shown.
/// Thread: its owner's. Pure: time and chance are arguments.
/// Holds:  all attempts of a message carry the same id, so the cluster stores it once. There is one
///         exception: if the cluster knows the id of a *first* attempt, this device has forgotten that it
///         gave the id to another message (its profile is an old copy), and the message gets another id. A
///         message leaves the outbox only with `settle`, which the owner calls after its store has kept the
///         outcome. A lost connection says nothing about the messages under way on it: they are sent again.
class outbox_rules {
public:
  explicit outbox_rules(const outbox_config& config)
      : config_{config}, lanes_{config.window}, resend_{config.resend, config.move_after_refusals,
                                                        config.other_nodes} {}

  /// No further message may be added.
  bool full() const { return lanes_.size() >= config_.messages_max; }
  void add(outgoing o) { lanes_.add(std::move(o)); }

  /// The next message to send, which is then under way; null if none may be sent now. The pointer is valid
  /// until another member is called.
  const send_lanes::item* take(instant now);
  /// When `take` can return something that only has to wait for its time.
  std::optional<instant> next_due() const { return lanes_.next_due(); }

  // --- the connection --------------------------------------------------------------------------------------
  void connected() { resend_.connected(); }
  /// Calls `seen` for each message that was under way.
  template <class F>
  void lost(F&& seen) {
    lanes_.all_again(std::forward<F>(seen));
  }

  // --- answers ---------------------------------------------------------------------------------------------
  enum class fate : std::uint8_t {
    known,    ///< its outcome was known before
    sent,     ///< keep that it is stored, then call `settle`
    again,    ///< it is in its lane again: `take` returns it when its time has come
    renumber, ///< keep a new id for it, by `clock`, then call `renumbered`
    give_up   ///< the cluster will never store it: keep that, then call `settle`
  };
  struct verdict {
    fate what = fate::known;
    ec why{};                ///< `give_up`, `renumber`
    unix_ms clock{};         ///< `renumber`: what the new counter must not be below
    bool leave_node = false; ///< this node refuses too often: try another
  };
  /// The cluster says that it has the message of the attempt. `calendar`: the device's clock.
  verdict stored(const send_attempt& a, const sent& placed, unix_ms calendar);
  verdict refused(const send_attempt& a, const failure& why, instant now, unix_ms calendar, dice& chance);
  void renumbered(const send_attempt& a, std::uint64_t sent_as) {
    lanes_.renumbered(a.conversation, a.counter, sent_as);
  }
  outgoing settle(const send_attempt& a) { return lanes_.settle(a.conversation, a.counter); }

  /// What a new counter must not be below: the calendar's time or the cluster's, whichever is later.
  unix_ms clock(unix_ms calendar) const { return std::max(cluster_time_, calendar); }

  // --- its state -------------------------------------------------------------------------------------------
  /// The message, or null if its outcome is known.
  const send_lanes::item* peek(const send_attempt& a) { return lanes_.peek(a.conversation, a.counter); }
  std::size_t size() const { return lanes_.size(); }
  bool empty() const { return lanes_.empty(); }
  std::uint64_t newest() const { return lanes_.newest(); }

private:
  /// Nothing: the message has had new ids too often.
  std::optional<verdict> renumber(const send_lanes::item& item, ec why, unix_ms calendar) const;

  outbox_config config_;
  send_lanes lanes_;
  resend_rules resend_;
  unix_ms cluster_time_{}; ///< of the newest message that the cluster has placed
};

} // namespace parley::client

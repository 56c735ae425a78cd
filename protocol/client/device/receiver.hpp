#pragma once
#include "protocol/client/device/history_check.hpp"
#include "protocol/client/device/old_copy.hpp"
#include "protocol/client/device/session_calls.hpp"
#include "protocol/client/rules/delivery_rules.hpp"

#include <optional>

namespace parley::client {

/// Receives deliveries: decides what each means, stores it, calls the observer, and acknowledges it; in this
/// order.
///
/// Owns:   how far each conversation is applied, the watermarks, the place in the inbox, and what a person
///         has read. All of it is in the store as well.
/// Thread: that of the loop.
/// Holds:  a delivery is in the store before the observer is called and before it is acknowledged. The
///         observer is not called for repeats. A gap is fetched before anything after it in its conversation
///         is shown; if the cluster refuses that for good, the gap is reported and passed over. If the cluster
///         cannot tell now, because the conversation's shard has no majority, the conversation is *held*: its
///         rows wait, the others go on, and nothing is acknowledged until it is fetched, so that all of it
///         comes again if the device dies (news of a device are then told twice). Deliveries are applied in
///         their order. If the cluster was put back to an older copy, nothing is applied before the history was
///         compared with the cluster's.
/// Errors: a store that fails ends the device. `sync_inbox` refuses with a `failure`.
class receiver {
  friend class delivery_port;

public:
  /// All references outlive it. Takes over what the store remembers.
  receiver(kj::Timer& timer, link_host& host, session_calls& calls, const config& settings,
           client_store& store, observer& events, history_writer& history, const identity& who,
           old_copy& old);
  ~receiver() noexcept(false) { close(); }
  KJ_DISALLOW_COPY(receiver);

  /// With `intake::pull`: fetches and applies the inbox until it is caught up; answers how many messages were
  /// new.
  kj::Promise<result<std::size_t>> sync_inbox();
  /// A delivery from the stream: resolves when the store has it.
  kj::Promise<void> take(std::vector<inbox_row> rows, cursor upto);
  void ack_read(conversation_id c, seq_no upto);
  const inbox_applier& applier() const { return rules_.applier(); }

  /// Whether all that was applied or read is acknowledged.
  bool idle() const { return rules_.acks().idle() && reads_.idle(); }
  /// Resolves when idle, or when the device is halted.
  kj::Promise<void> settled();
  /// Acknowledges what is applied, before a goodbye. Needs a connection.
  kj::Promise<void> acknowledge_all();

  // What the connection's owner tells it; see link_listener.
  void online(client_link& link);
  void lost();
  void halted() {
    gate_ = nullptr;
    check_settled();
  }
  void close() { promises_.cancel("the client was closed"); }

private:
  kj::Promise<void> begin(client_link& link);
  kj::Promise<void> begin_receiving(client_link& link, cursor from);
  /// What the cluster says of a cursor that the store remembers. Answers what was done: after `start_over` and `begin_again`
  /// nothing that comes from that cursor on is taken.
  kj::Promise<result<late_place>> judge(cursor_standing place);
  kj::Promise<result<nothing>> fetch_missing(cursor acknowledged);
  void start_over();
  void begin_again();
  kj::Promise<void> take_checked(std::shared_ptr<std::vector<inbox_row>> rows, cursor upto, heal_tries tries);
  void fetched(inbox_applier::hole hole, const result<nothing>& asked, heal_tries& tries);
  /// An error means that the cluster could not be asked now: trying again may help.
  kj::Promise<result<nothing>> heal(inbox_applier::hole hole);
  /// What is missing of the conversation is fetched later, and its rows wait until then.
  void hold(inbox_applier::hole hole);
  /// Tries once to fetch each conversation that is held and comes after `after`. With `pull` the first that
  /// cannot be asked for ends it with an error.
  kj::Promise<result<nothing>> fetch_held(std::optional<conversation_id> after);
  kj::Promise<result<nothing>> compare_held(doubt at);
  void fetch_held_later();
  void held_no_more(std::optional<cursor> place);
  kj::Promise<result<nothing>> give_up(inbox_applier::hole hole);
  void close_gate();
  void open_gate();
  kj::Promise<result<nothing>> pull();
  kj::Promise<result<nothing>> take_page(inbox_page page);
  void commit(const std::vector<inbox_row>& rows, const inbox_applier::plan& plan, cursor upto);
  void commit_page(const conversation_page& page, conversation_id c);
  /// The node closes the connection.
  void closed(failure why, std::chrono::milliseconds reconnect_after);
  void tell(const message& m);
  void rose(const inbox_applier::rise& r);
  void acknowledge(std::size_t messages);
  void send_ack();
  void send_reads();
  void check_settled();

  kj::Timer& timer_;
  link_host& host_;
  session_calls& calls_;
  const config& config_;
  client_store& store_;
  observer& observer_;
  history_writer& history_;
  const identity& who_;
  old_copy& old_;

  delivery_rules rules_;
  read_marks reads_;
  history_check check_;
  bool judged_ = false; ///< with `pull`: the cluster has said in this session where the cursor is
  std::size_t shown_ = 0;
  /// While the cluster's answer to `receive` is judged, or a gap is fetched, deliveries wait here.
  struct gate {
    kj::Own<kj::PromiseFulfiller<void>> open;
    kj::ForkedPromise<void> opened;
  };
  kj::Maybe<gate> gate_;
  std::vector<kj::Own<kj::PromiseFulfiller<void>>> settled_waiters_;
  kj::Canceler promises_; ///< what callers hold
};

} // namespace parley::client

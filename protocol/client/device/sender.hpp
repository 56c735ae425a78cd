#pragma once
#include "protocol/client/device/history.hpp"
#include "protocol/client/device/link_host.hpp"
#include "protocol/client/device/old_copy.hpp"

#include <unordered_map>
#include <vector>

namespace parley::client {

/// The way out: keeps a message, then sends it until its outcome is known.
///
/// Owns:   the messages without an outcome, as the store's outbox has them, and the promises of those who
///         wait for one.
/// Thread: that of the loop.
/// Holds:  a message is in the store, with its counter, before it is sent and until its outcome is known; all
///         its attempts carry the same counter. With a window of 1 the order of sending is the order in the
///         conversation. A final refusal is reported once. If the first attempt under a counter finds that
///         the cluster knows the counter, the profile is an old copy: what the cluster has is another
///         message, so this one is sent again under a new counter.
/// Errors: `post` and `send` refuse with a `failure`, and throw store_error if the store cannot keep the
///         message. A store that fails later ends the device.
class sender {
public:
  /// All references outlive it. Takes over what the store's outbox holds.
  sender(kj::Timer& timer, link_host& host, const config& settings, client_store& store, observer& events,
         history_writer& history, const identity& who, dice& chance, const kj::Clock& calendar,
         old_copy& old);
  KJ_DISALLOW_COPY(sender);

  kj::Promise<result<sent>> send(conversation_id c, std::string body);
  result<std::uint64_t> post(conversation_id c, std::string body);
  std::size_t unsettled() const { return rules_.size(); }
  bool idle() const { return rules_.empty(); }
  /// Why the last attempt was refused that is to be repeated; code `none` once an attempt succeeded after it.
  const failure& last_refusal() const { return last_refusal_; }
  /// Resolves when nothing is unsettled, or when the device is halted.
  kj::Promise<void> settled();

  /// Tells the observer of final refusals that an earlier life left in the store. To be called once.
  void tell_failures();

  // What the connection's owner tells it; see link_listener.
  void online();
  void lost(const failure& why);
  void halted(const failure& why);

private:
  void pump();
  void arm_pump(client_link& link);
  unix_ms calendar() const;
  void transmit(client_link& link, const send_lanes::item& item);
  void stored(const send_attempt& a, const sent& placed);
  void keep_sent(const send_attempt& a, const sent& placed);
  void notice_other_history(const message& placed);
  void refused(const send_attempt& a, const failure& why);
  void again(const send_attempt& a, const failure& why, bool leave_node);
  void renumber(const send_attempt& a, ec why, unix_ms clock);
  void give_up(const send_attempt& a, const failure& why);
  void answer(std::uint64_t counter, result<sent> outcome);
  void check_settled();

  kj::Timer& timer_;
  link_host& host_;
  const config& config_;
  client_store& store_;
  observer& observer_;
  history_writer& history_;
  const identity& who_;
  dice& dice_;
  const kj::Clock& calendar_; ///< for counters only: waits use the timer
  old_copy& old_;

  outbox_rules rules_;
  failure last_refusal_{ec::none, {}, {}};
  std::unordered_map<std::uint64_t, kj::Own<kj::PromiseFulfiller<result<sent>>>> promised_; ///< by counter
  kj::Maybe<kj::TimePoint> pump_armed_; ///< the timer that will call `pump`
  std::vector<kj::Own<kj::PromiseFulfiller<void>>> settled_waiters_;
};

} // namespace parley::client

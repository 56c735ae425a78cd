#pragma once
#include "protocol/client/device/config.hpp"
#include "protocol/client/device/dialer.hpp"
#include "protocol/client/device/observer.hpp"
#include "protocol/client/store/store.hpp"

#include <kj/async.h>
#include <kj/timer.h>

#include <memory>

namespace parley::client {

/// One device of one user: keeps a connection to the cluster, sends what the store holds until its outcome is
/// known, and applies what arrives, once and in order. Many live on one loop.
///
/// Owns:   its connection and what is under way on it. All that must survive is in the store.
/// Thread: that of the loop whose timer and dialer it is given. No call blocks, except for the store.
/// Holds:  a message is in the store's outbox before it is sent and until its outcome is known; a delivery is
///         in the store before it is acknowledged. Destroying a device rejects its promises; a new one on the
///         same store continues where it was, with the same client_msg_ids.
class device {
public:
  /// `timer`, `dial`, `store`, `events` and `calendar` outlive it; so does `records`, if any. Throws
  /// store_error, and std::invalid_argument for a config that cannot be run with.
  device(kj::Timer& timer, dialer& dial, config settings, client_store& store, observer& events,
         recorder* records = nullptr, const kj::Clock& calendar = kj::systemPreciseCalendarClock());
  ~device(); ///< does not throw: the observer may own the device
  KJ_DISALLOW_COPY(device);

  // --- becoming somebody; needs no `start` -----------------------------------------------------------------
  /// Asks for a code for `phone`; answers for how long the code is valid.
  kj::Promise<result<std::chrono::seconds>> request_code(std::string phone);
  /// Registers this device for the user of the phone number and stores the identity. Repeating the call with
  /// the same code is safe.
  kj::Promise<result<identity>> register_device(std::string phone, std::string code, std::string device_name);

  // --- being connected -------------------------------------------------------------------------------------
  /// Connects, and keeps the device connected until it is fenced, refused or stopped. The store must hold a
  /// registered identity. Tells the observer first which messages of earlier lives will never be stored.
  void start();
  /// Resolves when online, with the reason if that will never be.
  kj::Promise<result<nothing>> online();
  /// Acknowledges what is applied and logs out. Takes no longer than `call_timeout`.
  kj::Promise<void> stop();
  const connection_state& state() const;
  /// If the device is not connected, it tries now instead of after its pause: call it when the network is back
  /// or a person comes back. While something waits for a connection, pauses are short anyway.
  void try_now();
  /// Drops the connection as a broken network would. The device connects again by itself.
  void disconnect();

  // --- messages --------------------------------------------------------------------------------------------
  /// Keeps the message, then sends it until its outcome is known. Only a final refusal is answered; see `ec`.
  kj::Promise<result<sent>> send(conversation_id c, std::string body);
  /// Keeps and sends the message as `send` does. Only the observer is told the outcome. Returns the counter.
  result<std::uint64_t> post(conversation_id c, std::string body);
  std::size_t unsettled() const; ///< messages that are kept and have no outcome yet
  /// Why what is unsettled is not stored yet: what the cluster last said of an attempt that is repeated, else why
  /// there is no connection; code `none` if neither is known.
  failure why_unsettled() const;
  /// Resolves when nothing is unsettled and all that was applied or read is acknowledged.
  kj::Promise<void> settled();

  /// With `intake::pull`: fetches and applies the inbox until it is caught up; answers how many messages were
  /// new.
  kj::Promise<result<std::size_t>> sync_inbox();
  /// Reads one page of a conversation from the cluster. The page is not applied.
  kj::Promise<result<conversation_page>> sync_conversation(conversation_id c, seq_no after,
                                                           std::uint32_t limit = page_items_max);

  /// A person has read the conversation up to `upto`. The store remembers it until the cluster knows.
  void ack_read(conversation_id c, seq_no upto);

  kj::Promise<result<opened_direct>> open_direct(std::string phone);
  kj::Promise<result<opened_direct>> open_direct(user_id user);
  kj::Promise<result<conversation_list>> conversations(conversation_id after = {},
                                                       std::uint32_t limit = page_items_max);

  const identity& who() const;
  seq_no position(conversation_id c) const; ///< how far the conversation's stream is applied
  std::vector<watermark> marks(conversation_id c) const;

private:
  struct parts;
  std::unique_ptr<parts> parts_;
};

} // namespace parley::client

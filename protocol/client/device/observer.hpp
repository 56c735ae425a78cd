#pragma once
#include "protocol/client/device/config.hpp"
#include "protocol/client/values.hpp"

namespace parley::client {

enum class link_state : std::uint8_t {
  offline,    ///< waiting before the next try
  connecting, ///< to `at`
  online,
  fenced,  ///< final: another program connected as this device
  refused, ///< final: the cluster does not accept this device
  broken,  ///< final: the store failed, so nothing more is acknowledged
  stopped  ///< final: the program called `stop`
};
std::string_view name(link_state s);

struct connection_state {
  link_state state = link_state::offline;
  server_address at;                     ///< the node tried or connected to
  node_id node{};                        ///< when online
  std::uint64_t number = 0;              ///< of the connection, from 1
  ec why{};                              ///< of the last loss or refusal
  std::string sentence;                  ///< the reason as a sentence for a person
  std::chrono::milliseconds next_try{0}; ///< when offline: the pause before the next attempt
  bool final() const { return state >= link_state::fenced; }
};

/// Its functions are called when something happens, on the loop's thread and in order. They must not block,
/// throw or destroy the device.
class observer {
public:
  virtual ~observer() = default;
  virtual void on_state(const connection_state&) {}
  /// A message of another user, or of another device of this user. It is called once for each, in the order
  /// of the conversation, after the store has it.
  virtual void on_message(const message&) {}
  virtual void on_sent(const sent&) {}
  /// The cluster will never store this message. It stays in the store until the program calls `forget` there,
  /// which it may do in this call; what it has not forgotten is told again when a device is started on the
  /// store.
  virtual void on_failed(const outgoing&, const failure&) {}
  /// Everything up to `upto` has reached a device of `who` (`on_delivered`), or `who` has read it
  /// (`on_read`).
  virtual void on_delivered(conversation_id, user_id /*who*/, seq_no /*upto*/) {}
  virtual void on_read(conversation_id, user_id /*who*/, seq_no /*upto*/) {}
  virtual void on_opened(const conversation_info&) {}
  /// Asked before the device acknowledges what it has applied. A program that could not pass on what it was
  /// told answers no: then nothing is acknowledged before the device lives again.
  virtual bool may_acknowledge() { return true; }
  /// A device was registered for this user. Show it: if its owner did not do it, somebody else did.
  virtual void on_device_added(const device_added&) {}
  /// The messages in (after, upto] exist according to the cluster, but could not be fetched.
  virtual void on_gap(conversation_id, seq_no /*after*/, seq_no /*upto*/) {}
  /// The profile was restored from a copy: the cluster knows of messages or acknowledgements of this device
  /// that the profile has forgotten. Nothing is lost by it. It is called once in a device's life.
  virtual void on_old_copy() {}
  /// The cluster was put back to an older copy and has lost this message, which it had confirmed or delivered
  /// before. Under its number it has none or another one, which is shown as a new message. It is called once
  /// for each, also for this device's own messages.
  virtual void on_lost(const message& /*was*/) {}
};

/// One line of a history as the chaos checker reads it: what this device asked for and what it received.
struct history_event {
  enum class kind : std::uint8_t {
    invoke, ///< an attempt begins
    ok,
    fail, ///< certainly not stored by this attempt
    info  ///< unknown: it may have been stored
  };
  enum class what : std::uint8_t {
    send,    ///< one attempt: invoke, then ok, fail or info
    push,    ///< a message row as the cluster streamed it, repeats too
    pull,    ///< a message row of an inbox page
    applied, ///< a message the store has kept, for the first time
    sync     ///< a page of one conversation: invoke, then ok (with `page`), fail or info
  };
  std::chrono::nanoseconds at{}; ///< CLOCK_MONOTONIC
  kind type{};
  what f{};
  node_id node{};
  std::uint64_t connection = 0; ///< which of this device's connections
  user_id user{};               ///< who records
  device_id device{};
  conversation_id conversation;
  client_msg_id id; ///< of the message
  unsigned attempt = 0;
  user_id sender{};
  seq_no seq{};
  seq_no prev{}; ///< push, pull: as given; sync: `after`
  message_id msg_id;
  body_hash hash{};
  ec error{};
  bool duplicate = false;
  const conversation_page* page = nullptr; ///< sync, ok: lives during the call
};

class recorder {
public:
  virtual ~recorder() = default;
  virtual void record(const history_event& event) = 0;
};

} // namespace parley::client

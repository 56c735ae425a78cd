#pragma once
#include "protocol/client/values.hpp"

#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace parley::client {

/// The store cannot keep what it was given. After this the device must acknowledge nothing more.
struct store_error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// One delivery that has been decided on. The store keeps all of it or nothing.
struct applied_batch {
  std::vector<const message*> messages; ///< for the history; those that it has already are left as they are
  std::vector<std::pair<conversation_id, seq_no>>
      positions; ///< how far each conversation's stream is applied
  std::vector<watermark> marks;
  std::vector<conversation_info> opened;
  std::optional<cursor> upto; ///< the place in the inbox after it; none for history that was fetched
};

/// How `enqueue` numbers a message.
struct numbering {
  unix_ms clock{};      ///< the counter is not below it
  bool at_once = false; ///< the message is sent right after it is kept, as if `trying` were called for it
};

/// What a device must not forget.
///
/// Owns:   identity and key, the counter, the last session's number, the outbox, the history, positions,
///         watermarks, cursors.
/// Thread: one. The calls block until what they promise is on disk, if the implementation has a disk.
/// Holds:  a counter is given out once and is durable before `enqueue` returns; the same is true of a
///         session's number. A (conversation, seq) is one message. Positions, watermarks and reads only
///         rise, except in `roll_back`.
/// Errors: throws `store_error`.
class client_store {
public:
  virtual ~client_store() = default;

  virtual std::optional<identity> who() = 0;
  virtual void set_identity(const identity& who) = 0;

  // --- outbox ----------------------------------------------------------------------------------------------
  /// Keeps the message and gives it its counter, see `counter_after`.
  virtual outgoing enqueue(conversation_id c, std::string body, const numbering& how = {}) = 0;
  /// The messages without an outcome, by counter.
  virtual std::vector<outgoing> waiting() = 0;
  /// The messages with counters up to `counter` are about to be sent. If the device dies now, they may be
  /// stored.
  virtual void trying(std::uint64_t counter) = 0;
  /// The cluster knows the counter of the message from another message: the message gets a new one to be sent
  /// under, as `enqueue` gives them. Its name on this device stays. Returns the new counter.
  virtual std::uint64_t renumber(std::uint64_t counter, unix_ms clock) = 0;
  /// The cluster has stored the message, which is found by the counter that it was sent under: moves it from
  /// the outbox to the history.
  virtual void sent(const message& placed) = 0;
  /// The cluster will never store the message. It stays in the store, marked, until `forget`.
  virtual void failed(std::uint64_t counter, ec why) = 0;
  struct failed_message {
    outgoing it;
    ec why{};
  };
  virtual std::vector<failed_message> failures() = 0;
  virtual void forget(std::uint64_t counter) = 0;

  // --- inbox -----------------------------------------------------------------------------------------------
  virtual void apply(const applied_batch& batch) = 0;
  struct place {
    cursor applied;       ///< everything up to here is in the store
    cursor acknowledged;  ///< everything up to here is in the store and the cluster knows it
    bool compare = false; ///< the history has to be compared with the cluster's before anything is applied
  };
  virtual place where() = 0;
  virtual void acknowledged(const cursor& upto) = 0;

  // --- after the cluster was put back to an older copy -----------------------------------------------------
  /// The newest messages at or before `upto`, in the order of the conversation.
  virtual std::vector<message> newest(conversation_id c, seq_no upto, std::size_t limit) = 0;
  /// The place in the inbox belongs to another history than the cluster's. Forgets both cursors, and remembers
  /// that the history has to be compared until `compared` is called.
  virtual void start_over() = 0;
  virtual void compared() = 0;
  /// The cluster has lost the messages of the conversation after `upto`. They leave the history for the lost
  /// ones; positions, watermarks and reads fall to `upto`.
  virtual void roll_back(conversation_id c, seq_no upto) = 0;
  /// The lost messages that the program was not told of. `told_lost` says that it was; the store keeps them,
  /// because nobody else may.
  virtual std::vector<message> lost() = 0;
  virtual void told_lost() = 0;

  /// How far each conversation's stream is applied, and the watermarks, as earlier batches left them.
  struct applied_state {
    std::vector<std::pair<conversation_id, seq_no>> positions;
    std::vector<watermark> marks;
  };
  virtual applied_state applied() = 0;

  // --- what people look at ---------------------------------------------------------------------------------
  virtual std::vector<message> history(conversation_id c, seq_no after, std::size_t limit) = 0;
  /// The newest messages of the conversation, at most `limit`, in its order.
  virtual std::vector<message> newest(conversation_id c, std::size_t limit) = 0;
  virtual std::vector<conversation_info> conversations() = 0;
  /// How many messages of others than `me` the store has above `read` and above what was read on this device.
  virtual std::size_t unread_messages(conversation_id c, seq_no read, user_id me) = 0;
  /// How this person calls others. The cluster knows nothing of it.
  virtual std::vector<contact> contacts() = 0;
  virtual void set_contacts(const std::vector<contact>& all) = 0;
  /// The oldest messages of other devices that no program has shown yet, by time; at most `limit`.
  virtual std::vector<message> unshown(std::size_t limit) = 0;
  /// A program has shown each of these conversations up to that place.
  virtual void shown(const std::map<conversation_id, seq_no>& upto) = 0;
  /// A person has read the conversation up to `upto`, and the cluster does not know it yet.
  virtual void read(conversation_id c, seq_no upto) = 0;
  virtual void read_known(conversation_id c, seq_no upto) = 0;
  struct unread {
    conversation_id conversation;
    seq_no upto{};
  };
  /// The reads that the cluster has not confirmed yet.
  virtual std::vector<unread> reads_owed() = 0;

  /// The number for the next login, see `session_after`. A number is never given out twice, not even if its
  /// login fails.
  virtual session_number next_session(unix_ms clock) = 0;
  /// Where other nodes are reached, as the cluster said at the last login: "host:port".
  virtual std::vector<std::string> nodes() = 0;
  virtual void set_nodes(const std::vector<std::string>& all) = 0;
  /// The resume token of the newest session. It names a position and proves nothing.
  virtual std::string token() = 0;
  virtual void set_token(const std::string& token) = 0;
};

} // namespace parley::client

#pragma once
#include "protocol/client/device/inbox_applier.hpp"
#include "protocol/client/values.hpp"

#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace parley::client {

/// The store cannot keep what it was given. Who catches it must not acknowledge anything any more.
struct store_error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// One delivery, decided on and ready to be kept: all of it or nothing.
struct applied_batch {
  std::vector<const message*> messages; ///< into the history; those that are there already stay as they are
  std::vector<std::pair<conversation_id, seq_no>>
      positions; ///< how far each conversation's stream is applied
  std::vector<watermark> marks;
  std::vector<conversation_info> opened;
  std::optional<cursor> upto; ///< place in the inbox after it; none: history that was fetched on its own
};

/// What a device must not forget.
///
/// Owns:   identity and key, the counter, the last session's number, the outbox, the history, positions,
///         watermarks, cursors.
/// Thread: one; the calls block until what they promise is on disk (if the implementation has one).
/// Holds:  a counter is given out once, and is durable before `enqueue` returns; so is a session's number;
///         (conversation, seq) is one message;
///         positions, watermarks and reads only rise.
/// Errors: throws `store_error`.
class client_store {
public:
  virtual ~client_store() = default;

  virtual std::optional<identity> who() = 0;
  virtual void set_identity(const identity& who) = 0;

  // --- outbox ---------------------------------------------------------------------------------------------
  /// Keeps the message and gives it its counter.
  virtual outgoing enqueue(conversation_id c, std::string body) = 0;
  /// What has no outcome yet, by counter.
  virtual std::vector<outgoing> waiting() = 0;
  /// The cluster has it: out of the outbox, into the history.
  virtual void sent(const message& placed) = 0;
  /// It will never be stored. It stays, marked, until `forget`.
  virtual void failed(std::uint64_t counter, ec why) = 0;
  struct failed_message {
    outgoing it;
    ec why{};
  };
  virtual std::vector<failed_message> failures() = 0;
  virtual void forget(std::uint64_t counter) = 0;

  // --- inbox ----------------------------------------------------------------------------------------------
  virtual void apply(const applied_batch& batch) = 0;
  struct place {
    cursor applied;      ///< everything up to here is in the store
    cursor acknowledged; ///< … and the cluster knows
  };
  virtual place where() = 0;
  virtual void acknowledged(const cursor& upto) = 0;
  /// Hands what earlier batches left to an applier that begins.
  virtual void restore(inbox_applier& into) = 0;

  // --- what people look at --------------------------------------------------------------------------------
  virtual std::vector<message> history(conversation_id c, seq_no after, std::size_t limit) = 0;
  virtual std::vector<conversation_info> conversations() = 0;
  /// A person has seen the conversation up to `upto`; the cluster is to learn it.
  virtual void read(conversation_id c, seq_no upto) = 0;
  virtual void read_known(conversation_id c, seq_no upto) = 0;
  struct unread {
    conversation_id conversation;
    seq_no upto{};
  };
  /// What the cluster has not confirmed yet.
  virtual std::vector<unread> reads_owed() = 0;

  /// The number of a login to be tried, see `session_after`: never the same twice, also if nothing comes of
  /// it.
  virtual session_number next_session(unix_ms clock) = 0;
  /// The newest session's resume token; only names a position.
  virtual std::string token() = 0;
  virtual void set_token(const std::string& token) = 0;
};

} // namespace parley::client

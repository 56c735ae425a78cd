#pragma once
// What a shard's residents read of its stored state. Implemented over LMDB in cluster/; a test's is a map.
#include "actors/core/calls.hpp"

namespace parley {

struct found_conversation {
  bool exists = false;
  std::vector<user_id> members;
  seq_no last{};
  ec error{}; ///< not none: it could not be read, so `exists` says nothing
};

/// Reads never wait for a commit. They see what the store published last, which may be a second old: after a
/// fresh read (STORE) was answered, they see everything acknowledged before it was asked. Thread: any. Errors
/// inside the answers; `corrupt` where a record fails its checksum.
class state_reader {
public:
  virtual ~state_reader() = default;
  /// The first answer to a message that was sent before, unless that was a moment ago.
  virtual std::optional<core::placement> find_retry(shard_id s, const core::submission& what) = 0;
  virtual found_conversation head(shard_id s, conversation_id c) = 0;
  virtual core::conversation_page page(shard_id s, const core::sync_conversation& ask) = 0;
  virtual std::vector<core::message> messages(shard_id s, conversation_id c, seq_no after, seq_no upto) = 0;
  virtual core::inbox_page inbox(shard_id s, const core::pull_inbox& ask) = 0;
  virtual core::attached inbox_state(shard_id s, user_id user, device_id device) = 0;
  virtual core::conversation_list conversations(shard_id s, const core::list_conversations& ask) = 0;
  virtual core::found_device device(shard_id s, user_id user, device_id device) = 0;
  virtual core::found_phone phone(shard_id s, const std::string& phone) = 0;
  /// The stored debts from number `from` on.
  virtual core::debt_page debts(shard_id s, std::uint64_t from, std::size_t rows_max) = 0;
  virtual core::node_list nodes(shard_id s) = 0;
  /// Whether there is what a call is about: a conversation, a device, a phone number's user. True also if
  /// that could not be read, and for calls that may create it, or that only its owner can make.
  virtual bool has_subject(shard_id s, const core::call& c) = 0;
  /// What may be proposed to the shard: `oldest` if its row cannot be read, which is never wrong.
  virtual core::format_number format(shard_id s) = 0;
};

} // namespace parley

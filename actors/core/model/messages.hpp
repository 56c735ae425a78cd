#pragma once
// A message before and after it has its place in a conversation, and how far its members have got.
#include "actors/core/archive.hpp"
#include "protocol/values/messages.hpp"
#include "protocol/values/shared_bytes.hpp"
#include "protocol/values/types.hpp"

namespace parley::core {

/// A message as its sender hands it in, not yet placed in its conversation.
struct submission {
  conversation_id conversation;
  user_id from{};   ///< proved at login, never read from the wire
  client_msg_id id; ///< `id.device` too is proved at login
  body_hash hash{};
  unix_ms at{}; ///< the gateway's clock; apply makes it monotone
  /// 1: the sender's session knows of other devices of the sender, so the sender's inbox needs a copy. This
  /// is a hint that saves a repair: what counts is `want_copies`, which the user's shard sends to the
  /// conversation's.
  std::uint8_t copy_own = 0;
  shared_bytes body; ///< opaque: what the client made of it is not looked at
  template <class F>
  auto fields(F&& f) {
    return f(conversation, from, id, hash, at, copy_own, body);
  }
};

/// A message in its place.
struct message {
  static constexpr auto inside = nested::grows;
  conversation_id conversation;
  seq_no seq{};
  message_id id;
  user_id from{};
  client_msg_id client_id;
  unix_ms at{};
  shared_bytes body;
  template <class F>
  auto fields(F&& f) {
    return f(conversation, seq, id, from, client_id, at, body);
  }
};

using parley::watermark;

} // namespace parley::core

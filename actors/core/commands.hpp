#pragma once
// What is written in a shard's log, and what applying it answers. These structs are a stored format: see
// archive.hpp.
#include "actors/core/archive.hpp"
#include "protocol/values/errors.hpp"
#include "protocol/values/types.hpp"

#include <string>
#include <variant>
#include <vector>

namespace parley::core {

// --- values that several commands share -------------------------------------------------------------------

/// A message as its sender hands it in, not yet placed in its conversation.
struct submission {
  conversation_id conversation;
  user_id from{};   ///< proved at login, never read from the wire
  client_msg_id id; ///< `id.device` too is proved at login
  body_hash hash{};
  unix_ms at{}; ///< the gateway's clock; apply makes it monotone
  /// 1: the sender's session knows of other devices, its own inbox wants a copy. A hint that saves a repair:
  /// the conversation is told by the inbox (`want_copies`).
  std::uint8_t copy_own = 0;
  std::string body; ///< ciphertext; the server never looks inside
  template <class F>
  auto fields(F&& f) {
    return f(conversation, from, id, hash, at, copy_own, body);
  }
};

/// A message in its place.
struct message {
  conversation_id conversation;
  seq_no seq{};
  message_id id;
  user_id from{};
  client_msg_id client_id;
  unix_ms at{};
  std::string body;
  template <class F>
  auto fields(F&& f) {
    return f(conversation, seq, id, from, client_id, at, body);
  }
};

/// How far one member has got. Monotone; read never exceeds delivered; both never exceed the conversation's
/// last seq.
struct watermark {
  conversation_id conversation;
  user_id user{};
  seq_no delivered{};
  seq_no read{};
  template <class F>
  auto fields(F&& f) {
    return f(conversation, user, delivered, read);
  }
  bool operator==(const watermark&) const = default;
};

/// News that a conversation was opened with this user in it.
struct opened_news {
  conversation_id conversation;
  std::vector<user_id> members; ///< ascending
  unix_ms at{};
  template <class F>
  auto fields(F&& f) {
    return f(conversation, members, at);
  }
};

/// One thing a user has to learn. `prev`: the seq before it in this user's stream of the conversation;
/// what lies between is the user's own, known to its sender.
struct message_news {
  seq_no prev{};
  message msg;
  template <class F>
  auto fields(F&& f) {
    return f(prev, msg);
  }
};
using news = std::variant<message_news, opened_news, watermark>;

struct inbox_row {
  inbox_pos pos{};
  news what;
  template <class F>
  auto fields(F&& f) {
    return f(pos, what);
  }
};

/// Part of one member's stream of one conversation: covers the seqs (prev, upto].
struct inbox_append {
  user_id user{};
  conversation_id conversation;
  std::uint64_t membership = 0; ///< the seq at which this membership began; the higher wins
  seq_no prev{};
  seq_no upto{};
  std::vector<news>
      items; ///< `message_news` inside the range, an `opened_news`, or watermarks (prev == upto)
  template <class F>
  auto fields(F&& f) {
    return f(user, conversation, membership, prev, upto, items);
  }
};

/// One inbox that a debt concerns. `prev` is the last seq that its stream was sent before.
struct fan_out_target {
  user_id user{};
  std::uint64_t membership = 0;
  seq_no prev{};
  template <class F>
  auto fields(F&& f) {
    return f(user, membership, prev);
  }
};
struct owed_message { ///< body: in the conversation's log
  conversation_id conversation;
  seq_no seq{};
  std::vector<fan_out_target> to;
  template <class F>
  auto fields(F&& f) {
    return f(conversation, seq, to);
  }
};
struct owed_opening {
  opened_news what;
  std::vector<fan_out_target> to;
  template <class F>
  auto fields(F&& f) {
    return f(what, to);
  }
};
struct owed_receipt { ///< to the other members' inboxes
  watermark mark;
  std::vector<fan_out_target> to;
  template <class F>
  auto fields(F&& f) {
    return f(mark, to);
  }
};
struct owed_watermark { ///< from an inbox to the conversation: this user's devices got that far
  watermark mark;
  template <class F>
  auto fields(F&& f) {
    return f(mark);
  }
};
/// One member of one conversation.
struct member_ref {
  conversation_id conversation;
  user_id user{};
  template <class F>
  auto fields(F&& f) {
    return f(conversation, user);
  }
  bool operator==(const member_ref&) const = default;
};
struct owed_copies { ///< from an inbox to the conversation: this user has several devices now
  member_ref who;
  template <class F>
  auto fields(F&& f) {
    return f(who);
  }
};
using owed = std::variant<owed_message, owed_opening, owed_receipt, owed_watermark, owed_copies>;

struct device_record {
  device_id id{};
  std::array<std::uint8_t, 32> key{}; ///< Ed25519 public key
  std::string name;                   ///< shown to its owner, ≤ 64 bytes
  unix_ms since{};
  template <class F>
  auto fields(F&& f) {
    return f(id, key, name, since);
  }
};

struct node_record {
  node_id id{};
  disk_id disk{};
  std::string peer_address;   ///< host:port of the node transport
  std::string client_address; ///< host:port of the gateway
  template <class F>
  auto fields(F&& f) {
    return f(id, disk, peer_address, client_address);
  }
  bool operator==(const node_record&) const = default;
};

// --- commands ---------------------------------------------------------------------------------------------

// conversations
struct open_direct {
  conversation_id conversation; ///< derived from the pair; the pair stored is checked against it
  user_id low{}, high{};        ///< low < high
  unix_ms at{};
  template <class F>
  auto fields(F&& f) {
    return f(conversation, low, high, at);
  }
};
struct append_message {
  submission what;
  template <class F>
  auto fields(F&& f) {
    return f(what);
  }
};
struct raise_watermarks {
  std::vector<watermark> marks;
  template <class F>
  auto fields(F&& f) {
    return f(marks);
  }
};
/// The other shards have every debt up to number `upto`, so the shard forgets these debts.
struct confirm_debts {
  std::uint64_t upto = 0;
  template <class F>
  auto fields(F&& f) {
    return f(upto);
  }
};

// inboxes
struct append_inbox {
  std::vector<inbox_append> parts;
  template <class F>
  auto fields(F&& f) {
    return f(parts);
  }
};
/// A device has everything up to `upto`. Rows that all devices have are dropped.
struct advance_cursor {
  user_id user{};
  device_id device{};
  inbox_pos upto{};
  template <class F>
  auto fields(F&& f) {
    return f(user, device, upto);
  }
};

// accounts
struct issue_code { ///< at the shard of the phone's hash
  std::string phone;
  body_hash code_hash{}; ///< SHA-256 of phone and code
  unix_ms at{}, expires{};
  template <class F>
  auto fields(F&& f) {
    return f(phone, code_hash, at, expires);
  }
};
struct redeem_code {
  std::string phone;
  body_hash code_hash{};
  user_id candidate{}; ///< the user's id if the phone is new; random
  unix_ms at{};
  template <class F>
  auto fields(F&& f) {
    return f(phone, code_hash, candidate, at);
  }
};
struct put_device { ///< at the user's shard; makes the account with its first device
  user_id user{};
  std::string phone;
  device_record device;
  template <class F>
  auto fields(F&& f) {
    return f(user, phone, device);
  }
};

// meta shard
struct put_node { ///< a node joined, moved, or came back with another disk
  node_record node;
  template <class F>
  auto fields(F&& f) {
    return f(node);
  }
};

/// From now on these members want what they send in their own inboxes, too; and what they sent since their
/// streams were last told something.
struct want_copies {
  std::vector<member_ref> of;
  template <class F>
  auto fields(F&& f) {
    return f(of);
  }
};

using command = std::variant<open_direct, append_message, raise_watermarks, confirm_debts, append_inbox,
                             advance_cursor, issue_code, redeem_code, put_device, put_node, want_copies>;

/// Bookkeeping that no person waits for: a second earlier or later is the same to everybody.
inline bool can_wait(const command& c) {
  return std::holds_alternative<raise_watermarks>(c) || std::holds_alternative<confirm_debts>(c) ||
         std::holds_alternative<advance_cursor>(c);
}

// --- what applying answers ---------------------------------------------------------------------------------

struct placement {
  ec error{};
  seq_no seq{};
  message_id id;
  unix_ms at{};
  std::uint8_t duplicate = 0; ///< 1: stored before; also set with `conflict`, whose first answer this is
  std::uint32_t retry_after_ms = 0;
  template <class F>
  auto fields(F&& f) {
    return f(error, seq, id, at, duplicate, retry_after_ms);
  }
};
/// One per part of an `append_inbox`, in order.
struct inbox_outcome {
  ec error{};       ///< none, gap, stale
  seq_no covered{}; ///< with `gap`: resend from here
  template <class F>
  auto fields(F&& f) {
    return f(error, covered);
  }
};
struct inbox_outcomes {
  std::vector<inbox_outcome> parts;
  template <class F>
  auto fields(F&& f) {
    return f(parts);
  }
};
struct redeemed {
  ec error{}; ///< none, code_wrong, code_expired
  user_id user{};
  std::uint8_t is_new = 0;
  template <class F>
  auto fields(F&& f) {
    return f(error, user, is_new);
  }
};
struct done { ///< all other commands
  ec error{};
  std::uint32_t retry_after_ms = 0;
  template <class F>
  auto fields(F&& f) {
    return f(error, retry_after_ms);
  }
};
using outcome = std::variant<done, placement, inbox_outcomes, redeemed>;

/// What a leader's actors do with an applied command. Followers drop it.
struct applied {
  shard_id shard{};
  std::uint64_t ticket = 0; ///< 0: not proposed here
  outcome what;
};
/// A new debt: for the fan-out actor. `body` is filled for an `owed_message`.
struct incurred {
  shard_id shard{};
  std::uint64_t number = 0;
  owed what;
  std::optional<message> full;
};
/// Part of a shard's stored debts, oldest first, bodies loaded. An error says nothing about what is owed.
struct debt_page {
  ec error{};
  std::vector<incurred> rows;
  bool more = false; ///< there is more than was asked for or fits
};
/// New rows of one inbox: for the inbox actor, which shows them to live connections.
struct arrived {
  shard_id shard{};
  user_id user{};
  std::vector<inbox_row> rows;
};

} // namespace parley::core

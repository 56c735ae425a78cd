#pragma once
// What gateways ask of conversations, inboxes and accounts, and what these answer. Calls cross nodes as bytes
// (archive.hpp); every call goes to the leader of `home(call)`, every answer has the call's own index in
// `answer`.
#include "actors/core/commands.hpp"

namespace parley::core {

/// A client connection, cluster-wide.
struct connection_ref {
  node_id node{};
  std::uint64_t number = 0;  ///< never reused by a process
  std::uint64_t process = 0; ///< random, drawn by each process of the node
  template <class F>
  auto fields(F&& f) {
    return f(node, number, process);
  }
  auto operator<=>(const connection_ref&) const = default;
};

// --- to a conversation ----------------------------------------------------------------------------------
using submit = submission; // answer: placement

struct open_conversation {
  user_id by{}, with{};
  unix_ms at{};
  template <class F>
  auto fields(F&& f) {
    return f(by, with, at);
  }
};
struct opened {
  ec error{};
  conversation_id conversation;
  std::uint32_t retry_after_ms = 0;
  template <class F>
  auto fields(F&& f) {
    return f(error, conversation, retry_after_ms);
  }
};

/// Fresh: reaches all that was acknowledged before it was asked.
struct sync_conversation {
  conversation_id conversation;
  user_id by{};
  seq_no after{};
  std::uint32_t limit = 0;
  template <class F>
  auto fields(F&& f) {
    return f(conversation, by, after, limit);
  }
};
struct conversation_page {
  ec error{};
  std::vector<message> messages; ///< contiguous from `after` + 1
  seq_no last{};                 ///< the conversation's last seq
  std::vector<watermark> marks;  ///< of every member
  std::uint8_t more = 0;
  std::uint32_t retry_after_ms = 0;
  template <class F>
  auto fields(F&& f) {
    return f(error, messages, last, marks, more, retry_after_ms);
  }
};

struct mark_read {
  conversation_id conversation;
  user_id by{};
  seq_no upto{};
  template <class F>
  auto fields(F&& f) {
    return f(conversation, by, upto);
  }
};

// --- to an inbox ------------------------------------------------------------------------------------------
/// Rows after `after`; with `live`, whatever comes after the last page is pushed to `connection`, which is
/// thereby announced, as by `attach`.
struct pull_inbox {
  user_id user{};
  device_id device{};
  inbox_pos after{};
  std::uint32_t limit = 0;
  std::uint8_t live = 0;
  connection_ref connection;
  session_number session{}; ///< of the connection
  template <class F>
  auto fields(F&& f) {
    return f(user, device, after, limit, live, connection, session);
  }
};
struct inbox_page {
  ec error{};
  std::vector<inbox_row> rows;
  inbox_pos next{};      ///< ask on from here
  std::uint8_t more = 0; ///< 1: not yet live, there is more stored
  std::uint32_t retry_after_ms = 0;
  template <class F>
  auto fields(F&& f) {
    return f(error, rows, next, more, retry_after_ms);
  }
};

struct acknowledge { ///< these rows are on the device
  user_id user{};
  device_id device{};
  inbox_pos upto{};
  template <class F>
  auto fields(F&& f) {
    return f(user, device, upto);
  }
};

struct list_conversations {
  user_id user{};
  conversation_id after;
  std::uint32_t limit = 0;
  template <class F>
  auto fields(F&& f) {
    return f(user, after, limit);
  }
};
struct conversation_summary {
  conversation_id conversation;
  std::vector<user_id> members;
  seq_no last{}; ///< as far as this inbox has heard
  template <class F>
  auto fields(F&& f) {
    return f(conversation, members, last);
  }
};
struct conversation_list {
  ec error{};
  std::vector<conversation_summary> items;
  std::uint8_t more = 0;
  std::uint32_t retry_after_ms = 0;
  template <class F>
  auto fields(F&& f) {
    return f(error, items, more, retry_after_ms);
  }
};

/// A device's session begins. Repeated as a heartbeat and on every change of leader, so that a new leader
/// learns who is there. Announcements arrive in any order (after a failover the parked one of an older
/// connection too), so the numbers decide: the highest is the device's connection, the others are fenced.
struct attach {
  user_id user{};
  device_id device{};
  connection_ref connection;
  session_number session{}; ///< of the connection
  template <class F>
  auto fields(F&& f) {
    return f(user, device, connection, session);
  }
};
struct attached {
  ec error{};               ///< none; fenced: a newer connection is known, or was
  inbox_pos acknowledged{}; ///< the device's cursor
  inbox_pos last{};
  std::uint32_t devices = 0; ///< of the user: more than one wants copies of own messages
  std::uint32_t retry_after_ms = 0;
  template <class F>
  auto fields(F&& f) {
    return f(error, acknowledged, last, devices, retry_after_ms);
  }
};
struct detach {
  user_id user{};
  device_id device{};
  connection_ref connection;
  template <class F>
  auto fields(F&& f) {
    return f(user, device, connection);
  }
};

// --- to an account -----------------------------------------------------------------------------------------
struct request_code { ///< at the phone's shard
  std::string phone;
  body_hash code_hash{};
  unix_ms at{};
  template <class F>
  auto fields(F&& f) {
    return f(phone, code_hash, at);
  }
};
struct confirm_code { ///< at the phone's shard; the gateway then adds the device at the user's
  std::string phone;
  body_hash code_hash{};
  user_id candidate{};
  unix_ms at{};
  template <class F>
  auto fields(F&& f) {
    return f(phone, code_hash, candidate, at);
  }
};
struct add_device {
  user_id user{};
  std::string phone;
  device_record device;
  template <class F>
  auto fields(F&& f) {
    return f(user, phone, device);
  }
};
struct find_device { ///< fresh
  user_id user{};
  device_id device{};
  template <class F>
  auto fields(F&& f) {
    return f(user, device);
  }
};
struct found_device {
  ec error{};
  device_record device;
  std::uint32_t devices = 0; ///< of the user, also when `device` is none of them
  std::uint32_t retry_after_ms = 0;
  template <class F>
  auto fields(F&& f) {
    return f(error, device, devices, retry_after_ms);
  }
};
struct find_phone { ///< fresh, at the phone's shard
  std::string phone;
  user_id by{};
  template <class F>
  auto fields(F&& f) {
    return f(phone, by);
  }
};
struct found_phone {
  ec error{};
  user_id user{};
  std::uint32_t retry_after_ms = 0;
  template <class F>
  auto fields(F&& f) {
    return f(error, user, retry_after_ms);
  }
};

// --- between shards (fan-out) and to the meta shard --------------------------------------------------------
struct propose { ///< a command for `shard` as it is
  shard_id shard{};
  command what;
  template <class F>
  auto fields(F&& f) {
    return f(shard, what);
  }
};
struct proposed {
  ec error{};
  outcome what;
  template <class F>
  auto fields(F&& f) {
    return f(error, what);
  }
};
struct list_nodes { ///< fresh, at the meta shard
  std::uint8_t unused = 0;
  template <class F>
  auto fields(F&& f) {
    return f(unused);
  }
};
struct node_list {
  ec error{};
  std::vector<node_record> nodes;
  template <class F>
  auto fields(F&& f) {
    return f(error, nodes);
  }
};

using call = std::variant<submit, open_conversation, sync_conversation, mark_read, pull_inbox, acknowledge,
                          list_conversations, attach, detach, request_code, confirm_code, add_device,
                          find_device, find_phone, propose, list_nodes>;
using answer =
    std::variant<placement, opened, conversation_page, done, inbox_page, done, conversation_list, attached,
                 done, done, redeemed, done, found_device, found_phone, proposed, node_list>;
static_assert(std::variant_size_v<call> == std::variant_size_v<answer>);

inline constexpr shard_id meta_shard{0};

/// FNV-1a: stable for ever, a phone's shard depends on it.
constexpr std::uint64_t phone_hash(std::string_view phone) {
  std::uint64_t h = 0xcbf29ce484222325ULL;
  for (char c : phone)
    h = (h ^ static_cast<std::uint8_t>(c)) * 0x100000001b3ULL;
  return mix64(h);
}

/// Id of the direct conversation of two users: the first 128 bits of SHA-256 over a domain and the ordered
/// pair.
conversation_id direct_conversation(user_id a, user_id b);

/// Where a call is answered.
shard_id home(const call& c, std::uint16_t shards);

/// The answer to `c` that only says why not.
answer refusal(const call& c, ec why, std::uint32_t retry_after_ms = 0);

/// The same for a call of which only the place in `call` is known.
answer refusal_of_kind(std::size_t index, ec why, std::uint32_t retry_after_ms = 0);

/// What went wrong, whatever the answer's type.
ec error_of(const answer& a);

} // namespace parley::core

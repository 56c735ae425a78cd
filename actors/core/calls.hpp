#pragma once
// What gateways and nodes ask of conversations, inboxes, accounts and shards, and what these answer. Calls
// cross nodes as bytes (archive.hpp), and every call goes to the leader of `home(call)`.
//
// A call is declared once. It names the type of its answer and who serves it:
//
//   struct mark_read {
//     using answer = done;
//     static constexpr auto served_by = resident_kind::conversation;
//     …
//   };
//
// and it is listed in `call`, from which `answer` follows. `home`, `sends_of`, `resident_of` and the resident
// that serves it then do not compile until they decide about it.
#include "actors/core/commands.hpp"

#include <array>

namespace parley::core {

/// Which kind of resident serves a call. Part of a resident's key in its shard's registry.
enum class resident_kind : std::uint64_t {
  shard = 0, ///< none: the SHARD itself
  conversation = 1,
  inbox = 2,
  account = 3
};

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

// --- to a conversation -------------------------------------------------------------------------------------

/// Takes a message and answers its place. A retry is answered with the place of the first try.
struct submit {
  using answer = placement;
  static constexpr auto served_by = resident_kind::conversation;
  submission what;
  template <class F>
  auto fields(F&& f) {
    return what.fields(f);
  }
};

/// The conversation, or why there is none.
struct opened {
  ec error{};
  conversation_id conversation;
  std::uint32_t retry_after_ms = 0;
  std::uint8_t existed = 0; ///< for certain: a "no" may come from a view that is a moment old
  template <class F>
  auto fields(F&& f) {
    return f(error, conversation, retry_after_ms, existed);
  }
};

/// Opens the direct conversation of two users, or finds the one that they have.
struct open_conversation {
  using answer = opened;
  static constexpr auto served_by = resident_kind::conversation;
  user_id by{}, with{};
  unix_ms at{};
  template <class F>
  auto fields(F&& f) {
    return f(by, with, at);
  }
};

/// Part of a conversation's log.
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

/// Messages after `after`, for a member. Fresh: the page reaches all that was acknowledged before the call.
struct sync_conversation {
  using answer = conversation_page;
  static constexpr auto served_by = resident_kind::conversation;
  conversation_id conversation;
  user_id by{};
  seq_no after{};
  std::uint32_t limit = 0;
  template <class F>
  auto fields(F&& f) {
    return f(conversation, by, after, limit);
  }
};

/// A member has read the conversation up to `upto`.
struct mark_read {
  using answer = done;
  static constexpr auto served_by = resident_kind::conversation;
  conversation_id conversation;
  user_id by{};
  seq_no upto{};
  template <class F>
  auto fields(F&& f) {
    return f(conversation, by, upto);
  }
};

// --- to an inbox -------------------------------------------------------------------------------------------

/// Part of an inbox, oldest rows first.
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

/// Rows after `after`. With `live`, rows that follow the last page are pushed to `connection`; the call then
/// also announces that connection, as `attach` does.
struct pull_inbox {
  using answer = inbox_page;
  static constexpr auto served_by = resident_kind::inbox;
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

/// The rows up to `upto` are on the device.
struct acknowledge {
  using answer = done;
  static constexpr auto served_by = resident_kind::inbox;
  user_id user{};
  device_id device{};
  inbox_pos upto{};
  template <class F>
  auto fields(F&& f) {
    return f(user, device, upto);
  }
};

/// One conversation, as the inbox of one of its members knows it.
struct conversation_summary {
  static constexpr auto inside = nested::grows;
  conversation_id conversation;
  std::vector<user_id> members;
  seq_no last{}; ///< the newest message that this inbox knows of
  template <class F>
  auto fields(F&& f) {
    return f(conversation, members, last);
  }
};

/// Some of a user's conversations.
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

/// The user's conversations with ids above `after`, in the order of their ids. Fresh.
struct list_conversations {
  using answer = conversation_list;
  static constexpr auto served_by = resident_kind::inbox;
  user_id user{};
  conversation_id after;
  std::uint32_t limit = 0;
  template <class F>
  auto fields(F&& f) {
    return f(user, after, limit);
  }
};

/// What a session has to know of its inbox.
struct attached {
  ec error{};               ///< none; fenced: a newer connection is known, or was
  inbox_pos acknowledged{}; ///< the device's cursor
  inbox_pos last{};
  std::uint32_t devices = 0; ///< of the user: more than one wants copies of own messages
  std::uint32_t retry_after_ms = 0;
  std::uint8_t copies_due = 0; ///< 1: some of the user's conversations do not know of the second device yet
  std::uint8_t live = 0;       ///< 1: new rows are pushed to the session
  template <class F>
  auto fields(F&& f) {
    return f(error, acknowledged, last, devices, retry_after_ms, copies_due, live);
  }
};

/// A device's session begins. Repeated as a heartbeat and on every change of leader, so that a new leader
/// learns who is there. Announcements arrive in any order (after a failover the parked one of an older
/// connection too), so the numbers decide: the highest is the device's connection, the others are fenced.
struct attach {
  using answer = attached;
  static constexpr auto served_by = resident_kind::inbox;
  user_id user{};
  device_id device{};
  connection_ref connection;
  session_number session{}; ///< of the connection
  template <class F>
  auto fields(F&& f) {
    return f(user, device, connection, session);
  }
};

/// A device's session begins, for a connection whose proof was checked with `key`: if that is not the device's,
/// `bad_signature`, and nothing has begun. It saves a login the question for the key, which would go the same way.
/// Later `attach` is enough. Fresh.
struct log_in {
  using answer = attached;
  static constexpr auto served_by = resident_kind::inbox;
  user_id user{};
  device_id device{};
  connection_ref connection;
  session_number session{}; ///< of the connection
  std::array<std::uint8_t, 32> key{};
  template <class F>
  auto fields(F&& f) {
    return f(user, device, connection, session, key);
  }
};

/// A device's session ended. Only the connection that is named is forgotten.
struct detach {
  using answer = done;
  static constexpr auto served_by = resident_kind::inbox;
  user_id user{};
  device_id device{};
  connection_ref connection;
  template <class F>
  auto fields(F&& f) {
    return f(user, device, connection);
  }
};

// --- to an account -----------------------------------------------------------------------------------------

/// A registration code was drawn and will be sent to this phone, unless the answer is that the ticket's code is on its
/// way already. Served at the phone's shard.
struct request_code {
  using answer = code_issued;
  static constexpr auto served_by = resident_kind::account;
  std::string phone;
  body_hash code_hash{};
  body_hash ticket{}; ///< SHA-256 of the ticket
  asker by{};
  template <class F>
  auto fields(F&& f) {
    return f(phone, code_hash, ticket, by);
  }
};

/// What became of the code of this ticket: it is on its way, or it could not be sent.
struct report_code {
  using answer = done;
  static constexpr auto served_by = resident_kind::account;
  std::string phone;
  body_hash ticket{};
  body_hash code_hash{};
  std::uint8_t sent = 0; ///< 1: it is on its way
  template <class F>
  auto fields(F&& f) {
    return f(phone, ticket, code_hash, sent);
  }
};

/// A code was typed in. Served at the phone's shard; the gateway then adds the device at the user's shard.
struct confirm_code {
  using answer = redeemed;
  static constexpr auto served_by = resident_kind::account;
  std::string phone;
  body_hash code_hash{};
  user_id candidate{};
  body_hash key_hash{}; ///< SHA-256 of the public key of the device that will be added
  body_hash ticket{};   ///< SHA-256 of the ticket
  template <class F>
  auto fields(F&& f) {
    return f(phone, code_hash, candidate, key_hash, ticket);
  }
};

/// Adds a device to its user.
struct add_device {
  using answer = done;
  static constexpr auto served_by = resident_kind::account;
  user_id user{};
  std::string phone;
  device_record device;
  template <class F>
  auto fields(F&& f) {
    return f(user, phone, device);
  }
};

/// A device's record, or why there is none.
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

/// A device's record. Fresh.
struct find_device {
  using answer = found_device;
  static constexpr auto served_by = resident_kind::account;
  user_id user{};
  device_id device{};
  template <class F>
  auto fields(F&& f) {
    return f(user, device);
  }
};

/// The user who has the number, or why there is none.
struct found_phone {
  ec error{};
  user_id user{};
  std::uint32_t retry_after_ms = 0;
  template <class F>
  auto fields(F&& f) {
    return f(error, user, retry_after_ms);
  }
};

/// The user of a phone number. Fresh; served at the phone's shard.
struct find_phone {
  using answer = found_phone;
  static constexpr auto served_by = resident_kind::account;
  std::string phone;
  user_id by{};
  template <class F>
  auto fields(F&& f) {
    return f(phone, by);
  }
};

// --- between shards (fan-out) and to the meta shard --------------------------------------------------------

/// What became of a proposed command. `what` is void on error.
struct proposed {
  ec error{};
  outcome what;
  template <class F>
  auto fields(F&& f) {
    return f(error, what);
  }
};

/// A command for the log of `shard`. It is encoded where it is made, and the same bytes become the log entry:
/// no hop between has to decode it.
struct propose {
  using answer = proposed;
  static constexpr auto served_by = resident_kind::shard;
  shard_id shard{};
  std::string command;
  std::uint8_t can_wait = 0; ///< 1: the command's own `can_wait`
  template <class F>
  auto fields(F&& f) {
    return f(shard, command, can_wait);
  }
};
/// `format`: of the shard that makes the command, for the reason in format_number.hpp; who is in no shard
/// takes `oldest`.
inline propose make_propose(shard_id shard, format_number format, const command& what) {
  return {shard, encode_for(format, what), static_cast<std::uint8_t>(can_wait(what))};
}

/// The nodes that have joined the cluster.
struct node_list {
  ec error{};
  std::vector<node_record> nodes;
  template <class F>
  auto fields(F&& f) {
    return f(error, nodes);
  }
};

/// The nodes of the cluster. Fresh; served at the meta shard.
struct list_nodes {
  using answer = node_list;
  static constexpr auto served_by = resident_kind::shard;
  template <class F>
  auto fields(F&& f) {
    return f();
  }
};

using call = std::variant<submit, open_conversation, sync_conversation, mark_read, pull_inbox, acknowledge,
                          list_conversations, attach, detach, request_code, confirm_code, add_device,
                          find_device, find_phone, propose, list_nodes, report_code, log_in>;

/// Calls that `Kind` does not serve, for the last lambda of a visit in a resident: it decides about its own
/// calls one by one, and a new one of them does not compile until it does.
template <class Call, resident_kind Kind>
concept served_elsewhere = Call::served_by != Kind;

// --- answers -----------------------------------------------------------------------------------------------

/// The answer to a `Call`. Calls with answers of one type (`done`) are told apart by it.
template <class Call>
struct answer_to {
  typename Call::answer what;
  template <class F>
  auto fields(F&& f) {
    return what.fields(f);
  }
};

template <class Calls>
struct answers_to;
template <class... Calls>
struct answers_to<std::variant<Calls...>> {
  using type = std::variant<answer_to<Calls>...>;
};
using answer = answers_to<call>::type;

/// The answer to a `Call`, or null if it answers another kind of call.
template <class Call>
const typename Call::answer* answer_if(const answer& a) {
  const auto* it = std::get_if<answer_to<Call>>(&a);
  return it ? &it->what : nullptr;
}
template <class Call>
typename Call::answer* answer_if(answer& a) {
  auto* it = std::get_if<answer_to<Call>>(&a);
  return it ? &it->what : nullptr;
}

/// Which call it is: all that is needed to refuse a call that was handed on.
enum class call_kind : std::uint8_t {};
call_kind kind_of(const call& c);
/// The kind of call that it answers.
call_kind kind_of(const answer& a);

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

/// The answer to a call that only says why not.
answer refusal(call_kind kind, ec why, std::uint32_t retry_after_ms = 0);
inline answer refusal(const call& c, ec why, std::uint32_t retry_after_ms = 0) {
  return refusal(kind_of(c), why, retry_after_ms);
}

/// How often the call counts against its user's rate of sends (`limits.user_sends_per_second`). What only reads counts
/// 0 times; what is written to the log once, or once for each `rated_bytes` of a message that it begins: one of 200 bytes
/// costs each replica 3 KB of its journal, one of 64 KiB 250 KB.
std::uint32_t sends_of(const call& c);
std::uint32_t sends_of(const submission& s); ///< also for the conversation's rate
inline constexpr std::size_t rated_bytes = 1'024;

/// What went wrong, whatever the answer's type.
ec error_of(const answer& a);

} // namespace parley::core

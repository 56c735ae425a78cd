#pragma once
// What a conversation holds and an inbox brings, as both ends of a client's connection see it.
#include "protocol/values/types.hpp"

#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace parley {

/// A message in its place.
struct message {
  conversation_id conversation;
  seq_no seq{};
  message_id id;
  user_id sender{};
  client_msg_id client_id;
  unix_ms at{};
  std::string body;
  bool operator==(const message&) const = default;
};

/// A message that does not own its body, so that it can be written without a copy.
struct message_view {
  conversation_id conversation;
  seq_no seq{};
  message_id id;
  user_id sender{};
  client_msg_id client_id;
  unix_ms at{};
  std::string_view body;
};
inline message_view view_of(const message& m) {
  return {m.conversation, m.seq, m.id, m.sender, m.client_id, m.at, m.body};
}

/// How far one member has got; it covers all messages before. It only rises; `read` never exceeds
/// `delivered`, and neither exceeds the conversation's last seq. The cluster stores it as it is.
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

/// A conversation as a member's inbox knows it.
struct conversation_info {
  conversation_id conversation;
  std::vector<user_id> members;
  seq_no last{}; ///< the newest message that this inbox knows of
  bool operator==(const conversation_info&) const = default;
};

/// A message in one user's stream of its conversation. `prev` is the seq before it in that stream; what lies
/// between was sent by the user.
struct message_row {
  seq_no prev{};
  message msg;
  bool operator==(const message_row&) const = default;
};

/// A device was registered for the user: news for the other devices, because it reads and writes as the user.
/// The cluster stores it as it is.
struct device_added {
  device_id device{};
  std::string name; ///< as the device calls itself
  unix_ms at{};
  template <class F>
  auto fields(F&& f) {
    return f(device, name, at);
  }
  bool operator==(const device_added&) const = default;
};

/// One thing that an inbox brings to a client: a message, a conversation that was opened, a member's progress,
/// or another device of the user.
using inbox_item = std::variant<message_row, conversation_info, watermark, device_added>;

/// Part of one conversation.
struct conversation_page {
  std::vector<message> messages;
  seq_no last{}; ///< of the conversation
  std::vector<watermark> marks;
  bool more = false;
  bool operator==(const conversation_page&) const = default;
};

/// Part of a user's list of conversations.
struct conversation_list {
  std::vector<conversation_info> items;
  bool more = false;
  bool operator==(const conversation_list&) const = default;
};

} // namespace parley

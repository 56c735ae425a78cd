#pragma once
// The values of the client's interface. They know no library and no format.
#include "protocol/values/errors.hpp"
#include "protocol/values/types.hpp"

#include <tl/expected.hpp>

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <vector>

namespace parley::client {

inline constexpr std::size_t body_bytes_max = 65'536;

/// Why something did not happen. `sentence` is for a person and says what to do next.
struct failure {
  ec code = ec::internal;
  std::string sentence;
  std::chrono::milliseconds retry_after{0}; ///< 0: no advice
  // What the table says of the code; of a code that this client does not know, what the cluster says.
  bool retryable = describe(code).retryable;
  was_stored stored = describe(code).stored;
};

/// A failure with the sentence that the table of errors has for `code`.
inline failure refuse(ec code) {
  return {code, std::string{describe(code).sentence}, {}};
}

template <class T>
using result = tl::expected<T, failure>;
struct nothing {};

/// Ed25519 private key (seed) and its public half.
struct key_pair {
  std::array<std::uint8_t, 32> secret{};
  std::array<std::uint8_t, 32> open{};
  bool operator==(const key_pair&) const = default;
};

/// Who this device is. `user` is 0 until the registration is complete. The key is created before that, so that a
/// registration that was interrupted can be repeated with the same key.
struct identity {
  user_id user{};
  device_id device{};
  key_pair key;
  std::string phone;
  bool registered() const { return number(user) != 0; }
};

/// The number of the login after the one with number `last`. It is above `last` even if the clock was set back. It
/// is not below the clock, because a device that was restored from an old copy has forgotten its latest numbers.
constexpr session_number session_after(session_number last, unix_ms clock) {
  const auto at_least = std::max(static_cast<std::int64_t>(clock), std::int64_t{0});
  return session_number{std::max(number(last) + 1, static_cast<std::uint64_t>(at_least))};
}

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

/// How far `user` has received and read a conversation. A position covers everything before it.
struct watermark {
  conversation_id conversation;
  user_id user{};
  seq_no delivered{};
  seq_no read{};
  bool operator==(const watermark&) const = default;
};

struct conversation_info {
  conversation_id conversation;
  std::vector<user_id> members;
  seq_no last{};
  bool operator==(const conversation_info&) const = default;
};

/// A message that is being sent. The outbox and the call under way share the bytes of the body.
struct outgoing {
  std::uint64_t counter = 0; ///< with the device, its client_msg_id: the same in every attempt
  conversation_id conversation;
  std::shared_ptr<const std::string> body;
};

/// The cluster has stored the message: it is on disk at a majority of the replicas.
struct sent {
  std::uint64_t counter = 0;
  conversation_id conversation;
  seq_no seq{};
  message_id id;
  unix_ms at{};
  bool duplicate = false; ///< an earlier attempt had stored it
};

struct conversation_page {
  std::vector<message> messages;
  seq_no last{};
  std::vector<watermark> marks;
  bool more = false;
};

struct conversation_list {
  std::vector<conversation_info> items;
  bool more = false;
};

struct opened_direct {
  conversation_id conversation;
  user_id with{};
};

/// A place in the inbox. Only the cluster knows what the bytes mean.
using cursor = std::string;

/// A 128-bit id as people see it: 32 hexadecimal digits.
std::string text(conversation_id id);
std::string text(message_id id);
result<conversation_id> parse_conversation(std::string_view hex);

} // namespace parley::client

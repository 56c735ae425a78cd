#pragma once
// The values of the client's interface. They know no library and no format.
#include "protocol/values/failure.hpp"
#include "protocol/values/limits.hpp"
#include "protocol/values/messages.hpp"
#include "protocol/values/overloaded.hpp"
#include "protocol/values/session_numbers.hpp"

#include <tl/expected.hpp>

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <vector>

namespace parley::client {

using parley::body_bytes_max;
using parley::conversation_info;
using parley::conversation_list;
using parley::conversation_page;
using parley::device_added;
using parley::failure;
using parley::message;
using parley::message_row;
using parley::watermark;
using inbox_row = inbox_item;

/// The message of a row; null for the kinds that bring none. A new kind does not compile until it is decided
/// here.
inline const message_row* message_in(const inbox_row& row) {
  using found = const message_row*;
  return std::visit(overloaded{
                        [](const message_row& m) -> found { return &m; },
                        [](const conversation_info&) -> found { return nullptr; },
                        [](const watermark&) -> found { return nullptr; },
                        [](const device_added&) -> found { return nullptr; },
                    },
                    row);
}

/// A failure with the sentence that the table of errors has for `code`.
inline failure refuse(ec code) {
  return failure_of(code);
}

/// Whether a refusal is about the session, whatever was asked of it. It says nothing about the call itself,
/// which is made again on the next session.
constexpr bool speaks_of_the_session(ec code) {
  return code == ec::fenced || code == ec::not_authenticated;
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

/// Of a request for a code: the code is good with this ticket only.
struct code_ticket {
  std::string phone;
  std::string ticket;
  bool unanswered = false; ///< the next request for a code repeats this one, which may have been answered
  bool operator==(const code_ticket&) const = default;
};
/// That a device keeps: of somebody who asked again because the first code took its time, and then got both.
inline constexpr std::size_t code_tickets_max = 3;

/// Who this device is. `user` is 0 until the registration is complete. The key is created before that, so
/// that a registration that was interrupted can be repeated with the same key.
struct identity {
  user_id user{};
  device_id device{};
  key_pair key;
  std::string phone;
  std::vector<code_ticket> tickets; ///< oldest first, `code_tickets_max` at most; none once registered
  bool registered() const { return number(user) != 0; }
};

/// The number of the login after the one with number `last`. It is above `last` even if the clock was set
/// back. It is not below the clock, because a device that was restored from an old copy has forgotten its
/// latest numbers.
///
/// A clock that was far ahead once leaves a number that nodes refuse as `session_ahead`. Once the clock is right
/// again such a number is forgotten: no node that refuses it has let it in. A clock that shows a time before 2020 has
/// not been set, and one after the year 9999 is broken; neither says anything.
constexpr session_number session_after(session_number last, unix_ms clock) {
  constexpr std::int64_t year_2020 = 1'577'836'800'000, year_10000 = 253'402'300'800'000;
  const auto ms = static_cast<std::int64_t>(clock);
  const bool is_set = ms >= year_2020 && ms < year_10000;
  const bool no_time = number(last) >= static_cast<std::uint64_t>(year_10000);
  if (no_time || (is_set && is_far_ahead(last, clock)))
    last = session_number::none;
  const auto at_least = ms > 0 && ms < year_10000 ? static_cast<std::uint64_t>(ms) : 0;
  return session_number{std::max(number(last) + 1, at_least)};
}

/// The counter of the message after the one with counter `last`, by a clock. It is above `last` even if the
/// clock was set back. It is not below the clock, because a profile that was restored from an old copy has
/// forgotten its latest counters, which the cluster still knows. A clock that shows a time before 1970 or
/// after the year 9999 is ignored: a counter cannot be taken back.
constexpr std::uint64_t counter_after(std::uint64_t last, unix_ms clock) {
  constexpr std::int64_t year_10000 = 253'402'300'800'000;
  const auto ms = static_cast<std::int64_t>(clock);
  const auto at_least = ms > 0 && ms < year_10000 ? static_cast<std::uint64_t>(ms) : 0;
  return std::max(last + 1, at_least);
}

/// A message on its way out. The body is shared: the outbox and the call in flight hold the same bytes.
struct outgoing {
  std::uint64_t counter = 0; ///< names the message on this device, from `post` to its outcome
  conversation_id conversation;
  std::shared_ptr<const std::string> body;
  /// Not 0: the cluster knew `counter` from another message, so this one is sent under this counter instead.
  std::uint64_t renumbered = 0;
  bool tried = false; ///< an earlier life of the device may have sent it, so the cluster may have it
  /// With the device, its client_msg_id: the same in every attempt.
  std::uint64_t sent_as() const { return renumbered != 0 ? renumbered : counter; }
};

/// The cluster has stored the message: it is on disk at a majority of the replicas.
struct sent {
  std::uint64_t counter = 0; ///< as `post` returned it
  conversation_id conversation;
  seq_no seq{};
  message_id id;
  unix_ms at{};
  bool duplicate = false; ///< an earlier attempt had stored it
};

struct opened_direct {
  conversation_id conversation;
  user_id with{};
};

/// Somebody whom this person knows. What is not known is empty, or 0.
struct contact {
  user_id user{};
  std::string phone;
  std::string name; ///< given by this person
  bool operator==(const contact&) const = default;
};

/// A place in the inbox. Only the cluster knows what the bytes mean.
using cursor = std::string;

/// A 128-bit id as people see it: 32 hexadecimal digits.
std::string text(conversation_id id);
std::string text(message_id id);
result<conversation_id> parse_conversation(std::string_view hex);

} // namespace parley::client

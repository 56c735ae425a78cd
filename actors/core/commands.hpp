#pragma once
// What is written in a shard's log. These structs are a stored format: see archive.hpp. What applying one
// answers is in model/outcomes.hpp.
//
// `can_wait` is true for a command that no client waits for. The store may keep such a command for a moment
// and write it together with others.
#include "actors/core/model/debts.hpp"
#include "actors/core/model/outcomes.hpp"
#include "actors/core/model/records.hpp"
#include "actors/core/number_ranges.hpp"

namespace parley::core {

// --- conversations -----------------------------------------------------------------------------------------

/// Creates the direct conversation of two users, or finds it there.
struct open_direct {
  static constexpr bool can_wait = false;
  conversation_id conversation; ///< derived from the pair; apply checks the stored pair against it
  user_id low{}, high{};        ///< low < high
  unix_ms at{};
  template <class F>
  auto fields(F&& f) {
    return f(conversation, low, high, at);
  }
};

/// Gives a message its place in its conversation, or answers the place that an earlier try was given.
struct append_message {
  static constexpr bool can_wait = false;
  static constexpr bool from_clients = true;
  submission what;
  template <class F>
  auto fields(F&& f) {
    return what.fields(f); // it is all that is here, so it can grow
  }
};

/// Some members have got further. Marks only rise; what is not new is ignored.
struct raise_watermarks {
  static constexpr bool can_wait = true;
  std::vector<watermark> marks;
  template <class F>
  auto fields(F&& f) {
    return f(marks);
  }
};

/// From now on these members want what they send in their own inboxes, too, and what they sent since their
/// streams were last sent something.
struct want_copies {
  static constexpr bool can_wait = false;
  std::vector<member_ref> of;
  template <class F>
  auto fields(F&& f) {
    return f(of);
  }
};

/// The other shards have every debt up to number `upto`, and those of `beyond`, so the shard forgets these debts.
struct confirm_debts {
  static constexpr bool can_wait = true;
  static constexpr bool frees_room = true;
  std::uint64_t upto = 0;
  std::vector<number_range> beyond; ///< ascending: what is delivered behind a debt that is still owed
  template <class F>
  auto fields(F&& f) {
    return f(upto, beyond);
  }
};

// --- inboxes -----------------------------------------------------------------------------------------------

/// What other shards owe to inboxes of this one. Each part is answered by itself.
struct append_inbox {
  static constexpr bool can_wait = false;
  std::vector<inbox_append> parts;
  template <class F>
  auto fields(F&& f) {
    return f(parts);
  }
};

/// A device has everything up to `upto`. Rows that all of the user's devices have are dropped. The cursor
/// stops before `upto` if one command may not pass that many rows; the outcome says where, and the rest needs
/// another command.
struct advance_cursor {
  static constexpr bool can_wait = true;
  static constexpr bool frees_room = true;
  user_id user{};
  device_id device{};
  inbox_pos upto{};
  template <class F>
  auto fields(F&& f) {
    return f(user, device, upto);
  }
};

// --- accounts ----------------------------------------------------------------------------------------------

/// Who asks for a code: a short hash of the number and the network that the request comes from. It is short on purpose:
/// it has to tell apart those who ask for one number, and must not tell anybody who reads a disk where they are.
enum class asker : std::uint16_t { unknown = 0 };

/// A registration code is out for a phone number. Applied at the shard of the phone's hash. All times of codes
/// are those of that shard's leader.
struct issue_code {
  static constexpr bool can_wait = false;
  std::string phone;
  body_hash code_hash{}; ///< SHA-256 of ticket, phone and code
  unix_ms at{}, expires{};
  body_hash ticket{}; ///< SHA-256 of the ticket, which only the asker has
  asker by{};
  template <class F>
  auto fields(F&& f) {
    return f(phone, code_hash, at, expires, ticket, by);
  }
};

/// A code was typed in. Answers whose number it is; a new number becomes the candidate's.
struct redeem_code {
  static constexpr bool can_wait = false;
  std::string phone;
  body_hash code_hash{};
  user_id candidate{}; ///< the user's id if the phone is new; random
  unix_ms at{};
  body_hash key_hash{}; ///< SHA-256 of the device's public key: a code serves one key
  body_hash ticket{};   ///< SHA-256 of the ticket
  template <class F>
  auto fields(F&& f) {
    return f(phone, code_hash, candidate, at, key_hash, ticket);
  }
};

/// Adds a device to its user, or replaces its record. The first one creates the account. Applied at the
/// user's shard.
struct put_device {
  static constexpr bool can_wait = false;
  user_id user{};
  std::string phone;
  device_record device;
  template <class F>
  auto fields(F&& f) {
    return f(user, phone, device);
  }
};

/// What became of a code that was issued. If it is on its way, a repeat of its request sends no other one; if it
/// could not be sent, it is void, and hardly counts.
struct settle_code {
  static constexpr bool can_wait = false;
  std::string phone;
  body_hash ticket{};
  body_hash code_hash{}; ///< the ticket may have got another code meanwhile
  std::uint8_t sent = 0; ///< 1: it is on its way
  template <class F>
  auto fields(F&& f) {
    return f(phone, ticket, code_hash, sent);
  }
};

/// Tells more of a user's conversations that the user has several devices. `put_device` tells the first ones; one
/// command tells a bounded number, and the outcome says whether there are more.
struct ask_copies {
  static constexpr bool can_wait = true;
  user_id user{};
  template <class F>
  auto fields(F&& f) {
    return f(user);
  }
};

// --- the last resort ---------------------------------------------------------------------------------------

/// The shard goes on with one survivor and may have lost what it numbered last (rescue_numbers.hpp). It is never
/// proposed: the rescue puts it into the survivor's log.
struct count_rescue {
  static constexpr bool can_wait = false;
  std::uint16_t shards = 0; ///< of the cluster
  template <class F>
  auto fields(F&& f) {
    return f(shards);
  }
};

/// Shard `of` was rescued: what conversations of this shard had brought to inboxes there is owed again. One command
/// looks at a bounded number of conversations, and the outcome says whether there are more, and when to ask again.
struct renew_streams {
  static constexpr bool can_wait = true;
  shard_id of{};
  std::uint64_t rescues = 0;
  std::uint16_t shards = 0; ///< of the cluster
  template <class F>
  auto fields(F&& f) {
    return f(of, rescues, shards);
  }
};

// --- the meta shard ----------------------------------------------------------------------------------------

/// A node joined, has another address, or came back with another disk.
struct put_node {
  static constexpr bool can_wait = false;
  node_record node;
  template <class F>
  auto fields(F&& f) {
    return node.fields(f);
  }
};

using command = std::variant<open_direct, append_message, raise_watermarks, confirm_debts, append_inbox,
                             advance_cursor, issue_code, redeem_code, put_device, put_node, want_copies,
                             settle_code, ask_copies, count_rescue, renew_streams>;
template <>
inline constexpr bool follows_shard_format<command> = true;

/// Bookkeeping that no client waits for: it may be written a second later without any effect that a user
/// sees.
inline bool can_wait(const command& c) {
  return std::visit([](const auto& x) { return x.can_wait; }, c);
}
/// It erases more than it writes: a node whose disk is full takes it, or it would stay full for ever.
inline bool frees_room(const command& c) {
  return std::visit(
      []<class T>(const T&) {
        if constexpr (requires { T::frees_room; })
          return T::frees_room;
        else
          return false;
      },
      c);
}
/// Clients decide how many there are: the store keeps some room that these may not fill.
inline bool from_clients(const command& c) {
  return std::visit(
      []<class T>(const T&) {
        if constexpr (requires { T::from_clients; })
          return T::from_clients;
        else
          return false;
      },
      c);
}

} // namespace parley::core

#pragma once
// What is written in a shard's log. These structs are a stored format: see archive.hpp. What applying one
// answers is in model/outcomes.hpp.
#include "actors/core/model/debts.hpp"
#include "actors/core/model/outcomes.hpp"
#include "actors/core/model/records.hpp"

namespace parley::core {

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

} // namespace parley::core

#pragma once
// The bounds that deciding and reading obey. Applying a command must come out alike on every replica, so
// these are part of the format of the log: a cluster's nodes run with the same values, and a change is a
// migration.
#include "protocol/values/limits.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace parley::core {

/// Remembered ids per (conversation, sender device), and the rows in which they are kept: the number of a row
/// is one byte of its key.
inline constexpr std::uint64_t dedup_ids_max = 256;

struct limits {
  // messages
  std::size_t body_bytes_max = parley::body_bytes_max;

  // accounts
  std::size_t devices_max = parley::devices_max; ///< each costs a cursor in every row of the inbox's head
  std::size_t device_name_bytes_max = parley::device_name_bytes_max;
  std::size_t phone_bytes_max = 32; ///< E.164 needs 16; it is part of a key

  // codes of one number. Asking again with a ticket whose code is on its way costs nothing. The
  // spacing stops a double click, the other bounds stop somebody from having us ring a stranger's phone all day;
  // none gets in the way of a demo that registers each of its users once. `pace_after` (phone_claim.hpp) is
  // stricter once codes were guessed.
  std::chrono::milliseconds code_spacing{1000};
  /// A code of which nobody has said for so long whether it was sent counts as lost, and its ticket may get another
  /// one. Above what a gateway needs to issue a code, to hand it over and to say so.
  std::chrono::milliseconds code_sending_max{10'000};
  std::uint32_t codes_per_hour_max = 5;
  std::uint32_t codes_per_day_max = 10;
  std::uint32_t codes_asked_per_day_max = 30; ///< with those that could not be sent, which count here only
  std::uint32_t code_tries_max = 5;           ///< wrong ones, before the code is void
  std::uint32_t code_wrong_max = 30;          ///< wrong tries that a number remembers
  std::chrono::milliseconds code_wrong_forgotten_every = std::chrono::hours{12}; ///< one of them

  // Codes of one number that one network asks for (`asker`). They are within the bounds above, so that a stranger at one
  // address cannot use up what the number has, and its owner gets a code from elsewhere.
  std::uint32_t codes_per_hour_of_asker_max = 3;
  std::uint32_t codes_per_day_of_asker_max = 4;
  std::uint32_t codes_asked_per_day_of_asker_max = 12; ///< with those that could not be sent
  std::uint32_t code_tries_of_asker = 8; ///< wrong ones and those that are left, before a new code has few
  std::uint32_t guessers_max = 32;       ///< askers of a number whose wrong tries are remembered

  // codes of all numbers of a shard
  std::uint32_t shard_codes_burst_max = 2'000;
  std::chrono::milliseconds shard_code_every{1000};

  // pages
  std::uint32_t page_rows_max = page_items_max;
  std::size_t page_bytes_max = parley::page_bytes_max;

  // work done by one command. All replicas do it at the same time, and their other shards wait for it.
  std::size_t acknowledged_rows_max = 4096; ///< inbox rows read by one acknowledgement; the next one goes on
  std::size_t acknowledged_bytes_max = std::size_t{4} << 20; ///< of these rows; a larger one is read alone
  std::size_t dropped_rows_max = 4096; ///< inbox rows erased by one acknowledgement; the next one goes on
  std::size_t copies_asked_max = 256;  ///< conversations that one command tells of a second device
  std::size_t renewed_max = 64; ///< conversations that one command looks at after the rescue of another shard
  /// Such commands before the first that waits until the last one's debts are delivered. Whatever the number of shards
  /// is, and of those that were rescued, a shard owes some 3,000 debts at a time because of them.
  std::size_t renewed_ahead_max = 8;
  /// Numbers that a command that issues a code looks at, to erase those of which nothing matters any more. It adds one
  /// at most, so there are never more of these than an eighth of all numbers, and what was asked for lately.
  std::size_t numbers_looked_at_max = 8;
};

} // namespace parley::core

#pragma once
// One phone number: which user has it, and the codes that are out for it.
//
// Whoever asks for a code has a ticket, and the code is good for that ticket only. So a stranger who asks for a
// code of somebody else's number can neither use up the owner's tries nor replace the owner's code, and learns
// nothing about it: without the ticket every code counts as expired.
//
// The asker chooses the ticket, and repeats the request with it if the answer was lost. The repeat gets the first
// answer, once it is known that the code is on its way, and no second code is sent. Until then it has to wait; if
// nothing comes to be known (the gateway died, or never heard that it might send), the ticket gets another code.
//
// A number's codes and wrong tries are also counted together, because a stranger may ask for many tickets. The
// counts bound how often a phone rings, and how often a code is guessed, over days (`code_pace`, and
// actors/core/README.md, which states the figure for a year).
//
// They are counted for each asker first, and more strictly: a stranger at one address reaches bounds of its own long
// before it could use up the number's, or make the number slow for others.
#include "actors/core/commands.hpp"
#include "actors/core/limits.hpp"

namespace parley::core {

/// A code that is out, and who may use it.
struct code_ticket {
  static constexpr auto inside = nested::grows;
  body_hash ticket{};    ///< SHA-256 of the ticket, which only the asker has
  body_hash code_hash{}; ///< SHA-256 of ticket, phone and code
  unix_ms issued{};
  unix_ms expires{};
  std::uint32_t tries_left = 0;
  std::uint8_t redeemed = 0; ///< 1: the code was used
  std::uint8_t was_new = 0;  ///< that answer's `is_new`
  body_hash redeemed_by{};   ///< hash of the key that used it; that key gets the same answer again
  asker by{};                ///< to whom wrong tries count
  std::uint8_t sent = 0;     ///< 1: the code is on its way
  template <class F>
  auto fields(F&& f) {
    return f(ticket, code_hash, issued, expires, tries_left, redeemed, was_new, redeemed_by, by, sent);
  }
  bool operator==(const code_ticket&) const = default;
};

/// When a code was asked for.
struct code_issue {
  unix_ms at{};
  std::uint8_t refunded = 0; ///< 1: it could not be sent, so it counts for little
  template <class F>
  auto fields(F&& f) {
    return f(at, refunded);
  }
  bool operator==(const code_issue&) const = default;
};

/// An asker's wrong tries, less those forgotten until `since`.
struct guesser {
  static constexpr auto inside = nested::grows;
  asker who{};
  std::uint32_t wrong = 0;
  unix_ms since{};
  template <class F>
  auto fields(F&& f) {
    return f(who, wrong, since);
  }
  bool operator==(const guesser&) const = default;
};

/// Owns: everything the phone's shard knows about it. Deterministic; its time is the commands'.
/// Holds: a code is good for its ticket, for a few wrong tries and until it expires, whichever is first; and for
/// one key. Somebody who saw it, or reads it later, cannot register another device with it. `tickets` and
/// `issued` hold no more than limits::codes_asked_per_day_max.
struct phone_claim {
  std::uint8_t has_user = 0;
  user_id user{};
  std::vector<code_ticket> tickets; ///< not expired, oldest first
  std::vector<code_issue> issued;   ///< within the last day, oldest first
  std::uint32_t wrong = 0;          ///< wrong tries of all tickets, less those forgotten until `wrong_since`
  unix_ms wrong_since{};
  std::vector<asker> issued_by;  ///< of each in `issued`
  std::vector<guesser> guessers; ///< of `wrong`: those who are known, at most limits::guessers_max
  template <class F>
  auto fields(F&& f) {
    return f(has_user, user, tickets, issued, wrong, wrong_since, issued_by, guessers);
  }
  bool operator==(const phone_claim&) const = default;
};

/// What the wrong tries of a number cost those who ask for the next code.
struct code_pace {
  std::chrono::milliseconds wait; ///< between two codes
  std::uint32_t tries;            ///< of the next code
};
code_pace pace_after(std::uint32_t wrong, const limits& l);
/// The same for an asker, by its own wrong tries.
code_pace pace_of_asker(std::uint32_t wrong, const limits& l);

/// A leader whose clock was ahead may have dated things to next year, and nothing would be forgotten before that year.
/// They count from now on, at most a minute ahead. Returns whether there were any: then store `claim`.
bool bring_back(phone_claim& claim, unix_ms now);

/// Puts a new code beside those that are out, or says when to try again. The same ticket and code again are the
/// same command, applied twice. The same ticket with another code is a repeat by an asker whose answer was lost.
code_issued issue(phone_claim& claim, const issue_code& c, const limits& l);

/// A wrong guess costs a try even when the answer is `code_wrong`: store `claim` in every case.
redeemed redeem(phone_claim& claim, const redeem_code& c, const limits& l);

/// The code is on its way; or it could not be sent: then it is void, and does not count as one of the hour or the day.
void settle(phone_claim& claim, const settle_code& c);

/// Whether the number has no user, and nothing that is remembered of it matters any more: then it is as if nobody had
/// ever asked for it.
bool is_forgotten(phone_claim claim, unix_ms now, const limits& l);

} // namespace parley::core

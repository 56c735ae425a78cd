#pragma once
// One phone number: which user has it, and the code that is out for it.
#include "actors/core/commands.hpp"
#include "actors/core/limits.hpp"

namespace parley::core {

/// Owns: everything the phone's shard knows about it. Deterministic; its time is the commands'.
/// Holds: a code is good for `code_tries_max` wrong guesses and until it expires, whichever is first; and for
/// one key. Somebody who saw it, or reads it later, cannot register another device with it.
struct phone_claim {
  std::uint8_t has_user = 0;
  user_id user{};
  body_hash code_hash{};
  unix_ms expires{}; ///< none: no code is out
  std::uint32_t tries_left = 0;
  std::uint8_t redeemed = 0;   ///< 1: the code out was used
  std::uint8_t was_new = 0;    ///< that answer's `is_new`
  std::vector<unix_ms> issued; ///< within the last hour, oldest first
  body_hash redeemed_by{};     ///< hash of the key that used the code; that key gets the same answer again
  template <class F>
  auto fields(F&& f) {
    return f(has_user, user, code_hash, expires, tries_left, redeemed, was_new, issued, redeemed_by);
  }
  bool operator==(const phone_claim&) const = default;
};

/// Puts a new code in place of the old one, or says when to try again.
done issue(phone_claim& claim, const issue_code& c, const limits& l);

/// A wrong guess costs a try even when the answer is `code_wrong`: store `claim` in every case.
redeemed redeem(phone_claim& claim, const redeem_code& c);

} // namespace parley::core

#include "actors/core/phone_claim.hpp"

namespace parley::core {
namespace {

constexpr std::int64_t hour_ms = 3'600'000;

std::int64_t ms(unix_ms t) {
  return static_cast<std::int64_t>(t);
}

} // namespace

done issue(phone_claim& claim, const issue_code& c, const limits& l) {
  // The same code again is the retry of a request whose answer was lost. A code with wrong attempts is not
  // renewed by it.
  if (claim.expires != unix_ms::none && claim.code_hash == c.code_hash && ms(c.at) < ms(claim.expires))
    return {};
  // The clocks of gateways differ. A code from the future counts as issued but requires no pause, or a
  // gateway whose clock is an hour ahead would block the number for an hour.
  std::erase_if(claim.issued, [&](unix_ms t) { return ms(t) <= ms(c.at) - hour_ms; });
  if (!claim.issued.empty()) {
    const auto since = ms(c.at) - ms(claim.issued.back());
    if (since >= 0 && since < l.code_spacing.count())
      return {ec::rate_limited, static_cast<std::uint32_t>(l.code_spacing.count() - since)};
  }
  if (claim.issued.size() >= l.codes_per_hour_max) {
    const auto wait = std::min(ms(claim.issued.front()) + hour_ms - ms(c.at), 2 * hour_ms);
    return {ec::rate_limited, static_cast<std::uint32_t>(std::max<std::int64_t>(wait, 1))};
  }
  claim.issued.push_back(c.at);
  claim.code_hash = c.code_hash;
  claim.expires = c.expires;
  claim.tries_left = l.code_tries_max;
  claim.redeemed = 0;
  claim.redeemed_by = {};
  claim.was_new = 0;
  return {};
}

redeemed redeem(phone_claim& claim, const redeem_code& c) {
  if (claim.expires == unix_ms::none || ms(c.at) >= ms(claim.expires) || claim.tries_left == 0)
    return {ec::code_expired};
  if (claim.code_hash != c.code_hash) {
    --claim.tries_left;
    return {claim.tries_left == 0 ? ec::code_expired : ec::code_wrong};
  }
  if (claim.redeemed && claim.redeemed_by != c.key_hash)
    return {ec::code_expired};
  if (!claim.redeemed) {
    claim.redeemed = 1;
    claim.redeemed_by = c.key_hash;
    claim.was_new = !claim.has_user;
    if (!claim.has_user) {
      claim.has_user = 1;
      claim.user = c.candidate;
    }
  }
  return {ec::none, claim.user, claim.was_new};
}

} // namespace parley::core

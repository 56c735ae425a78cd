#include "actors/core/phone_claim.hpp"

#include <algorithm>
#include <array>

namespace parley::core {
namespace {

constexpr std::int64_t minute_ms = 60'000;
constexpr std::int64_t hour_ms = 60 * minute_ms;
constexpr std::int64_t day_ms = 24 * hour_ms;

std::int64_t ms(unix_ms t) {
  return static_cast<std::int64_t>(t);
}

code_ticket* find(phone_claim& claim, const body_hash& ticket) {
  const auto i = std::find_if(claim.tickets.begin(), claim.tickets.end(),
                              [&](const code_ticket& t) { return t.ticket == ticket; });
  return i == claim.tickets.end() ? nullptr : &*i;
}

/// Forgets what is old enough. A clock that went back forgets nothing.
void age(phone_claim& claim, unix_ms now, const limits& l) {
  std::erase_if(claim.tickets, [&](const code_ticket& t) { return ms(now) >= ms(t.expires); });
  std::erase_if(claim.issued, [&](const code_issue& i) { return ms(i.at) <= ms(now) - day_ms; });
  const auto every = l.code_wrong_forgotten_every.count();
  const auto forgotten = std::max<std::int64_t>(ms(now) - ms(claim.wrong_since), 0) / every;
  if (forgotten >= claim.wrong) {
    claim.wrong = 0;
    claim.wrong_since = {}; // the next wrong try starts the clock
  } else {
    claim.wrong -= static_cast<std::uint32_t>(forgotten);
    claim.wrong_since = unix_ms{ms(claim.wrong_since) + forgotten * every};
  }
}

void count_wrong(phone_claim& claim, unix_ms now, const limits& l) {
  age(claim, now, l);
  if (claim.wrong == 0)
    claim.wrong_since = now;
  claim.wrong = std::min(claim.wrong + 1, l.code_wrong_max);
}

/// How long until fewer than `max` of `times`, oldest first, lie within the last `within`; 0 if it is so now.
std::int64_t until_below(const std::vector<std::int64_t>& times, std::size_t max, std::int64_t within,
                         std::int64_t now) {
  const auto first = std::find_if(times.begin(), times.end(), [&](auto t) { return t > now - within; });
  const auto n = static_cast<std::size_t>(times.end() - first);
  if (n < max)
    return 0;
  // A time that lies ahead is one of a leader whose clock is wrong: it counts, but delays nobody for longer.
  return std::clamp<std::int64_t>(first[static_cast<std::ptrdiff_t>(n - max)] + within - now, 1, within);
}

} // namespace

code_pace pace_after(std::uint32_t wrong, const limits& l) {
  struct step {
    std::uint32_t from;
    std::int64_t wait_ms;
    std::uint32_t tries;
  };
  // Ten wrong tries are two people who mistype. From there on it is somebody who guesses. The last step is held
  // for as long as the guessing goes on; an owner who asks meanwhile gets a code within eight hours, and still
  // may mistype it once.
  static constexpr auto steps = std::to_array<step>({
      {20, 8 * hour_ms, 2},
      {18, 4 * hour_ms, 2},
      {15, hour_ms, 3},
      {10, 15 * minute_ms, 5},
  });
  for (const auto& s : steps)
    if (wrong >= s.from)
      return {std::chrono::milliseconds{s.wait_ms}, std::min(s.tries, l.code_tries_max)};
  return {l.code_spacing, l.code_tries_max};
}

done issue(phone_claim& claim, const issue_code& c, const limits& l) {
  age(claim, c.at, l);
  if (const auto* known = find(claim, c.ticket))
    return {known->code_hash == c.code_hash ? ec::none : ec::conflict};

  const auto now = ms(c.at);
  std::vector<std::int64_t> sent, asked;
  for (const auto& i : claim.issued) {
    asked.push_back(ms(i.at));
    if (!i.refunded)
      sent.push_back(ms(i.at));
  }
  // A code from the future requires no pause, or a leader whose clock is ahead would block the number.
  const auto pause = [&](const std::vector<std::int64_t>& times, std::int64_t spacing) -> std::int64_t {
    const auto since = times.empty() ? spacing : now - times.back();
    return since < 0 ? 0 : std::max<std::int64_t>(spacing - since, 0);
  };
  const auto pace = pace_after(claim.wrong, l);
  const auto wait = std::max({
      pause(asked, l.code_spacing.count()),
      pause(sent, pace.wait.count()),
      until_below(sent, l.codes_per_hour_max, hour_ms, now),
      until_below(sent, l.codes_per_day_max, day_ms, now),
      until_below(asked, l.codes_asked_per_day_max, day_ms, now),
  });
  if (wait > 0)
    return {ec::rate_limited, static_cast<std::uint32_t>(wait)};
  claim.issued.push_back({c.at});
  claim.tickets.push_back({c.ticket, c.code_hash, c.at, c.expires, pace.tries});
  return {};
}

redeemed redeem(phone_claim& claim, const redeem_code& c, const limits& l) {
  auto* t = find(claim, c.ticket);
  if (!t || ms(c.at) >= ms(t->expires) || t->tries_left == 0)
    return {ec::code_expired};
  if (t->redeemed && (t->code_hash != c.code_hash || t->redeemed_by != c.key_hash))
    return {ec::code_expired};
  if (t->code_hash != c.code_hash) {
    const auto left = --t->tries_left;
    count_wrong(claim, c.at, l);
    return {left == 0 ? ec::code_expired : ec::code_wrong};
  }
  if (!t->redeemed) {
    t->redeemed = 1;
    t->redeemed_by = c.key_hash;
    t->was_new = !claim.has_user;
    if (!claim.has_user) {
      claim.has_user = 1;
      claim.user = c.candidate;
    }
  }
  return {ec::none, claim.user, t->was_new};
}

void refund(phone_claim& claim, const refund_code& c) {
  const auto* t = find(claim, c.ticket);
  if (!t || t->redeemed)
    return;
  for (auto& i : claim.issued)
    if (i.at == t->issued)
      i.refunded = 1;
  std::erase_if(claim.tickets, [&](const code_ticket& x) { return x.ticket == c.ticket; });
}

} // namespace parley::core

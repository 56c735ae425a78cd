#include "actors/core/phone_claim.hpp"

#include "actors/core/trusted_time.hpp"
#include "protocol/values/planted_bugs.hpp"

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

/// One wrong try in every `code_wrong_forgotten_every` is forgotten.
void forget_wrong(std::uint32_t& wrong, unix_ms& since, unix_ms now, const limits& l) {
  const auto every = l.code_wrong_forgotten_every.count();
  const auto forgotten = std::max<std::int64_t>(ms(now) - ms(since), 0) / every;
  if (forgotten >= wrong) {
    wrong = 0;
    since = {}; // the next wrong try starts the clock
  } else {
    wrong -= static_cast<std::uint32_t>(forgotten);
    since = unix_ms{ms(since) + forgotten * every};
  }
}

void add_wrong(std::uint32_t& wrong, unix_ms& since, unix_ms now, const limits& l) {
  if (wrong == 0)
    since = now;
  wrong = std::min(wrong + 1, l.code_wrong_max);
}

/// Forgets what is old enough. A clock that went back forgets nothing at once.
void age(phone_claim& claim, unix_ms now, const limits& l) {
  std::erase_if(claim.tickets, [&](const code_ticket& t) { return ms(now) >= ms(t.expires); });
  claim.issued_by.resize(claim.issued.size()); // a row that was written before askers were known has none
  std::size_t kept = 0;
  for (std::size_t i = 0; i < claim.issued.size(); ++i) {
    if (ms(claim.issued[i].at) <= ms(now) - day_ms)
      continue;
    claim.issued[kept] = claim.issued[i];
    claim.issued_by[kept++] = claim.issued_by[i];
  }
  claim.issued.resize(kept);
  claim.issued_by.resize(kept);
  forget_wrong(claim.wrong, claim.wrong_since, now, l);
  for (auto& g : claim.guessers)
    forget_wrong(g.wrong, g.since, now, l);
  std::erase_if(claim.guessers, [](const guesser& g) { return g.wrong == 0; });
}

guesser* find(std::vector<guesser>& all, asker who) {
  const auto i = std::find_if(all.begin(), all.end(), [&](const guesser& g) { return g.who == who; });
  return i == all.end() ? nullptr : &*i;
}

void count_wrong(phone_claim& claim, asker by, unix_ms now, const limits& l) {
  age(claim, now, l);
  add_wrong(claim.wrong, claim.wrong_since, now, l);
  if (by == asker::unknown)
    return;
  auto* its = find(claim.guessers, by);
  if (!its) {
    // Who has guessed least gives way. The number's own count holds, whoever is forgotten.
    if (claim.guessers.size() >= l.guessers_max)
      claim.guessers.erase(
          std::min_element(claim.guessers.begin(), claim.guessers.end(),
                           [](const guesser& a, const guesser& b) { return a.wrong < b.wrong; }));
    its = &claim.guessers.emplace_back(guesser{by});
  }
  add_wrong(its->wrong, its->since, now, l);
}

/// How long until fewer than `max` of `times`, oldest first, lie within the last `within`; 0 if it is so now.
std::int64_t until_below(const std::vector<std::int64_t>& times, std::size_t max, std::int64_t within,
                         std::int64_t now) {
  const auto first = std::find_if(times.begin(), times.end(), [&](auto t) { return t > now - within; });
  const auto n = static_cast<std::size_t>(times.end() - first);
  if (n < max)
    return 0;
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

code_pace pace_of_asker(std::uint32_t wrong, const limits& l) {
  // Who has mistyped a code to its end waits a little. Ten are a person who tries them out: two tries a day are what
  // the number forgets in a day, so one asker alone does not make it slow for others.
  if (wrong >= 10)
    return {std::chrono::milliseconds{day_ms}, 2};
  if (wrong >= 5)
    return {std::chrono::milliseconds{5 * minute_ms}, 3};
  return {l.code_spacing, l.code_tries_max};
}

bool bring_back(phone_claim& claim, unix_ms now) {
  const auto latest = unix_ms{ms(now) + clock_difference_max_ms};
  bool any = false;
  const auto not_after = [&](unix_ms& t) {
    any |= t > latest;
    t = std::min(t, latest);
  };
  for (auto& t : claim.tickets) {
    const auto ahead = std::max<std::int64_t>(ms(t.issued) - ms(latest), 0);
    t.expires = unix_ms{ms(t.expires) - ahead};
    not_after(t.issued);
  }
  for (auto& i : claim.issued)
    not_after(i.at);
  not_after(claim.wrong_since);
  for (auto& g : claim.guessers)
    not_after(g.since);
  return any;
}

code_issued issue(phone_claim& claim, const issue_code& c, const limits& l) {
  age(claim, c.at, l);
  const auto now = ms(c.at);
  const auto good_for = [&](unix_ms expires) { return static_cast<std::uint32_t>(ms(expires) - now); };
  const auto* known = find(claim, c.ticket);
  if (known && known->tries_left == 0)
    return {ec::code_expired}; // a ticket gets no new tries
  if (known && (known->sent || known->redeemed))
    return {ec::none, 0, 1, good_for(known->expires)};
  if (known && known->code_hash == c.code_hash)
    return {ec::none, 0, 0, good_for(known->expires)};

  /// When codes were sent, and when they were asked for, with those that could not be sent.
  struct times {
    std::vector<std::int64_t> sent, asked;
  };
  times all, its;
  for (std::size_t i = 0; i < claim.issued.size(); ++i) {
    const auto& one = claim.issued[i];
    for (auto* t : {&all, &its}) {
      if (t == &its && (c.by == asker::unknown || claim.issued_by[i] != c.by))
        continue;
      t->asked.push_back(ms(one.at));
      if (!one.refunded)
        t->sent.push_back(ms(one.at));
    }
  }
  // A code from the future requires no pause, or a leader whose clock is ahead would block the number.
  const auto pause = [&](const std::vector<std::int64_t>& times, std::int64_t spacing) -> std::int64_t {
    const auto since = times.empty() ? spacing : now - times.back();
    return since < 0 ? 0 : std::max<std::int64_t>(spacing - since, 0);
  };
  const auto* guesses = find(claim.guessers, c.by);
  const auto its_wrong = guesses ? guesses->wrong : 0;
  const auto pace = pace_after(claim.wrong, l), its_pace = pace_of_asker(its_wrong, l);
  const auto wait = std::max({
      known ? pause({ms(known->issued)}, l.code_sending_max.count()) : 0,
      pause(all.asked, l.code_spacing.count()),
      pause(all.sent, pace.wait.count()),
      until_below(all.sent, l.codes_per_hour_max, hour_ms, now),
      until_below(all.sent, l.codes_per_day_max, day_ms, now),
      until_below(all.asked, l.codes_asked_per_day_max, day_ms, now),
      pause(its.sent, its_pace.wait.count()),
      until_below(its.sent, l.codes_per_hour_of_asker_max, hour_ms, now),
      until_below(its.sent, l.codes_per_day_of_asker_max, day_ms, now),
      until_below(its.asked, l.codes_asked_per_day_of_asker_max, day_ms, now),
  });
  if (wait > 0)
    return {ec::rate_limited, static_cast<std::uint32_t>(wait)};
  std::erase_if(claim.tickets,
                [&](const code_ticket& t) { return t.ticket == c.ticket; }); // its code is lost
  auto tries = std::min(pace.tries, its_pace.tries);
  if (c.by != asker::unknown) { // or it could collect codes first, and guess with all of them then
    auto spent = its_wrong;
    for (const auto& t : claim.tickets)
      if (t.by == c.by && !t.redeemed)
        spent += t.tries_left;
    const auto left = l.code_tries_of_asker - std::min(spent, l.code_tries_of_asker);
    tries = std::min(tries, std::max<std::uint32_t>(left, 2)); // one may be mistyped
  }
  claim.issued.push_back({c.at});
  claim.issued_by.push_back(c.by);
  claim.tickets.push_back({c.ticket, c.code_hash, c.at, c.expires, tries});
  claim.tickets.back().by = c.by;
  return {ec::none, 0, 0, good_for(c.expires)};
}

redeemed redeem(phone_claim& claim, const redeem_code& c, const limits& l) {
  auto* t = find(claim, c.ticket);
  if (!t || ms(c.at) >= ms(t->expires) || t->tries_left == 0)
    return {ec::code_expired};
  const bool is_its_key = t->redeemed_by == c.key_hash || planted("code-serves-any-key");
  if (t->redeemed && (t->code_hash != c.code_hash || !is_its_key))
    return {ec::code_expired};
  if (t->code_hash != c.code_hash) {
    const auto left = --t->tries_left;
    count_wrong(claim, t->by, c.at, l);
    return {left == 0 ? ec::code_expired : ec::code_wrong};
  }
  if (!t->redeemed) {
    t->redeemed = 1;
    t->redeemed_by = c.key_hash;
    t->was_new = !claim.has_user;
    if (!claim.has_user || planted("number-gets-new-user")) {
      claim.has_user = 1;
      claim.user = c.candidate;
    }
  }
  return {ec::none, claim.user, t->was_new};
}

void settle(phone_claim& claim, const settle_code& c) {
  auto* t = find(claim, c.ticket);
  const bool named = c.code_hash != body_hash{}; // a command from before codes were named means any
  if (!t || t->redeemed || (named && t->code_hash != c.code_hash))
    return;
  if (c.sent) {
    t->sent = 1;
    return;
  }
  for (auto& i : claim.issued)
    if (i.at == t->issued)
      i.refunded = 1;
  std::erase_if(claim.tickets, [&](const code_ticket& x) { return x.ticket == c.ticket; });
}

bool is_forgotten(phone_claim claim, unix_ms now, const limits& l) {
  if (claim.has_user)
    return false;
  age(claim, now, l);
  return claim.tickets.empty() && claim.issued.empty() && claim.wrong == 0 && claim.guessers.empty();
}

} // namespace parley::core

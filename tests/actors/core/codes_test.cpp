// Codes of a phone number and of a shard, over days of virtual time.
#include "actors/core/code_meter.hpp"
#include "actors/core/commands.hpp"
#include "actors/core/phone_claim.hpp"

#include <doctest/doctest.h>

using namespace parley;
using namespace parley::core;
using namespace std::chrono_literals;

namespace {

constexpr std::int64_t minute = 60'000, hour = 60 * minute, day = 24 * hour;

/// Ticket `n` and its code, which are numbered alike unless a test says otherwise.
issue_code ask(std::uint8_t n, std::int64_t at, std::uint8_t ticket = 0) {
  return {"+4917012345", body_hash{n}, unix_ms{at}, unix_ms{at + 10 * minute},
          body_hash{ticket != 0 ? ticket : n}};
}
redeem_code guess(std::uint8_t code, std::int64_t at, std::uint8_t ticket = 1, std::uint64_t candidate = 77,
                  std::uint8_t key = 1) {
  return {"+4917012345", body_hash{code}, user_id{candidate}, unix_ms{at}, body_hash{key}, body_hash{ticket}};
}
constexpr std::uint8_t wrong = 99;
/// That code `n` could not be sent, or is on its way.
settle_code unsent(std::uint8_t n, std::uint8_t ticket = 0) {
  return {"+4917012345", body_hash{ticket != 0 ? ticket : n}, body_hash{n}, 0};
}
settle_code sent(std::uint8_t n, std::uint8_t ticket = 0) {
  auto c = unsent(n, ticket);
  c.sent = 1;
  return c;
}

/// A ticket that no other one equals.
issue_code ask_anew(std::uint64_t n, std::int64_t at) {
  auto c = ask(1, at);
  for (std::size_t i = 0; i < sizeof n; ++i)
    c.ticket[i] = static_cast<std::uint8_t>(n >> (8 * i));
  c.ticket[31] = 1;
  return c;
}

} // namespace

// --- one code ----------------------------------------------------------------------------------------------

TEST_CASE("if no code was requested, no code is accepted") {
  phone_claim claim;
  CHECK(redeem(claim, guess(0, 1), {}).error == ec::code_expired);
  CHECK(claim == phone_claim{});
}

TEST_CASE("a code is refused once it has expired") {
  phone_claim claim;
  issue(claim, ask(1, 0), {});
  CHECK(redeem(claim, guess(1, 10 * minute), {}).error == ec::code_expired);
  CHECK(redeem(claim, guess(1, 10 * minute - 1), {}).error == ec::none);
}

TEST_CASE("after five wrong codes the right one is refused as well") {
  phone_claim claim;
  issue(claim, ask(1, 0), {});
  for (int i = 0; i < 4; ++i)
    CHECK(redeem(claim, guess(wrong, 1), {}).error == ec::code_wrong);
  CHECK(redeem(claim, guess(wrong, 1), {}).error == ec::code_expired);
  CHECK(redeem(claim, guess(1, 1), {}).error == ec::code_expired);
  CHECK(claim.has_user == 0);
}

TEST_CASE("requesting with the same ticket again gives no new tries, and does not count as another code") {
  phone_claim claim;
  for (int i = 0; i < 20; ++i)
    CHECK(issue(claim, ask(1, 5000 + i), {}).error == ec::none);
  CHECK(claim.issued.size() == 1);
  for (int i = 0; i < 5; ++i)
    redeem(claim, guess(wrong, 6000), {});
  for (const std::uint8_t code : {1, 2}) { // the same one, and another one
    CHECK(issue(claim, ask(code, 2 * minute, 1), {}).error == ec::code_expired);
    CHECK(redeem(claim, guess(code, 2 * minute), {}).error == ec::code_expired);
  }
}

TEST_CASE(
    "a repeat with the ticket of a code that is on its way gets the first answer, and counts as nothing") {
  phone_claim claim;
  issue(claim, ask(1, 0), {});
  settle(claim, sent(1));
  const auto before = claim;
  for (int i = 1; i <= 20; ++i) {
    auto c = ask(2, i, 1);                       // each node draws a code before it asks
    c.by = asker{static_cast<std::uint16_t>(i)}; // and the asker may have another network now
    const auto again = issue(claim, c, {});
    CHECK(again.error == ec::none);
    CHECK(again.sent == 1);
    CHECK(again.good_for_ms == 10 * minute - i);
  }
  CHECK(claim == before);
  CHECK(redeem(claim, guess(2, minute), {}).error == ec::code_wrong);
  CHECK(redeem(claim, guess(1, minute), {}).error == ec::none);
  CHECK(issue(claim, ask(2, minute, 1), {}).sent == 1); // also once it was used
  const auto anew = issue(claim, ask(2, 10 * minute, 1), {});
  CHECK(anew.error == ec::none);
  CHECK(anew.sent == 0); // its life is over, so it is as any new one
}

TEST_CASE(
    "while nobody knows whether a code was sent a repeat waits, and then its ticket gets another code") {
  const limits l;
  const auto lost = l.code_sending_max.count();
  phone_claim claim;
  CHECK(issue(claim, ask(1, 0), l).sent == 0);
  const auto soon = issue(claim, ask(2, 1'500, 1), l);
  CHECK(soon.error == ec::rate_limited);
  CHECK(soon.retry_after_ms == lost - 1'500);
  CHECK(redeem(claim, guess(wrong, 1'600), l).error == ec::code_wrong); // the first code is as it was

  const auto later = issue(claim, ask(2, lost, 1), l);
  CHECK(later.error == ec::none);
  CHECK(later.sent == 0);
  CHECK(later.good_for_ms == 10 * minute);
  CHECK(claim.tickets.size() == 1);
  CHECK(claim.issued.size() == 2); // the first one may have been sent
  settle(claim, sent(1));          // and says so late
  CHECK(issue(claim, ask(3, 2 * lost - 1, 1), l).error == ec::rate_limited);
  settle(claim, unsent(1)); // or that it was not
  CHECK(redeem(claim, guess(2, 2 * lost), l).error == ec::none);
}

TEST_CASE("a report from before codes were named is about the code that its ticket has") {
  const auto old =
      decode_whole<command>(std::string{"\x0b\x01\x2f\x0b\0\0\0+4917012345\x01", 19} + std::string(31, '\0'));
  REQUIRE(old.it);
  phone_claim claim;
  issue(claim, ask(1, 0), {});
  settle(claim, std::get<settle_code>(*old.it));
  CHECK(claim.tickets.empty());
  REQUIRE(claim.issued.size() == 1);
  CHECK(claim.issued[0].refunded == 1);
}

TEST_CASE("a ticket whose codes are always lost gets no more of them than the number has") {
  const limits l;
  phone_claim claim;
  for (std::uint8_t n = 1; n <= 5; ++n)
    CHECK(issue(claim, ask(n, n * minute, 1), l).error == ec::none);
  const auto sixth = issue(claim, ask(6, 6 * minute, 1), l);
  CHECK(sixth.error == ec::rate_limited);
  CHECK(sixth.retry_after_ms == 55 * minute);
  CHECK(redeem(claim, guess(5, 6 * minute), l).error == ec::none); // the last one is still good
}

TEST_CASE("a ticket whose code could not be sent gets another one at once") {
  phone_claim claim;
  issue(claim, ask(1, 0), {});
  settle(claim, unsent(1));
  const auto again = issue(claim, ask(2, 1'000, 1), {});
  CHECK(again.error == ec::none);
  CHECK(again.sent == 0);
  CHECK(redeem(claim, guess(2, 1'001), {}).error == ec::none);
}

TEST_CASE("a code that one key has used is expired for every other key, and the same again for that one") {
  phone_claim claim;
  issue(claim, ask(1, 0), {});
  CHECK(redeem(claim, guess(1, 1), {}).error == ec::none);
  const auto used = claim;
  for (std::uint8_t key = 2; key < 10; ++key)
    CHECK(redeem(claim, guess(1, 2, 1, 78, key), {}).error == ec::code_expired);
  CHECK(redeem(claim, guess(wrong, 2), {}).error == ec::code_expired);
  CHECK(claim == used);
  const auto again = redeem(claim, guess(1, 3, 1, 79), {});
  CHECK(again.error == ec::none);
  CHECK(again.user == user_id{77});
  CHECK(again.is_new == 1);
  issue(claim, ask(3, 2 * minute), {}); // the next code serves the next key
  const auto later = redeem(claim, guess(3, 2 * minute, 3, 79, 2), {});
  CHECK(later.user == user_id{77});
  CHECK(later.is_new == 0);
  CHECK(redeem(claim, guess(3, 2 * minute, 3, 79, 1), {}).error == ec::code_expired);
}

// --- several tickets ---------------------------------------------------------------------------------------

TEST_CASE("a stranger's ticket takes no tries from the owner's, and no code works with another's ticket") {
  phone_claim claim;
  issue(claim, ask(1, 0), {});          // the owner's
  issue(claim, ask(2, 2 * minute), {}); // a stranger's
  for (int i = 0; i < 20; ++i) {
    CHECK(redeem(claim, guess(1, 2 * minute, 42), {}).error == ec::code_expired); // a ticket that is none
    redeem(claim, guess(1, 2 * minute, 2), {}); // the owner's code with the stranger's ticket
  }
  CHECK(claim.wrong == 5);
  CHECK(redeem(claim, guess(1, 2 * minute, 1), {}).error == ec::none);
}

TEST_CASE("a ticket that is none is answered alike, whether or not a code is out") {
  phone_claim nothing_out, out;
  issue(out, ask(1, 0), {});
  for (const std::uint8_t code : {1, 2})
    CHECK(redeem(out, guess(code, 1, 42), {}).error == redeem(nothing_out, guess(code, 1, 42), {}).error);
  CHECK(out.wrong == 0); // who has no ticket slows nobody down
}

TEST_CASE("a second request leaves the first code as it was") {
  phone_claim claim;
  issue(claim, ask(1, 0), {});
  issue(claim, ask(2, 2000), {});
  CHECK(redeem(claim, guess(1, 3000, 1), {}).error == ec::none);
  CHECK(redeem(claim, guess(2, 3000, 2), {}).error == ec::none);
}

TEST_CASE("what a number keeps is bounded, however often it is asked for") {
  limits l;
  phone_claim claim;
  for (std::uint64_t n = 0; n < 3 * day / minute; ++n) {
    auto c = ask_anew(n, static_cast<std::int64_t>(n) * minute);
    c.expires = unix_ms{static_cast<std::int64_t>(c.at) + day};
    issue(claim, c, l);
    if (n % 3 == 0)
      settle(claim, {c.phone, c.ticket, c.code_hash, 0});
    REQUIRE(claim.tickets.size() <= l.codes_per_day_max);
    REQUIRE(claim.issued.size() <= l.codes_asked_per_day_max);
  }
}

// --- how often ---------------------------------------------------------------------------------------------

TEST_CASE("a second code within a second is refused, with the time to wait") {
  phone_claim claim;
  CHECK(issue(claim, ask(1, 5000), {}).error == ec::none);
  const auto d = issue(claim, ask(2, 5400), {});
  CHECK(d.error == ec::rate_limited);
  CHECK(d.retry_after_ms == 600);
  CHECK(redeem(claim, guess(1, 5400), {}).error == ec::none); // the first code is as it was
}

TEST_CASE("a sixth code within an hour is refused until the first is an hour old") {
  phone_claim claim;
  for (std::uint8_t i = 1; i <= 5; ++i)
    CHECK(issue(claim, ask(i, i * minute), {}).error == ec::none);
  const auto d = issue(claim, ask(9, 11 * minute), {});
  CHECK(d.error == ec::rate_limited);
  CHECK(d.retry_after_ms == 50 * minute);
  CHECK(issue(claim, ask(9, 61 * minute), {}).error == ec::none);
}

TEST_CASE("an eleventh code within a day is refused until the first is a day old") {
  phone_claim claim;
  for (std::uint8_t i = 1; i <= 10; ++i)
    CHECK(issue(claim, ask(i, i * hour), {}).error == ec::none);
  const auto d = issue(claim, ask(11, 11 * hour), {});
  CHECK(d.error == ec::rate_limited);
  CHECK(d.retry_after_ms == 14 * hour);
  CHECK(issue(claim, ask(11, 25 * hour), {}).error == ec::none);
  CHECK(issue(claim, ask(12, 25 * hour + minute), {}).error == ec::rate_limited);
}

TEST_CASE("a code that could not be sent is void, and counts for neither the hour nor the day") {
  phone_claim claim;
  for (std::uint8_t i = 1; i <= 12; ++i) {
    CHECK(issue(claim, ask(i, i * minute), {}).error == ec::none);
    settle(claim, unsent(i));
    settle(claim, unsent(i)); // told twice
    CHECK(redeem(claim, guess(i, i * minute, i), {}).error == ec::code_expired);
  }
  for (std::uint8_t i = 21; i <= 25; ++i)
    CHECK(issue(claim, ask(i, i * minute), {}).error == ec::none);
  CHECK(issue(claim, ask(30, 30 * minute), {}).error == ec::rate_limited);
}

TEST_CASE("even codes that could not be sent are bounded, and a second apart") {
  limits l;
  phone_claim claim;
  std::uint8_t issued = 0;
  for (std::uint8_t i = 1; i <= 100; ++i)
    if (issue(claim, ask(i, i * minute), l).error == ec::none) {
      ++issued;
      settle(claim, unsent(i));
      CHECK(issue(claim, ask(200, i * minute + 10), l).error == ec::rate_limited);
    }
  CHECK(issued == l.codes_asked_per_day_max);
}

TEST_CASE("a code that was used is not taken back") {
  phone_claim claim;
  issue(claim, ask(1, 0), {});
  redeem(claim, guess(1, 1), {});
  const auto used = claim;
  settle(claim, unsent(1)); // the provider said no, and sent it all the same
  CHECK(claim == used);
}

TEST_CASE("a leader whose clock was an hour ahead does not block a phone number") {
  phone_claim claim;
  CHECK(issue(claim, ask(1, 60 * minute), {}).error == ec::none);
  CHECK(issue(claim, ask(2, 1), {}).error == ec::none);
}

TEST_CASE("what a leader has dated to next year counts from now on, and is forgotten in time") {
  phone_claim claim;
  const auto year = 365 * day;
  for (std::uint64_t i = 0; i < 5; ++i)
    CHECK(issue(claim, ask_anew(i, year + static_cast<std::int64_t>(i) * 2 * minute), {}).error == ec::none);
  for (int i = 0; i < 10; ++i)
    redeem(claim, guess(wrong, year + 9 * minute), {});
  const std::int64_t now = 2 * hour;
  CHECK(bring_back(claim, unix_ms{now}));
  CHECK(issue(claim, ask_anew(7, now), {}).error == ec::rate_limited);
  CHECK_FALSE(bring_back(claim, unix_ms{now + hour + 2 * minute}));
  CHECK(issue(claim, ask_anew(8, now + hour + 2 * minute), {}).error == ec::none);
  for (const auto& t : claim.tickets)
    CHECK(t.expires < unix_ms{now + 2 * hour});
}

TEST_CASE("a shard whose leader was a year ahead issues codes at its pace again") {
  limits l;
  code_meter meter;
  CHECK(take_code(meter, unix_ms{0}, l) == 0);
  CHECK(take_code(meter, unix_ms{365 * day}, l) == 0);
  for (std::uint32_t i = 1; i < l.shard_codes_burst_max; ++i)
    CHECK(take_code(meter, unix_ms{hour}, l) == 0);
  CHECK(take_code(meter, unix_ms{hour}, l) > 0);
  CHECK(take_code(meter, unix_ms{hour + 2 * minute}, l) == 0);
}

// --- guessing ----------------------------------------------------------------------------------------------

TEST_CASE("wrong codes of all tickets together make the next code later and give it fewer tries") {
  const limits l;
  auto last = pace_after(0, l);
  CHECK(last.wait == l.code_spacing);
  CHECK(last.tries == l.code_tries_max);
  for (std::uint32_t n = 1; n <= l.code_wrong_max; ++n) {
    const auto p = pace_after(n, l);
    CHECK(p.wait >= last.wait);
    CHECK(p.tries <= last.tries);
    last = p;
  }
  CHECK(last.wait == 8h);
  CHECK(last.tries == 2);

  phone_claim claim;
  for (std::uint8_t ticket = 1; ticket <= 4; ++ticket)
    REQUIRE(issue(claim, ask(ticket, ticket * minute), l).error == ec::none);
  for (std::uint8_t ticket = 1; ticket <= 4; ++ticket)
    for (int i = 0; i < 5; ++i)
      redeem(claim, guess(wrong, 5 * minute, ticket), l);
  CHECK(claim.wrong == 20);
  CHECK(issue(claim, ask(5, 6 * minute), l).retry_after_ms == 8 * hour - 2 * minute);
  REQUIRE(issue(claim, ask(5, 8 * hour + 4 * minute), l).error == ec::none);
  CHECK(claim.tickets.back().tries_left == 2);
}

TEST_CASE("two people who mistype their codes are not slowed down") {
  phone_claim claim;
  for (std::uint8_t ticket = 1; ticket <= 2; ++ticket) {
    REQUIRE(issue(claim, ask(ticket, ticket * minute), {}).error == ec::none);
    for (int i = 0; i < 4; ++i)
      redeem(claim, guess(wrong, ticket * minute, ticket), {});
    CHECK(redeem(claim, guess(ticket, ticket * minute, ticket), {}).error == ec::none);
  }
  CHECK(issue(claim, ask(3, 3 * minute), {}).error == ec::none);
}

TEST_CASE("whoever guesses all year has 2,300 tries of a million for one number") {
  const limits l;
  for (const std::int64_t code_life : {10 * minute, day}) {
    // The greediest of all: asks every minute, and either guesses at once, or keeps tickets for a while first.
    for (const std::int64_t hoards_for : {std::int64_t{0}, 5 * minute, 6 * hour}) {
      if (hoards_for >= code_life)
        continue;
      phone_claim claim;
      std::uint64_t tries = 0, next = 0;
      std::int64_t begun = 0;
      for (std::int64_t at = 0; at < 365 * day; at += minute) {
        auto c = ask_anew(++next, at);
        c.expires = unix_ms{at + code_life};
        if (issue(claim, c, l).error == ec::none && claim.tickets.size() == 1)
          begun = at;
        if (at - begun < hoards_for)
          continue;
        for (const auto tickets = claim.tickets; const auto& t : tickets) {
          auto r = guess(wrong, at);
          r.ticket = t.ticket;
          tries += t.tries_left;
          for (auto left = t.tries_left; left > 0; --left)
            redeem(claim, r, l);
        }
      }
      CAPTURE(code_life);
      CAPTURE(hoards_for);
      CAPTURE(tries);
      CHECK(tries > 365); // the test guesses at all
      CHECK(tries <= 2'300);
    }
  }
}

TEST_CASE("an owner gets a code within eight hours of the last one while somebody guesses") {
  const limits l;
  phone_claim claim;
  std::uint64_t next = 0;
  for (std::int64_t at = 0; at < 30 * day; at += 10 * minute) {
    const auto asked = ask_anew(++next, at);
    if (issue(claim, asked, l).error != ec::none)
      continue;
    const auto d = issue(claim, ask_anew(++next, at + 1), l);
    CHECK(d.error == ec::rate_limited);
    if (at > 2 * day)
      CHECK(d.retry_after_ms <= 8 * hour);
    for (int i = 0; i < 5; ++i) {
      auto r = guess(wrong, at);
      r.ticket = asked.ticket;
      redeem(claim, r, l);
    }
  }
}

TEST_CASE("a number forgets wrong tries within weeks") {
  const limits l;
  phone_claim claim;
  claim.wrong = l.code_wrong_max;
  claim.wrong_since = unix_ms{0};
  CHECK(issue(claim, ask(1, 16 * day), l).error == ec::none);
  CHECK(claim.wrong == 0);
  CHECK(claim.tickets[0].tries_left == l.code_tries_max);
}

// --- one asker of several ----------------------------------------------------------------------------------

TEST_CASE("whoever asks from one address all day leaves codes for the number's owner, in every hour and on "
          "every day") {
  phone_claim claim;
  const asker stranger{1}, owner{2};
  std::uint64_t next = 0;
  for (std::int64_t at = 0; at < 3 * day; at += minute) {
    auto c = ask_anew(++next, at);
    c.by = stranger;
    issue(claim, c, {});
    if (at % (8 * hour) == 30 * minute) {
      c = ask_anew(++next, at + 1000);
      c.by = owner;
      const auto got = issue(claim, c, {});
      CAPTURE(at);
      CAPTURE(got.retry_after_ms);
      CHECK(got.error == ec::none);
      CHECK(claim.tickets.back().tries_left == 5);
    }
  }
}

TEST_CASE("an asker's codes are bounded by the hour and by the day, and one that could not be sent gives its "
          "turn back") {
  phone_claim claim;
  const auto from = [](std::uint16_t who, std::uint8_t n, std::int64_t at) {
    auto c = ask(n, at);
    c.by = asker{who};
    return c;
  };
  for (std::uint8_t i = 1; i <= 3; ++i)
    CHECK(issue(claim, from(1, i, i * minute), {}).error == ec::none);
  const auto d = issue(claim, from(1, 4, 4 * minute), {});
  CHECK(d.error == ec::rate_limited);
  CHECK(d.retry_after_ms == 57 * minute);
  CHECK(issue(claim, from(1, 3, 4 * minute), {}).error == ec::none); // a retry is none
  CHECK(issue(claim, from(2, 5, 4 * minute), {}).error == ec::none);
  settle(claim, unsent(3));
  CHECK(issue(claim, from(1, 6, 5 * minute), {}).error == ec::none);
  CHECK(issue(claim, from(1, 7, 2 * hour), {}).error == ec::none);
  CHECK(issue(claim, from(1, 8, 4 * hour), {}).retry_after_ms == 20 * hour + minute);
}

TEST_CASE("who guesses from one address has few tries, however many codes it collects first, and slows "
          "nobody down") {
  const limits l;
  const asker stranger{1}, owner{2};
  for (const std::int64_t hoards_for : {std::int64_t{0}, 9 * minute, 2 * hour}) {
    phone_claim claim;
    std::uint64_t tries = 0, next = 0;
    std::int64_t begun = 0;
    for (std::int64_t at = 0; at < 365 * day; at += minute) {
      auto c = ask_anew(++next, at);
      c.by = stranger;
      c.expires = unix_ms{at + std::max<std::int64_t>(10 * minute, 2 * hoards_for)};
      if (issue(claim, c, l).error == ec::none && claim.tickets.size() == 1)
        begun = at;
      if (at - begun >= hoards_for) {
        for (const auto tickets = claim.tickets; const auto& t : tickets) {
          auto r = guess(wrong, at);
          r.ticket = t.ticket;
          tries += t.tries_left;
          for (auto left = t.tries_left; left > 0; --left)
            redeem(claim, r, l);
        }
      }
      if (at % (30 * minute) == 0) {
        auto copy = claim; // what the owner would be told now
        auto o = ask_anew(++next, at + 1000);
        o.by = owner;
        const auto told = issue(copy, o, l);
        CHECK(told.retry_after_ms <= 15 * minute);
      }
    }
    CAPTURE(hoards_for);
    CAPTURE(tries);
    CHECK(tries > 365); // the test guesses at all
    CHECK(tries <= 800);
    CHECK(claim.guessers.size() == 1);
  }
}

TEST_CASE("whoever guesses all year from any number of addresses has no more tries, and the number keeps a "
          "bounded list") {
  const limits l;
  phone_claim claim;
  std::uint64_t tries = 0, next = 0;
  for (std::int64_t at = 0; at < 365 * day; at += minute) {
    auto c = ask_anew(++next, at);
    c.by = asker{static_cast<std::uint16_t>(1 + next % 60'000)};
    if (issue(claim, c, l).error != ec::none)
      continue;
    auto r = guess(wrong, at);
    r.ticket = c.ticket;
    for (auto left = claim.tickets.back().tries_left; left > 0; --left, ++tries)
      redeem(claim, r, l);
    REQUIRE(claim.guessers.size() <= l.guessers_max);
    REQUIRE(claim.issued_by.size() == claim.issued.size());
  }
  CAPTURE(tries);
  CHECK(tries > 2'000);
  CHECK(tries <= 2'300);
}

TEST_CASE("of a number without a user nothing matters once its codes, its day and its wrong tries are over") {
  const limits l;
  phone_claim claim;
  CHECK(is_forgotten(claim, unix_ms{0}, l));
  auto c = ask(1, 0);
  c.by = asker{1};
  issue(claim, c, l);
  redeem(claim, guess(wrong, minute), l);
  CHECK_FALSE(is_forgotten(claim, unix_ms{11 * minute}, l)); // it counts for the day
  CHECK(is_forgotten(claim, unix_ms{day + minute}, l));
  for (int i = 0; i < 3; ++i)
    redeem(claim, guess(wrong, minute), l);
  CHECK_FALSE(is_forgotten(claim, unix_ms{day + minute}, l)); // of four wrong tries two are remembered
  CHECK(is_forgotten(claim, unix_ms{2 * day + minute}, l));
  claim.has_user = 1;
  CHECK_FALSE(is_forgotten(claim, unix_ms{365 * day}, l));
}

// --- all numbers of a shard --------------------------------------------------------------------------------

TEST_CASE("a shard issues a burst of codes, then one at a time, whatever their numbers") {
  limits l;
  l.shard_codes_burst_max = 3;
  l.shard_code_every = 1000ms;
  code_meter m;
  const auto take = [&](std::int64_t at) { return take_code(m, unix_ms{at}, l); };
  for (int i = 0; i < 3; ++i)
    CHECK(take(hour) == 0);
  CHECK(take(hour + 400) == 600);
  CHECK(take(hour - minute) > 0); // a clock that went back earns nothing
  CHECK(take(hour + 1000) == 0);
  CHECK(take(hour + 1000) > 0);
  for (int i = 0; i < 3; ++i)
    CHECK(take(2 * hour) == 0);
  CHECK(take(2 * hour) > 0);
}

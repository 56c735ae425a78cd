#include "actors/core/phone_claim.hpp"
#include "actors/core/token_bucket.hpp"
#include "actors/core/trusted_time.hpp"
#include "actors/core/watermarks.hpp"

#include <doctest/doctest.h>

using namespace parley;
using namespace parley::core;
using namespace std::chrono_literals;

namespace {

constexpr std::int64_t minute = 60'000;

issue_code ask(std::uint8_t code, std::int64_t at) {
  return {"+4917012345", body_hash{code}, unix_ms{at}, unix_ms{at + 10 * minute}};
}
redeem_code guess(std::uint8_t code, std::int64_t at, std::uint64_t candidate = 77, std::uint8_t key = 1) {
  return {"+4917012345", body_hash{code}, user_id{candidate}, unix_ms{at}, body_hash{key}};
}

} // namespace

TEST_CASE("if no code was requested, no code is accepted") {
  phone_claim claim;
  CHECK(redeem(claim, guess(0, 1)).error == ec::code_expired);
}

TEST_CASE("a code is refused once it has expired") {
  phone_claim claim;
  issue(claim, ask(1, 0), {});
  CHECK(redeem(claim, guess(1, 10 * minute)).error == ec::code_expired);
  CHECK(redeem(claim, guess(1, 10 * minute - 1)).error == ec::none);
}

TEST_CASE("after five wrong codes the right one is refused as well") {
  phone_claim claim;
  issue(claim, ask(1, 0), {});
  for (int i = 0; i < 4; ++i)
    CHECK(redeem(claim, guess(2, 1)).error == ec::code_wrong);
  CHECK(redeem(claim, guess(2, 1)).error == ec::code_expired);
  CHECK(redeem(claim, guess(1, 1)).error == ec::code_expired);
  CHECK(claim.has_user == 0);
}

TEST_CASE("requesting the same code again does not reset the number of wrong attempts") {
  phone_claim claim;
  issue(claim, ask(1, 0), {});
  for (int i = 0; i < 5; ++i)
    redeem(claim, guess(2, 1));
  CHECK(issue(claim, ask(1, 2 * minute), {}).error == ec::none);
  CHECK(redeem(claim, guess(1, 2 * minute)).error == ec::code_expired);
}

TEST_CASE("a second code within a second is refused, with the time to wait") {
  phone_claim claim;
  CHECK(issue(claim, ask(1, 5000), {}).error == ec::none);
  const auto d = issue(claim, ask(2, 5400), {});
  CHECK(d.error == ec::rate_limited);
  CHECK(d.retry_after_ms == 600);
  CHECK(redeem(claim, guess(1, 5400)).error == ec::none); // the first code stands
}

TEST_CASE("a sixth code within an hour is refused until the first is an hour old") {
  phone_claim claim;
  for (std::uint8_t i = 0; i < 5; ++i)
    CHECK(issue(claim, ask(i, i * minute), {}).error == ec::none);
  const auto d = issue(claim, ask(9, 10 * minute), {});
  CHECK(d.error == ec::rate_limited);
  CHECK(d.retry_after_ms == 50 * minute);
  CHECK(issue(claim, ask(9, 60 * minute), {}).error == ec::none);
}

TEST_CASE("a retry of the same request does not count as another code") {
  phone_claim claim;
  for (int i = 0; i < 20; ++i)
    CHECK(issue(claim, ask(1, 5000 + i), {}).error == ec::none);
  CHECK(claim.issued.size() == 1);
}

TEST_CASE("a gateway whose clock is an hour ahead does not block a phone number") {
  phone_claim claim;
  CHECK(issue(claim, ask(1, 60 * minute), {}).error == ec::none);
  CHECK(issue(claim, ask(2, 1), {}).error == ec::none);
}

TEST_CASE("redeeming a code again returns the same user") {
  phone_claim claim;
  issue(claim, ask(1, 0), {});
  const auto first = redeem(claim, guess(1, 1, 77));
  const auto again = redeem(claim, guess(1, 2, 78));
  CHECK(first.user == user_id{77});
  CHECK(first.is_new == 1);
  CHECK(again.user == user_id{77});
  CHECK(again.is_new == 1);
  issue(claim, ask(3, 2 * minute), {});
  const auto later = redeem(claim, guess(3, 2 * minute, 79));
  CHECK(later.user == user_id{77});
  CHECK(later.is_new == 0);
}

TEST_CASE("a code that one key has used is expired for every other key, and the same again for that one") {
  phone_claim claim;
  issue(claim, ask(1, 0), {});
  CHECK(redeem(claim, guess(1, 1, 77, 1)).error == ec::none);
  const auto used = claim;
  for (std::uint8_t key = 2; key < 10; ++key)
    CHECK(redeem(claim, guess(1, 2, 78, key)).error == ec::code_expired);
  CHECK(claim == used);
  const auto again = redeem(claim, guess(1, 3, 79, 1));
  CHECK(again.error == ec::none);
  CHECK(again.user == user_id{77});
  CHECK(again.is_new == 1);
  issue(claim, ask(3, 2 * minute), {}); // the next code serves the next key
  CHECK(redeem(claim, guess(3, 2 * minute, 79, 2)).error == ec::none);
  CHECK(redeem(claim, guess(3, 2 * minute, 79, 1)).error == ec::code_expired);
}

TEST_CASE("watermarks never fall and never pass the end, and a read mark raises the delivered mark") {
  const progress has{seq_no{5}, seq_no{3}};
  CHECK(raise(has, {seq_no{4}, seq_no{2}}, seq_no{9}) == has);
  CHECK(raise(has, {seq_no{99}, {}}, seq_no{9}) == progress{seq_no{9}, seq_no{3}});
  CHECK(raise(has, {{}, seq_no{7}}, seq_no{9}) == progress{seq_no{7}, seq_no{7}});
  CHECK(raise(has, {{}, seq_no{99}}, seq_no{5}) == progress{seq_no{5}, seq_no{5}});
}

TEST_CASE("a token bucket is empty after its burst, and refills at its rate up to that burst") {
  const token_bucket::time_point t{std::chrono::hours{1}};
  token_bucket b{2, 100ms};
  CHECK(b.take(t));
  CHECK(b.take(t));
  CHECK_FALSE(b.take(t));
  CHECK(b.wait(t) == 100ms);
  CHECK(b.wait(t + 60ms) == 40ms);
  CHECK_FALSE(b.take(t + 99ms));
  CHECK(b.take(t + 100ms));
  CHECK(b.wait(t + 10s) == 0ms);
  CHECK(b.take(t + 10s));
  CHECK(b.take(t + 10s));
  CHECK_FALSE(b.take(t + 10s));
}

TEST_CASE("a leader takes a gateway's time of day as it is, within a minute of its own") {
  constexpr unix_ms own{1'800'000'000'000};
  const auto at = [&](std::int64_t difference) {
    return unix_ms{static_cast<std::int64_t>(own) + difference};
  };
  CHECK(trusted(at(0), own) == own);
  CHECK(trusted(at(59'000), own) == at(59'000));
  CHECK(trusted(at(-59'000), own) == at(-59'000));
  constexpr std::int64_t year = 365LL * 24 * 60 * minute;
  CHECK(trusted(at(year), own) == at(minute));
  CHECK(trusted(at(-year), own) == at(-minute));
  CHECK(trusted(unix_ms{INT64_MAX}, own) == at(minute));
  CHECK(trusted(unix_ms{INT64_MIN}, own) == at(-minute));
}

#include "tests/protocol/mls/mls_fixture.hpp"

#include <doctest/doctest.h>

using namespace parley::mls;
using namespace parley::mls::test;

namespace {

struct account_fixture {
  random_source random = seeded_random(7);
  signature_key_pair account = make_signature_key(random), device = make_signature_key(random);
  public_key account_key = public_key_of(account.public_key), device_key = public_key_of(device.public_key);
  account_statement statement = make_account_statement(account, device_key, "a phone", now + day);

  rule ask(const account_policy& policy, const credential& c, credential_event event = credential_event::add,
           std::uint64_t at = now) const {
    return broken(policy.accept({c, device_key, event, at}));
  }
};

} // namespace

TEST_CASE_FIXTURE(account_fixture, "5.3.1: a device of an account that is not expected is refused") {
  const auto c = to_credential(statement);
  CHECK(ask(account_policy{std::vector<public_key>{}}, c) == rule::credential_unexpected_account);
  CHECK(ask(account_policy{account_policy::expected_accounts{}}, c) == rule::credential_unexpected_account);
  CHECK(ask(account_policy{{device_key}}, c) == rule::credential_unexpected_account);
}

TEST_CASE_FIXTURE(account_fixture, "5.3.1: a statement about another signature key is refused") {
  const auto other = public_key_of(make_signature_key(random).public_key);
  const auto c = to_credential(make_account_statement(account, other, "a phone", now + day));
  CHECK(ask(account_policy{{account_key}}, c) == rule::credential_refused);
}

TEST_CASE_FIXTURE(account_fixture,
                  "5.3.1: a statement that the account did not sign as it stands is refused") {
  const account_policy policy{{account_key}};
  auto changed = statement;
  SUBCASE("another name") {
    changed.device_name = "a bone";
  }
  SUBCASE("a later expiry") {
    changed.not_after += 1;
  }
  SUBCASE("another signature") {
    changed.signature[10] ^= 1;
  }
  SUBCASE("signed by the device") {
    changed = make_account_statement(device, device_key, "a phone", now + day);
    changed.account_key = account_key;
  }
  CHECK(ask(policy, to_credential(changed)) == rule::credential_refused);
}

TEST_CASE_FIXTURE(
    account_fixture,
    "5.3.2: an expired statement is refused, except in the tree of a joiner that tolerates it") {
  const auto c = to_credential(statement);
  const auto late = now + day + 1;
  const account_policy strict{{account_key}};
  const account_policy lenient{{account_key}, account_policy::expired_members::tolerated};
  CHECK(ask(strict, c, credential_event::add, late - 1) == rule::none);
  for (const auto event : {credential_event::key_package, credential_event::add, credential_event::update,
                           credential_event::commit}) {
    CHECK(ask(strict, c, event, late) == rule::credential_expired);
    CHECK(ask(lenient, c, event, late) == rule::credential_expired);
  }
  CHECK(ask(strict, c, credential_event::join, late) == rule::credential_expired);
  CHECK(ask(lenient, c, credential_event::join, late) == rule::none);
}

TEST_CASE_FIXTURE(account_fixture, "5.3: an X.509 credential is refused") {
  credential c;
  c.type = credential_type::x509;
  c.certificates = {statement.signature};
  CHECK(ask(account_policy{{account_key}}, c) == rule::credential_unknown_type);
}

TEST_CASE_FIXTURE(account_fixture, "a basic credential that is no statement is malformed") {
  const account_policy policy{{account_key}};
  auto c = to_credential(statement);
  SUBCASE("cut off") {
    c.identity.pop_back();
  }
  SUBCASE("with something behind it") {
    c.identity.push_back(0);
  }
  SUBCASE("of another version") {
    c.identity[0] = 2;
  }
  SUBCASE("empty") {
    c.identity.clear();
  }
  SUBCASE("with too long a name") {
    auto long_named = statement;
    long_named.device_name.assign(device_name_bytes_max + 1, 'x');
    c = to_credential(long_named);
  }
  CHECK(ask(policy, c) == rule::malformed);
}

TEST_CASE_FIXTURE(account_fixture, "5.3.1: a credential of another account is no successor") {
  const account_policy policy{{account_key}};
  const auto other = make_signature_key(random);
  const auto theirs = to_credential(make_account_statement(other, device_key, "a phone", now + day));
  const auto renamed = to_credential(make_account_statement(account, account_key, "a tablet", now + 2 * day));
  CHECK(broken(policy.accept_successor(to_credential(statement), theirs)) ==
        rule::credential_not_a_successor);
  CHECK(broken(policy.accept_successor(credential{}, to_credential(statement))) ==
        rule::credential_not_a_successor);
  CHECK(broken(policy.accept_successor(to_credential(statement), renamed)) == rule::none);
}

TEST_CASE("5.3.1: the policy is asked about what is new in a leaf, and about nothing else") {
  const auto random = seeded_random(8);
  const auto before = make_device(random).package.leaf_node;
  auto after = make_device(random).package.leaf_node;
  counting_policy policy;
  after.credential = before.credential;
  after.signature_key = before.signature_key;
  CHECK(check_replacement(policy, before, after, credential_event::commit, now));
  CHECK(policy.asked == 0);
  after.credential.identity.push_back('!');
  CHECK(check_replacement(policy, before, after, credential_event::commit, now));
  CHECK(policy.asked == 1);
  policy.answer = rule::credential_refused;
  CHECK(broken(check_replacement(policy, before, after, credential_event::commit, now)) ==
        rule::credential_refused);
}

TEST_CASE_FIXTURE(account_fixture,
                  "a statement is read back from its credential, and its account is accepted") {
  const auto c = to_credential(statement);
  CHECK(*account_statement_of(c) == statement);
  CHECK(ask(account_policy{{device_key, account_key}}, c) == rule::none);
  CHECK(ask(account_policy{[this](const public_key& k) { return k == account_key; }}, c) == rule::none);
}

TEST_CASE_FIXTURE(account_fixture, "a safety number has 60 digits, and is the same from both sides") {
  const auto n = safety_number(account_key, device_key);
  CHECK(n.size() == 60);
  CHECK(std::ranges::all_of(n, [](char c) { return c >= '0' && c <= '9'; }));
  CHECK(n == safety_number(device_key, account_key));
  auto other = device_key;
  other[31] ^= 1;
  CHECK(n != safety_number(account_key, other));
  // Half of the digits depend on one key alone; the other half has changed.
  const auto m = safety_number(account_key, other);
  const auto shares = [&](std::string_view half) { return m.substr(0, 30) == half || m.substr(30) == half; };
  CHECK(shares(n.substr(0, 30)) != shares(n.substr(30)));
}

// Computed by another implementation of the algorithm in credential.hpp.
TEST_CASE("a safety number never changes from one version to the next") {
  public_key zeros{}, ones{};
  ones.fill(1);
  CHECK(safety_number(zeros, ones) == "365029699587005136875238106243464473355808046332036710683969");
}

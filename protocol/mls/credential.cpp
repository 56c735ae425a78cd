#include "protocol/mls/credential.hpp"

#include <algorithm>
#include <cassert>

namespace parley::mls {

namespace {

constexpr std::uint8_t statement_version = 1;
constexpr std::string_view statement_label = "ParleyDevice";
constexpr std::string_view safety_label = "Parley safety number 1";
constexpr int safety_rounds = 5200;
constexpr std::size_t safety_groups = 6, safety_group_bytes = 5;

void put_content(encoder& e, const account_statement& v) {
  e.put(statement_version).raw(v.account_key).raw(v.device_key);
  e.opaque(view_of(v.device_name)).put(v.not_after);
}

bytes to_be_signed(const account_statement& v) {
  encoder e;
  put_content(e, v);
  return std::move(e).out();
}

public_key raw_key(decoder& d) {
  const auto v = d.raw(public_key{}.size());
  public_key k{};
  std::ranges::copy(v, k.begin());
  return k;
}

} // namespace

void encode(encoder& e, const account_statement& v) {
  put_content(e, v);
  e.raw(v.signature);
}

void decode(decoder& d, account_statement& v) {
  if (d.get<std::uint8_t>() != statement_version)
    d.fail();
  v.account_key = raw_key(d);
  v.device_key = raw_key(d);
  const auto name = d.opaque_view();
  if (name.size() > device_name_bytes_max)
    d.fail();
  v.device_name.assign(name.begin(), name.end());
  v.not_after = d.get<std::uint64_t>();
  v.signature = to_bytes(d.raw(signature_bytes));
}

account_statement make_account_statement(const signature_key_pair& account, const public_key& device_key,
                                         std::string device_name, std::uint64_t not_after) {
  assert(device_name.size() <= device_name_bytes_max);
  account_statement v;
  v.account_key = public_key_of(account.public_key);
  v.device_key = device_key;
  v.device_name = std::move(device_name);
  v.not_after = not_after;
  v.signature = sign_with_label(account, statement_label, to_be_signed(v));
  return v;
}

credential to_credential(const account_statement& statement) {
  return {credential_type::basic, encoded(statement), {}};
}

result<account_statement> account_statement_of(const credential& c) {
  if (c.type != credential_type::basic)
    return refuse(rule::credential_unknown_type);
  return whole<account_statement>(c.identity);
}

account_policy::account_policy(std::vector<public_key> accounts, expired_members expired)
    : expired_{expired} {
  std::ranges::sort(accounts);
  is_expected_ = [accounts = std::move(accounts)](const public_key& k) {
    return std::ranges::binary_search(accounts, k);
  };
}

result<void> account_policy::accept(const presented_credential& c) const {
  const auto statement = account_statement_of(c.credential);
  if (!statement)
    return tl::unexpected(statement.error());
  if (!is_expected_ || !is_expected_(statement->account_key))
    return refuse(rule::credential_unexpected_account);
  if (statement->device_key != c.signature_key)
    return refuse(rule::credential_refused);
  const bool may_be_expired = c.event == credential_event::join && expired_ == expired_members::tolerated;
  if (c.now > statement->not_after && !may_be_expired)
    return refuse(rule::credential_expired);
  if (!verify_with_label(statement->account_key, statement_label, to_be_signed(*statement),
                         statement->signature))
    return refuse(rule::credential_refused);
  return {};
}

result<void> account_policy::accept_successor(const credential& old_one, const credential& new_one) const {
  const auto before = account_statement_of(old_one);
  const auto after = account_statement_of(new_one);
  if (!before || !after || before->account_key != after->account_key)
    return refuse(rule::credential_not_a_successor);
  return {};
}

result<void> check_replacement(const credential_policy& policy, const leaf_node& old_one,
                               const leaf_node& new_one, credential_event event, std::uint64_t now) {
  if (old_one.credential == new_one.credential && old_one.signature_key == new_one.signature_key)
    return {};
  if (auto ok = policy.accept({new_one.credential, new_one.signature_key, event, now}); !ok)
    return ok;
  return policy.accept_successor(old_one.credential, new_one.credential);
}

namespace {

std::string digits_of(const public_key& key) {
  encoder first;
  first.raw(view_of(safety_label)).raw(key);
  bytes h = hash(first.out());
  for (int i = 0; i < safety_rounds; ++i) {
    h.insert(h.end(), key.begin(), key.end());
    h = hash(h);
  }
  std::string digits;
  for (std::size_t group = 0; group < safety_groups; ++group) {
    std::uint64_t n = 0;
    for (std::size_t i = 0; i < safety_group_bytes; ++i)
      n = n << 8 | h[group * safety_group_bytes + i];
    auto text = std::to_string(n % 100'000);
    digits.append(5 - text.size(), '0').append(text);
  }
  return digits;
}

} // namespace

std::string safety_number(const public_key& one, const public_key& other) {
  auto a = digits_of(one), b = digits_of(other);
  return a < b ? a + b : b + a;
}

} // namespace parley::mls

#pragma once
// Who a member is (RFC 9420, sections 5.3.1-5.3.2). An account key signs each device's signature key; the
// device's basic credential carries that statement; a policy, which the caller gives, says whose it accepts.
#include "protocol/mls/leaf_node.hpp"

#include <functional>
#include <string>

namespace parley::mls {

/// Why a credential is looked at: the list of 5.3.1.
enum class credential_event {
  key_package, ///< about to be added by us
  add,         ///< being added by somebody
  update,
  commit,
  join,            ///< found in the tree of a group that we join
  external_sender, ///< listed by a group as somebody outside who may propose (12.1.8.1)
};

struct presented_credential {
  const mls::credential& credential;
  const public_key& signature_key; ///< of the same leaf
  credential_event event{};
  std::uint64_t now = 0; ///< seconds since the Unix epoch
};

/// The Authentication Service of the RFC. The engine has none of its own, and none that accepts everybody.
class credential_policy {
public:
  virtual ~credential_policy() = default;
  /// Does the credential belong to this signature key, and is its owner welcome?
  virtual result<void> accept(const presented_credential& c) const = 0;
  /// May a member go on under the new credential?
  virtual result<void> accept_successor(const credential& old_one, const credential& new_one) const = 0;
};

/// A leaf that takes the place of another: asks the policy for what is new, and for nothing when credential
/// and key stay, so that an ordinary commit costs no account signature.
result<void> check_replacement(const credential_policy& policy, const leaf_node& old_one,
                               const leaf_node& new_one, credential_event event, std::uint64_t now);

// --- accounts and devices ----------------------------------------------------------------------------------

inline constexpr std::size_t device_name_bytes_max = 64;

/// "This device is mine until then", signed by the account key.
struct account_statement {
  public_key account_key{};
  public_key device_key{};     ///< the signature key of the device's leaves
  std::string device_name;     ///< for people to read; at most device_name_bytes_max
  std::uint64_t not_after = 0; ///< seconds since the Unix epoch
  bytes signature;             ///< SignWithLabel(account key, "ParleyDevice", all of the above)
  friend bool operator==(const account_statement&, const account_statement&) = default;
};
void encode(encoder& e, const account_statement& v);
void decode(decoder& d, account_statement& v);

account_statement make_account_statement(const signature_key_pair& account, const public_key& device_key,
                                         std::string device_name, std::uint64_t not_after);
credential to_credential(const account_statement& statement);
/// What the credential says; nothing of it is verified.
result<account_statement> account_statement_of(const credential& c);

/// Accepts devices of the accounts that the caller expects in this group.
class account_policy : public credential_policy {
public:
  enum class expired_members { refused, tolerated };
  using expected_accounts = std::function<bool(const public_key& account_key)>;

  /// `expired` is about members whom a joiner finds in the tree: a group that keeps idle devices may have
  /// to tolerate them (5.3.2). Whoever is new to a group is never accepted with a statement that expired.
  explicit account_policy(expected_accounts is_expected, expired_members expired = expired_members::refused)
      : is_expected_{std::move(is_expected)}, expired_{expired} {}
  /// Exactly these accounts.
  explicit account_policy(std::vector<public_key> accounts,
                          expired_members expired = expired_members::refused);

  result<void> accept(const presented_credential& c) const override;
  /// A device may change its key and its name, not its account.
  result<void> accept_successor(const credential& old_one, const credential& new_one) const override;

private:
  expected_accounts is_expected_;
  expired_members expired_;
};

/// 60 digits that two people compare to know that nobody stands between them: the same whoever computes it.
///
/// For each key K: h = SHA-256("Parley safety number 1" || K), then 5,200 times h = SHA-256(h || K); of the
/// first 30 bytes, each five, big-endian, modulo 100,000, are five digits. The two halves stand in the order
/// of their text. The rounds make it dear to search for a key whose digits look like another's.
std::string safety_number(const public_key& one, const public_key& other);

} // namespace parley::mls

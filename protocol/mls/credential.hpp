#pragma once
// The identity of a member (RFC 9420, sections 5.3.1-5.3.2). An account key signs each device's
// signature key, and the device's basic credential carries that statement. A policy given by the caller
// decides which accounts are accepted.
#include "protocol/mls/leaf_node.hpp"

#include <functional>
#include <string>

namespace parley::mls {

/// The reason why a credential is checked: the list in section 5.3.1.
enum class credential_event {
  key_package, ///< about to be added by this client
  add,         ///< being added to the group
  update,
  commit,
  join,            ///< found in the tree of a group that this client joins
  external_sender, ///< listed by a group as a non-member that may send proposals (12.1.8.1)
};

struct presented_credential {
  const mls::credential& credential;
  const public_key& signature_key; ///< of the same leaf
  credential_event event{};
  std::uint64_t now = 0; ///< seconds since the Unix epoch
};

/// The Authentication Service of the RFC. The engine has no policy of its own, and
/// none that accepts everyone.
class credential_policy {
public:
  virtual ~credential_policy() = default;
  /// Checks that the credential belongs to this signature key and that its owner is accepted.
  virtual result<void> accept(const presented_credential& c) const = 0;
  /// Checks that a member may continue under the new credential.
  virtual result<void> accept_successor(const credential& old_one, const credential& new_one) const = 0;
};

/// Checks a leaf that replaces another. The policy is asked only about what is new. If credential and key
/// stay the same it is not asked at all, so an ordinary commit costs no verification of an account signature.
result<void> check_replacement(const credential_policy& policy, const leaf_node& old_one,
                               const leaf_node& new_one, credential_event event, std::uint64_t now);

// --- accounts and devices ----------------------------------------------------------------------------------

inline constexpr std::size_t device_name_bytes_max = 64;

/// "This device belongs to this account until `not_after`", signed by the account key.
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
/// Returns what the credential states; nothing of it has been verified.
result<account_statement> account_statement_of(const credential& c);

/// Accepts devices of the accounts that the caller expects in this group.
class account_policy : public credential_policy {
public:
  enum class expired_members { refused, tolerated };
  using expected_accounts = std::function<bool(const public_key& account_key)>;

  /// `expired` applies to members whom a joiner finds in the tree: a group that keeps idle devices
  /// may have to tolerate expired statements (5.3.2). A member who is new to a group is never
  /// accepted with an expired statement.
  explicit account_policy(expected_accounts is_expected, expired_members expired = expired_members::refused)
      : is_expected_{std::move(is_expected)}, expired_{expired} {}
  /// Accepts exactly these accounts.
  explicit account_policy(std::vector<public_key> accounts,
                          expired_members expired = expired_members::refused);

  result<void> accept(const presented_credential& c) const override;
  /// A device may change its key and its name, but not its account.
  result<void> accept_successor(const credential& old_one, const credential& new_one) const override;

private:
  expected_accounts is_expected_;
  expired_members expired_;
};

/// Sixty digits that two people compare to rule out a man in the middle. Both sides compute the same digits.
///
/// For each key K: h = SHA-256("Parley safety number 1" || K), then 5,200 times h = SHA-256(h || K). Of
/// the first 30 bytes, each group of five is read as a big-endian number and reduced modulo 100,000 to
/// five digits. The two halves are ordered by their text. The rounds make it expensive to search for a
/// key whose digits look like those of another key.
std::string safety_number(const public_key& one, const public_key& other);

} // namespace parley::mls

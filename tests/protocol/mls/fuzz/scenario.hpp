#pragma once
// Valid traffic to be mutated: seven people in one group over twelve epochs, recorded once and the same
// in every run. Each step keeps the message, the state of each member before it (as group_store writes
// it) and its outcome, so that any message can be changed and delivered again.
#include "tests/protocol/mls/fuzz/fuzz.hpp"

#include "protocol/mls/credential.hpp"
#include "protocol/mls/follower.hpp"

namespace parley::mls::fuzz {

inline constexpr std::uint64_t now = 1'800'000'000, day = 24 * 3600;
inline constexpr extension_type private_extension{0xf00d}; ///< listed as supported by all members

/// What a call needs from its caller. Each run has its own, so that an input always behaves in the same way.
struct outside {
  account_policy policy;
  random_source random;
  surroundings s;
  explicit outside(std::uint64_t seed);
  outside(const outside&) = delete;
};

struct person {
  signature_key_pair account;
  client_identity who;
};

struct step {
  enum class kind { application, proposal, commit };
  kind is{};
  std::size_t by = 0; ///< the index of a person
  bool by_member = false;
  bytes message;
  std::map<std::size_t, memory_parts> before; ///< the state of each member
  std::map<std::size_t, bytes> outcome;       ///< of each receiver: text, reference, or epoch authenticator
  bytes group_info;                           ///< of the epoch, with the tree
  std::vector<bytes> proposals;               ///< received in this epoch before this step
};

/// A Welcome and its contents.
struct invitation {
  std::size_t whom = 0;
  bytes welcome, tree, key_package, init_key, leaf_key;
  bytes secrets, info; ///< decrypted
  bytes authenticator; ///< of the epoch that it leads to
  own_key_package package() const;
  secret welcome_secret() const;
};

struct scenario {
  std::vector<person> people;
  signature_key_pair external;
  std::vector<step> steps;
  std::vector<invitation> invitations;

  /// Returns the signer with this public key, or null.
  const signature_key_pair* signer_of(bytes_view public_key) const;
  group load(const memory_parts& from, std::size_t who) const;
  key_package package_of(std::size_t who, const random_source& random) const;
};
const scenario& recorded();

} // namespace parley::mls::fuzz

#pragma once
// What a new member receives (RFC 9420, section 12.4.3): the GroupInfo, and the Welcome that carries it.
#include "protocol/mls/key_schedule.hpp"
#include "protocol/mls/psk.hpp"

#include <optional>
#include <span>
#include <vector>

namespace parley::mls {

struct group_info {
  group_context context;
  extension_list extensions;
  bytes confirmation_tag;
  leaf_index signer{};
  bytes signature;
  friend bool operator==(const group_info&, const group_info&) = default;
};
/// `key` belongs to the leaf `v.signer`.
void sign(group_info& v, const signature_key_pair& key);
result<void> verify_signature(const group_info& v, const public_key& signer);

struct group_secrets {
  secret joiner_secret;
  std::optional<secret> path_secret; ///< empty if the Commit had no path
  std::vector<pre_shared_key_id> psks;
};

struct encrypted_group_secrets {
  bytes new_member; ///< a KeyPackageRef
  hpke_ciphertext secrets;
  friend bool operator==(const encrypted_group_secrets&, const encrypted_group_secrets&) = default;
};

struct welcome {
  std::uint16_t cipher_suite = cipher_suite_1;
  std::vector<encrypted_group_secrets> secrets;
  bytes encrypted_group_info;
  friend bool operator==(const welcome&, const welcome&) = default;
};

/// A recipient of a Welcome.
struct invited {
  bytes key_package_ref;
  public_key init_key{};
  const secret* path_secret = nullptr; ///< of the lowest node above both the new member and the committer
};

/// The two halves of a Welcome. The first is the same for all who join; `welcome_secret` is
/// that of the epoch.
bytes seal_group_info(const group_info& v, const secret& welcome_secret);
result<group_info> open_group_info(bytes_view encrypted_group_info, const secret& welcome_secret);
result<encrypted_group_secrets> seal_group_secrets(const invited& whom, const secret& joiner_secret,
                                                   const std::vector<pre_shared_key_id>& psks,
                                                   bytes_view encrypted_group_info,
                                                   const random_source& random);
/// Finds the entry for our key package and opens it. Refuses a Welcome of another cipher suite, and
/// pre-shared keys that do not fit together.
result<group_secrets> open_group_secrets(const welcome& in, bytes_view key_package_ref,
                                         const hpke_key_pair& init_key);

/// Creates one Welcome for all new members.
result<welcome> make_welcome(const group_info& info, const secret& welcome_secret,
                             const secret& joiner_secret, const std::vector<pre_shared_key_id>& psks,
                             std::span<const invited> whom, const random_source& random);

void encode(encoder& e, const group_info& v);
void decode(decoder& d, group_info& v);
void encode(encoder& e, const group_secrets& v);
void decode(decoder& d, group_secrets& v);
void encode(encoder& e, const encrypted_group_secrets& v);
void decode(decoder& d, encrypted_group_secrets& v);
void encode(encoder& e, const welcome& v);
void decode(decoder& d, welcome& v);

} // namespace parley::mls

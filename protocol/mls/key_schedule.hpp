#pragma once
// The key schedule from one epoch to the next (RFC 9420, section 8): what is derived from the init
// secret, the commit secret, the pre-shared keys and the group context.
#include "protocol/mls/hpke.hpp"
#include "protocol/mls/leaf_node.hpp"

namespace parley::mls {

/// Section 8.1.
struct group_context {
  std::uint16_t version = mls10;
  std::uint16_t cipher_suite = cipher_suite_1;
  bytes group_id;
  std::uint64_t epoch = 0;
  bytes tree_hash;
  bytes confirmed_transcript_hash;
  extension_list extensions;
  friend bool operator==(const group_context&, const group_context&) = default;
};
void encode(encoder& e, const group_context& v);
void decode(decoder& d, group_context& v);

/// All secrets derived from an epoch secret; the epoch secret itself has been wiped. Table 4 of section
/// 8 gives the purpose of each member. The owner wipes those that are consumed (9.2): `encryption`
/// becomes a secret_tree, `init` leads to the next epoch.
struct epoch_secrets {
  secret sender_data;
  secret encryption;
  secret exporter;
  secret external;
  secret confirmation_key;
  secret membership_key;
  secret resumption_psk;
  secret epoch_authenticator;
  secret init;
};

/// 11: for the first epoch of a group, whose epoch secret is random.
epoch_secrets derive_from_epoch_secret(const secret& epoch_secret);

secret derive_joiner_secret(const secret& init_secret, const secret& commit_secret,
                            bytes_view encoded_context);
/// `psk_secret` is the result of psk.hpp: zeros if there are no pre-shared keys.
epoch_secrets derive_epoch(const secret& joiner_secret, const secret& psk_secret, bytes_view encoded_context);
secret derive_welcome_secret(const secret& joiner_secret, const secret& psk_secret);

/// Section 6.1.
bytes confirmation_tag(const secret& confirmation_key, bytes_view confirmed_transcript_hash);
result<void> check_confirmation_tag(const secret& confirmation_key, bytes_view confirmed_transcript_hash,
                                    bytes_view tag);

/// 8.5: `size` is at most 255 times the size of a hash.
result<secret> export_secret(const secret& exporter_secret, std::string_view label, bytes_view context,
                             std::size_t size);

/// 8: the key pair whose private key all members of the group hold.
hpke_key_pair external_key_pair(const secret& external_secret);

/// 8.3: what a client that joins by an external commit sends, and what it uses in place of an init secret.
struct external_init {
  bytes kem_output;
  secret init_secret;
};
result<external_init> make_external_init(bytes_view external_public_key, const random_source& random);
result<secret> open_external_init(const hpke_key_pair& external_key, bytes_view kem_output);

/// The secrets that must be stored to continue an epoch later: all that are not empty.
secret saved(const epoch_secrets& v);
result<epoch_secrets> restored_epoch_secrets(bytes_view in);
/// Whether all secrets of an epoch are present in which messages can be sent. The encryption secret is
/// not expected, because it has become the secret tree.
bool are_all_there(const epoch_secrets& v);

/// Takes the bytes of an encoder (of_secrets) as a secret, and wipes them in the encoder.
secret take_secret(encoder&& e);

} // namespace parley::mls

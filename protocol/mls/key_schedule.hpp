#pragma once
// From one epoch to the next (RFC 9420, section 8): what is derived from the init secret, the commit secret,
// the pre-shared keys and the group context.
#include "protocol/mls/hpke.hpp"
#include "protocol/mls/leaf_node.hpp"

namespace parley::mls {

/// 8.1
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

/// All that an epoch secret gives, and the epoch secret itself gone. Each member's purpose is in 8, table 4;
/// whoever holds them wipes what is consumed (9.2): `encryption` goes into a secret_tree, `init` into the
/// next epoch.
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

/// For the first epoch of a group, whose epoch secret is random (11).
epoch_secrets derive_from_epoch_secret(const secret& epoch_secret);

secret derive_joiner_secret(const secret& init_secret, const secret& commit_secret,
                            bytes_view encoded_context);
/// `psk_secret` is that of psk.hpp: zeros where there are none.
epoch_secrets derive_epoch(const secret& joiner_secret, const secret& psk_secret, bytes_view encoded_context);
secret derive_welcome_secret(const secret& joiner_secret, const secret& psk_secret);

/// 6.1
bytes confirmation_tag(const secret& confirmation_key, bytes_view confirmed_transcript_hash);
result<void> check_confirmation_tag(const secret& confirmation_key, bytes_view confirmed_transcript_hash,
                                    bytes_view tag);

/// 8.5. At most 255 times the size of a hash.
result<secret> export_secret(const secret& exporter_secret, std::string_view label, bytes_view context,
                             std::size_t size);

/// 8: the pair whose private key the whole group holds.
hpke_key_pair external_key_pair(const secret& external_secret);

/// 8.3: what somebody who joins by an external commit sends, and has in the place of an init secret.
struct external_init {
  bytes kem_output;
  secret init_secret;
};
result<external_init> make_external_init(bytes_view external_public_key, const random_source& random);
result<secret> open_external_init(const hpke_key_pair& external_key, bytes_view kem_output);

/// What has to be written to go on with an epoch later: everything but what is empty.
secret saved(const epoch_secrets& v);
result<epoch_secrets> restored_epoch_secrets(bytes_view in);
/// Those of an epoch in which something can be said; its encryption secret has become the secret tree.
bool are_all_there(const epoch_secrets& v);

/// The bytes of an encoder (of_secrets) as a secret. They are wiped where they were.
secret take_secret(encoder&& e);

} // namespace parley::mls

#pragma once
// Hybrid public key encryption (RFC 9180) as ciphersuite 1 uses it: DHKEM(X25519, HKDF-SHA256),
// HKDF-SHA256 and AES-128-GCM in base mode, with the labels of RFC 9420, section 5.1.3.
//
// Thread: any. There is no state.
#include "protocol/mls/codec.hpp"
#include "protocol/mls/crypto.hpp"

namespace parley::mls {

struct hpke_ciphertext {
  bytes kem_output, ciphertext;
  friend bool operator==(const hpke_ciphertext&, const hpke_ciphertext&) = default;
};
void encode(encoder& e, const hpke_ciphertext& v);
void decode(decoder& d, hpke_ciphertext& v);

hpke_key_pair derive_key_pair(bytes_view input_key); ///< RFC 9180, section 7.1.3
hpke_key_pair make_hpke_key(const random_source& random);

result<hpke_ciphertext> hpke_seal(bytes_view public_key, bytes_view info, bytes_view aad,
                                  bytes_view plaintext, const random_source& random);
result<secret> hpke_open(const hpke_key_pair& key, const hpke_ciphertext& in, bytes_view info,
                         bytes_view aad);
result<hpke_ciphertext> encrypt_with_label(bytes_view public_key, std::string_view label, bytes_view context,
                                           bytes_view plaintext, const random_source& random);
result<secret> decrypt_with_label(const hpke_key_pair& key, std::string_view label, bytes_view context,
                                  const hpke_ciphertext& in);

/// Setup and export, used for the external init secret (8.3).
struct hpke_export {
  bytes kem_output; ///< empty on the receiver's side
  secret exported;
};
result<hpke_export> hpke_send_export(bytes_view public_key, bytes_view info, std::string_view label,
                                     std::size_t size, const random_source& random);
result<secret> hpke_receive_export(const hpke_key_pair& key, bytes_view kem_output, bytes_view info,
                                   std::string_view label, std::size_t size);

} // namespace parley::mls

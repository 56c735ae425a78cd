#pragma once
// Ciphersuite 1, MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519, and nothing else (RFC 9420, section 5; RFC
// 9180 for HPKE). crypto.cpp is the only file that includes OpenSSL.
//
// Thread: any; nothing is kept but contexts of the calling thread.
#include "protocol/mls/bytes.hpp"
#include "protocol/mls/error.hpp"

#include <array>
#include <functional>

namespace parley::mls {

inline constexpr std::uint16_t cipher_suite_1 = 0x0001;
inline constexpr std::size_t hash_bytes = 32;  ///< Nh of SHA-256, and of the KDF
inline constexpr std::size_t key_bytes = 16;   ///< Nk of AES-128-GCM
inline constexpr std::size_t nonce_bytes = 12; ///< Nn
inline constexpr std::size_t tag_bytes = 16;   ///< Nt
inline constexpr std::size_t signature_bytes = 64;

/// Fills with random bytes. Injected everywhere, so that tests replay.
using random_source = std::function<void(std::span<std::uint8_t>)>;
random_source system_random();

bytes hash(bytes_view data);
bytes mac(bytes_view key, bytes_view data); ///< HMAC-SHA-256
secret kdf_extract(bytes_view salt, bytes_view input_key);
secret kdf_expand(bytes_view secret_key, bytes_view info, std::size_t size);

/// Section 8: ExpandWithLabel and DeriveSecret; 9.1: DeriveTreeSecret; 5.2: RefHash.
secret expand_with_label(bytes_view key, std::string_view label, bytes_view context, std::size_t size);
secret derive_secret(bytes_view key, std::string_view label);
secret derive_tree_secret(bytes_view key, std::string_view label, std::uint32_t generation, std::size_t size);
bytes ref_hash(std::string_view label, bytes_view value);

/// AES-128-GCM, the tag behind the ciphertext.
bytes aead_seal(bytes_view key, bytes_view nonce, bytes_view aad, bytes_view plaintext);
result<secret> aead_open(bytes_view key, bytes_view nonce, bytes_view aad, bytes_view ciphertext);

// --- signatures (5.1.2)

struct signature_key_pair {
  secret private_key; ///< 32 bytes, the seed
  bytes public_key;   ///< 32 bytes
};
signature_key_pair make_signature_key(const random_source& random);
/// Never pair a private key with a public key from elsewhere: signing with a wrong one tells the private key.
result<signature_key_pair> signature_key_from_private(bytes_view private_key);
bytes sign_with_label(const signature_key_pair& key, std::string_view label, bytes_view content);
result<void> verify_with_label(bytes_view public_key, std::string_view label, bytes_view content,
                               bytes_view signature);

// --- HPKE (5.1.3): DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-128-GCM, base mode

struct hpke_key_pair {
  secret private_key; ///< 32 bytes
  bytes public_key;   ///< 32 bytes
};
struct hpke_ciphertext {
  bytes kem_output, ciphertext;
  friend bool operator==(const hpke_ciphertext&, const hpke_ciphertext&) = default;
};
class encoder;
class decoder;
void encode(encoder& e, const hpke_ciphertext& v);
void decode(decoder& d, hpke_ciphertext& v);

hpke_key_pair derive_key_pair(bytes_view input_key); ///< RFC 9180, section 7.1.3
hpke_key_pair make_hpke_key(const random_source& random);
result<hpke_key_pair> hpke_key_from_private(bytes_view private_key);

result<hpke_ciphertext> hpke_seal(bytes_view public_key, bytes_view info, bytes_view aad,
                                  bytes_view plaintext, const random_source& random);
result<secret> hpke_open(const hpke_key_pair& key, const hpke_ciphertext& in, bytes_view info,
                         bytes_view aad);
result<hpke_ciphertext> encrypt_with_label(bytes_view public_key, std::string_view label, bytes_view context,
                                           bytes_view plaintext, const random_source& random);
result<secret> decrypt_with_label(const hpke_key_pair& key, std::string_view label, bytes_view context,
                                  const hpke_ciphertext& in);

/// Setup and export, for the external init secret (8.3).
struct hpke_export {
  bytes kem_output; ///< empty on the receiver's side
  secret exported;
};
result<hpke_export> hpke_send_export(bytes_view public_key, bytes_view info, std::string_view label,
                                     std::size_t size, const random_source& random);
result<secret> hpke_receive_export(const hpke_key_pair& key, bytes_view kem_output, bytes_view info,
                                   std::string_view label, std::size_t size);

} // namespace parley::mls

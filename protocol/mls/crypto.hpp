#pragma once
// The primitives of ciphersuite 1, MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519 (RFC 9420, section 5),
// and nothing else. crypto.cpp is the only file that includes OpenSSL.
//
// Thread: any. The only state is one set of OpenSSL contexts per thread.
#include "protocol/mls/bytes.hpp"
#include "protocol/mls/error.hpp"

#include <functional>

namespace parley::mls {

inline constexpr std::uint16_t cipher_suite_1 = 0x0001;
inline constexpr std::size_t hash_bytes = 32;  ///< Nh of SHA-256, and of the KDF
inline constexpr std::size_t key_bytes = 16;   ///< Nk of AES-128-GCM
inline constexpr std::size_t nonce_bytes = 12; ///< Nn
inline constexpr std::size_t tag_bytes = 16;   ///< Nt
inline constexpr std::size_t signature_bytes = 64;

/// Fills a buffer with random bytes. It is passed to every function that needs one, so
/// that tests can replay.
using random_source = std::function<void(std::span<std::uint8_t>)>;
random_source system_random();

bytes hash(bytes_view data);
bytes mac(bytes_view key, bytes_view data); ///< HMAC-SHA-256
/// HKDF-SHA-256 (RFC 5869). Where an input is given in parts, their concatenation is used.
secret kdf_extract(bytes_view salt, std::initializer_list<bytes_view> input_key);
secret kdf_expand(bytes_view secret_key, std::initializer_list<bytes_view> info, std::size_t size);

/// Section 8: ExpandWithLabel and DeriveSecret; 9.1: DeriveTreeSecret; 5.2: RefHash.
secret expand_with_label(bytes_view key, std::string_view label, bytes_view context, std::size_t size);
secret derive_secret(bytes_view key, std::string_view label);
secret derive_tree_secret(bytes_view key, std::string_view label, std::uint32_t generation, std::size_t size);
bytes ref_hash(std::string_view label, bytes_view value);

/// AES-128-GCM; the tag follows the ciphertext.
bytes aead_seal(bytes_view key, bytes_view nonce, bytes_view aad, bytes_view plaintext);
result<secret> aead_open(bytes_view key, bytes_view nonce, bytes_view aad, bytes_view ciphertext);

// --- signatures (5.1.2)

struct signature_key_pair {
  secret private_key; ///< 32 bytes, the seed
  bytes public_key;   ///< 32 bytes
};
signature_key_pair make_signature_key(const random_source& random);
/// Never pair a private key with a public key from another source: a signature made with a mismatched
/// pair reveals the private key.
result<signature_key_pair> signature_key_from_private(bytes_view private_key);
/// SignContent of 5.1.2 and EncryptContext of 5.1.3. The label prevents content that was signed or
/// encrypted for one purpose from being used for another.
bytes labelled(std::string_view label, bytes_view content);
bytes sign_with_label(const signature_key_pair& key, std::string_view label, bytes_view content);
result<void> verify_with_label(bytes_view public_key, std::string_view label, bytes_view content,
                               bytes_view signature);

// --- X25519 (RFC 7748), for HPKE (hpke.hpp)

struct hpke_key_pair {
  secret private_key; ///< 32 bytes
  bytes public_key;   ///< 32 bytes
};
/// Any 32 bytes are a valid private key.
result<hpke_key_pair> hpke_key_from_private(bytes_view private_key);
/// Refuses a peer's key that is a point of small order, because the shared secret would be known to
/// everyone (RFC 9180, section 7.1.4).
result<secret> diffie_hellman(const hpke_key_pair& own, bytes_view peer);

} // namespace parley::mls

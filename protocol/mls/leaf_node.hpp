#pragma once
// What a member states about itself: the leaf of the ratchet tree, and the key package that the leaf
// comes from (RFC 9420, sections 5.3, 7.2, 10 and 13).
//
// Decoding keeps values that it does not know (extensions, capabilities, GREASE), so that encoding again
// yields exactly the bytes that were signed. Whether a leaf may be used is decided in leaf_validation.hpp.
#include "protocol/mls/codec.hpp"
#include "protocol/mls/crypto.hpp"

#include <array>

namespace parley::mls {

inline constexpr std::uint16_t mls10 = 0x0001;

/// X25519 or Ed25519. In ciphersuite 1 both have 32 bytes, so keys of other lengths are
/// refused by the decoder.
using public_key = std::array<std::uint8_t, 32>;
/// `v` must be 32 bytes long, as all keys from crypto.hpp are.
public_key public_key_of(bytes_view v);
void put_key(encoder& e, const public_key& k);
public_key get_key(decoder& d);
/// 10 and RFC 9180, 7.1.4: refuses points of small order. Nothing can be encrypted to them, so a member
/// with such a key would prevent all others from committing.
result<void> check_encryption_key(const public_key& k);

/// The position of a leaf, counted from the left (4.1.1).
enum class leaf_index : std::uint32_t {};
constexpr std::uint32_t number(leaf_index i) {
  return static_cast<std::uint32_t>(i);
}

// The registries of section 17. The types are open: any value may occur.
enum class extension_type : std::uint16_t {
  application_id = 1,
  ratchet_tree = 2,
  required_capabilities = 3,
  external_pub = 4,
  external_senders = 5,
};
enum class proposal_type : std::uint16_t {
  add = 1,
  update = 2,
  remove = 3,
  psk = 4,
  reinit = 5,
  external_init = 6,
  group_context_extensions = 7,
};
enum class credential_type : std::uint16_t { basic = 1, x509 = 2 };
/// Types defined by RFC 9420 itself: every client supports them and no client lists them (7.2).
constexpr bool is_default(extension_type t) {
  return t >= extension_type::application_id && t <= extension_type::external_senders;
}
constexpr bool is_default(proposal_type t) {
  return t >= proposal_type::add && t <= proposal_type::group_context_extensions;
}

struct extension {
  extension_type type{};
  bytes data;
  friend bool operator==(const extension&, const extension&) = default;
};
using extension_list = std::vector<extension>;
/// Returns the data of the first extension of this type, or null.
const bytes* find_extension(const extension_list& list, extension_type type);
/// 13.4: no type appears twice.
result<void> check_no_duplicates(const extension_list& list);

/// 11.1: decoded from the extension of the GroupContext. If the extension is absent, nothing is required.
struct required_capabilities {
  std::vector<extension_type> extensions;
  std::vector<proposal_type> proposals;
  std::vector<credential_type> credentials;
  friend bool operator==(const required_capabilities&, const required_capabilities&) = default;
};
result<required_capabilities> required_capabilities_of(const extension_list& group_extensions);
extension to_extension(const required_capabilities& v);

/// 5.3. An X.509 chain is decoded and kept, but no policy here accepts it. Other types do not decode,
/// because their length is unknown.
struct credential {
  credential_type type = credential_type::basic;
  bytes identity;                  ///< basic
  std::vector<bytes> certificates; ///< x509, DER, the end entity first
  friend bool operator==(const credential&, const credential&) = default;
};

struct capabilities {
  std::vector<std::uint16_t> versions;
  std::vector<std::uint16_t> cipher_suites;
  std::vector<extension_type> extensions;
  std::vector<proposal_type> proposals;
  std::vector<credential_type> credentials;
  friend bool operator==(const capabilities&, const capabilities&) = default;
  /// True for default types, which are never listed.
  bool supports(extension_type t) const;
  bool supports(proposal_type t) const;
  bool supports(credential_type t) const;
};
/// What this library supports: mls10, ciphersuite 1, basic credentials.
capabilities own_capabilities();

/// In seconds since the Unix epoch.
struct lifetime {
  std::uint64_t not_before = 0, not_after = 0;
  friend bool operator==(const lifetime&, const lifetime&) = default;
};

enum class leaf_node_source : std::uint8_t { key_package = 1, update = 2, commit = 3 };

struct leaf_node {
  public_key encryption_key{};
  public_key signature_key{};
  mls::credential credential;
  mls::capabilities capabilities;
  leaf_node_source source = leaf_node_source::key_package;
  mls::lifetime lifetime; ///< only of source key_package
  bytes parent_hash;      ///< only of source commit
  extension_list extensions;
  bytes signature;
  friend bool operator==(const leaf_node&, const leaf_node&) = default;
};

/// The position of a leaf whose source is update or commit: it is part of what the signature covers.
struct leaf_place {
  bytes_view group_id;
  leaf_index index{};
};
/// Sets `signature`. `key.public_key` must be the leaf's signature key. `place` is used only if the
/// source is update or commit.
void sign(leaf_node& leaf, const signature_key_pair& key, const leaf_place& place);
/// 7.3: verifies the signature with the leaf's own key.
result<void> verify_signature(const leaf_node& leaf, const leaf_place& place);
/// Verifies a leaf that is available in encoded form, without encoding it again.
result<void> verify_encoded_leaf(bytes_view encoded_leaf, const public_key& signature_key,
                                 leaf_node_source source, const leaf_place& place);

struct key_package {
  std::uint16_t version = mls10;
  std::uint16_t cipher_suite = cipher_suite_1;
  public_key init_key{};
  mls::leaf_node leaf_node;
  extension_list extensions;
  bytes signature;
  friend bool operator==(const key_package&, const key_package&) = default;
};
void sign(key_package& package, const signature_key_pair& key);
result<void> verify_signature(const key_package& package);
bytes key_package_ref(const key_package& package);        ///< 5.2
bytes key_package_ref_of_encoded(bytes_view key_package); ///< the reference of an encoded key package

void encode(encoder& e, const extension& v);
void decode(decoder& d, extension& v);
void encode(encoder& e, const required_capabilities& v);
void decode(decoder& d, required_capabilities& v);
void encode(encoder& e, const credential& v);
void decode(decoder& d, credential& v);
void encode(encoder& e, const capabilities& v);
void decode(decoder& d, capabilities& v);
void encode(encoder& e, const lifetime& v);
void decode(decoder& d, lifetime& v);
void encode(encoder& e, const leaf_node& v);
void decode(decoder& d, leaf_node& v);
void encode(encoder& e, const key_package& v);
void decode(decoder& d, key_package& v);

} // namespace parley::mls

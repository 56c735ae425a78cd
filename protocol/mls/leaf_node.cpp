#include "protocol/mls/leaf_node.hpp"

#include <algorithm>
#include <cassert>

namespace parley::mls {

namespace {

template <class List, class T>
bool lists(const List& list, T v) {
  return std::ranges::find(list, v) != list.end();
}

void put_place(encoder& e, leaf_node_source source, const leaf_place& place) {
  if (source == leaf_node_source::key_package)
    return; // created before its group is known
  e.opaque(place.group_id).put(place.index);
}

/// Encodes everything before the signature.
void put_content(encoder& e, const leaf_node& v) {
  put_key(e, v.encryption_key);
  put_key(e, v.signature_key);
  encode(e, v.credential);
  encode(e, v.capabilities);
  e.put(v.source);
  switch (v.source) {
  case leaf_node_source::key_package:
    encode(e, v.lifetime);
    break;
  case leaf_node_source::update:
    break;
  case leaf_node_source::commit:
    e.opaque(v.parent_hash);
    break;
  }
  e.vector(v.extensions);
}

void put_content(encoder& e, const key_package& v) {
  e.put(v.version).put(v.cipher_suite);
  put_key(e, v.init_key);
  encode(e, v.leaf_node);
  e.vector(v.extensions);
}

constexpr std::string_view leaf_label = "LeafNodeTBS";
constexpr std::string_view package_label = "KeyPackageTBS";
constexpr std::string_view package_ref_label = "MLS 1.0 KeyPackage Reference";

bytes to_be_signed(const leaf_node& leaf, const leaf_place& place) {
  encoder e;
  put_content(e, leaf);
  put_place(e, leaf.source, place);
  return std::move(e).out();
}

bytes to_be_signed(const key_package& package) {
  encoder e;
  put_content(e, package);
  return std::move(e).out();
}

} // namespace

public_key public_key_of(bytes_view v) {
  public_key k{};
  assert(v.size() == k.size());
  std::copy_n(v.begin(), std::min(v.size(), k.size()), k.begin());
  return k;
}

void put_key(encoder& e, const public_key& k) {
  e.opaque(k);
}

public_key get_key(decoder& d) {
  const auto v = d.opaque_view();
  public_key k{};
  if (v.size() == k.size())
    std::ranges::copy(v, k.begin());
  else
    d.fail();
  return k;
}

result<void> check_encryption_key(const public_key& k) {
  // Every encoding of a u-coordinate of small order: 0, 1, two of order 8, and p-1, p and p+1. The
  // highest bit is ignored (RFC 7748, section 5).
  static constexpr std::array<public_key, 7> none_of_these = [] {
    std::array<public_key, 7> out{};
    out[1] = {1};
    out[2] = {0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a,
              0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00};
    out[3] = {0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b,
              0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57};
    for (std::uint8_t i = 0; i < 3; ++i) {
      out[4 + i].fill(0xff);
      out[4 + i].front() = static_cast<std::uint8_t>(0xec + i);
      out[4 + i].back() = 0x7f;
    }
    return out;
  }();
  auto u = k;
  u.back() &= 0x7f;
  if (std::ranges::find(none_of_these, u) != none_of_these.end())
    return refuse(rule::bad_key);
  return {};
}

// --- extensions and capabilities ---------------------------------------------------------------------------

const bytes* find_extension(const extension_list& list, extension_type type) {
  const auto i = std::ranges::find(list, type, &extension::type);
  return i == list.end() ? nullptr : &i->data;
}

result<void> check_no_duplicates(const extension_list& list) {
  std::vector<extension_type> types;
  for (const auto& x : list)
    types.push_back(x.type);
  std::ranges::sort(types);
  if (std::ranges::adjacent_find(types) != types.end())
    return refuse(rule::duplicate_extension);
  return {};
}

result<required_capabilities> required_capabilities_of(const extension_list& group_extensions) {
  const auto* data = find_extension(group_extensions, extension_type::required_capabilities);
  return data ? whole<required_capabilities>(*data) : required_capabilities{};
}

extension to_extension(const required_capabilities& v) {
  return {extension_type::required_capabilities, encoded(v)};
}

bool capabilities::supports(extension_type t) const {
  return is_default(t) || lists(extensions, t);
}
bool capabilities::supports(proposal_type t) const {
  return is_default(t) || lists(proposals, t);
}
bool capabilities::supports(credential_type t) const {
  return lists(credentials, t);
}

capabilities own_capabilities() {
  capabilities c;
  c.versions = {mls10};
  c.cipher_suites = {cipher_suite_1};
  c.credentials = {credential_type::basic};
  return c;
}

// --- signatures --------------------------------------------------------------------------------------------

void sign(leaf_node& leaf, const signature_key_pair& key, const leaf_place& place) {
  leaf.signature = sign_with_label(key, leaf_label, to_be_signed(leaf, place));
}

result<void> verify_signature(const leaf_node& leaf, const leaf_place& place) {
  if (verify_with_label(leaf.signature_key, leaf_label, to_be_signed(leaf, place), leaf.signature))
    return {};
  return refuse(rule::leaf_bad_signature);
}

result<void> verify_encoded_leaf(bytes_view encoded_leaf, const public_key& signature_key,
                                 leaf_node_source source, const leaf_place& place) {
  // The signature comes last, after a length of two bytes, if it is an Ed25519 signature at all.
  constexpr std::size_t signature_at_the_end = 2 + signature_bytes;
  if (encoded_leaf.size() < signature_at_the_end)
    return refuse(rule::leaf_bad_signature);
  const auto content = encoded_leaf.first(encoded_leaf.size() - signature_at_the_end);
  decoder tail{encoded_leaf.last(signature_at_the_end)};
  const auto signature = tail.opaque_view();
  if (!tail.done())
    return refuse(rule::leaf_bad_signature);
  encoder e;
  e.reserve(content.size() + place.group_id.size() + 8);
  e.raw(content);
  put_place(e, source, place);
  if (verify_with_label(signature_key, leaf_label, e.out(), signature))
    return {};
  return refuse(rule::leaf_bad_signature);
}

void sign(key_package& package, const signature_key_pair& key) {
  package.signature = sign_with_label(key, package_label, to_be_signed(package));
}

result<void> verify_signature(const key_package& package) {
  if (verify_with_label(package.leaf_node.signature_key, package_label, to_be_signed(package),
                        package.signature))
    return {};
  return refuse(rule::key_package_bad_signature);
}

bytes key_package_ref(const key_package& package) {
  return key_package_ref_of_encoded(encoded(package));
}

bytes key_package_ref_of_encoded(bytes_view package) {
  return ref_hash(package_ref_label, package);
}

// --- codec -------------------------------------------------------------------------------------------------

void encode(encoder& e, const extension& v) {
  e.put(v.type).opaque(v.data);
}
void decode(decoder& d, extension& v) {
  v.type = d.get<extension_type>();
  v.data = d.opaque();
}

void encode(encoder& e, const required_capabilities& v) {
  e.vector(v.extensions).vector(v.proposals).vector(v.credentials);
}
void decode(decoder& d, required_capabilities& v) {
  v.extensions = d.vector<extension_type>();
  v.proposals = d.vector<proposal_type>();
  v.credentials = d.vector<credential_type>();
}

void encode(encoder& e, const credential& v) {
  e.put(v.type);
  if (v.type == credential_type::x509)
    e.vector(v.certificates);
  else
    e.opaque(v.identity);
}
void decode(decoder& d, credential& v) {
  v.type = d.get<credential_type>();
  if (v.type == credential_type::basic)
    v.identity = d.opaque();
  else if (v.type == credential_type::x509)
    v.certificates = d.vector<bytes>();
  else
    d.fail();
}

void encode(encoder& e, const capabilities& v) {
  e.vector(v.versions).vector(v.cipher_suites).vector(v.extensions).vector(v.proposals).vector(v.credentials);
}
void decode(decoder& d, capabilities& v) {
  v.versions = d.vector<std::uint16_t>();
  v.cipher_suites = d.vector<std::uint16_t>();
  v.extensions = d.vector<extension_type>();
  v.proposals = d.vector<proposal_type>();
  v.credentials = d.vector<credential_type>();
}

void encode(encoder& e, const lifetime& v) {
  e.put(v.not_before).put(v.not_after);
}
void decode(decoder& d, lifetime& v) {
  v.not_before = d.get<std::uint64_t>();
  v.not_after = d.get<std::uint64_t>();
}

void encode(encoder& e, const leaf_node& v) {
  put_content(e, v);
  e.opaque(v.signature);
}
void decode(decoder& d, leaf_node& v) {
  v.encryption_key = get_key(d);
  v.signature_key = get_key(d);
  decode(d, v.credential);
  decode(d, v.capabilities);
  v.source = d.get<leaf_node_source>();
  switch (v.source) {
  case leaf_node_source::key_package:
    decode(d, v.lifetime);
    break;
  case leaf_node_source::update:
    break;
  case leaf_node_source::commit:
    v.parent_hash = d.opaque();
    break;
  default:
    d.fail();
  }
  v.extensions = d.vector<extension>();
  v.signature = d.opaque();
}

void encode(encoder& e, const key_package& v) {
  put_content(e, v);
  e.opaque(v.signature);
}
void decode(decoder& d, key_package& v) {
  v.version = d.get<std::uint16_t>();
  v.cipher_suite = d.get<std::uint16_t>();
  v.init_key = get_key(d);
  decode(d, v.leaf_node);
  v.extensions = d.vector<extension>();
  v.signature = d.opaque();
}

} // namespace parley::mls

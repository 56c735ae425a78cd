#include "protocol/mls/welcome.hpp"

#include <algorithm>

namespace parley::mls {

namespace {

constexpr std::string_view info_label = "GroupInfoTBS";
constexpr std::string_view welcome_label = "Welcome";

/// GroupInfoTBS.
void put_to_be_signed(encoder& e, const group_info& v) {
  encode(e, v.context);
  e.vector(v.extensions).opaque(v.confirmation_tag).put(v.signer);
}

struct welcome_keys {
  secret key, nonce;
};
welcome_keys keys_of(const secret& welcome_secret) {
  return {expand_with_label(welcome_secret.view(), "key", {}, key_bytes),
          expand_with_label(welcome_secret.view(), "nonce", {}, nonce_bytes)};
}

/// Reserves the size first, so that the buffer with the secrets does not grow.
secret encoded_secrets(const secret& joiner_secret, const secret* path_secret,
                       const std::vector<pre_shared_key_id>& psks) {
  encoder ids;
  ids.vector(psks);
  encoder e{encoder::of_secrets{}};
  e.reserve(joiner_secret.size() + (path_secret ? path_secret->size() : 0) + ids.out().size() + 16);
  e.opaque(joiner_secret.view()).put(static_cast<std::uint8_t>(path_secret != nullptr));
  if (path_secret)
    e.opaque(path_secret->view());
  e.raw(ids.out());
  return take_secret(std::move(e));
}

} // namespace

void sign(group_info& v, const signature_key_pair& key) {
  encoder e;
  put_to_be_signed(e, v);
  v.signature = sign_with_label(key, info_label, e.out());
}

result<void> verify_signature(const group_info& v, const public_key& signer) {
  encoder e;
  put_to_be_signed(e, v);
  if (!verify_with_label(signer, info_label, e.out(), v.signature))
    return refuse(rule::group_info_bad_signature);
  return {};
}

bytes seal_group_info(const group_info& v, const secret& welcome_secret) {
  const auto keys = keys_of(welcome_secret);
  return aead_seal(keys.key.view(), keys.nonce.view(), {}, encoded(v));
}

result<group_info> open_group_info(bytes_view encrypted_group_info, const secret& welcome_secret) {
  const auto keys = keys_of(welcome_secret);
  const auto plain = aead_open(keys.key.view(), keys.nonce.view(), {}, encrypted_group_info);
  if (!plain)
    return tl::unexpected(plain.error());
  auto info = whole<group_info>(plain->view());
  if (info && info->context.version != mls10)
    return refuse(rule::wrong_version);
  if (info && info->context.cipher_suite != cipher_suite_1)
    return refuse(rule::wrong_cipher_suite);
  return info;
}

result<encrypted_group_secrets> seal_group_secrets(const invited& whom, const secret& joiner_secret,
                                                   const std::vector<pre_shared_key_id>& psks,
                                                   bytes_view encrypted_group_info,
                                                   const random_source& random) {
  const auto plain = encoded_secrets(joiner_secret, whom.path_secret, psks);
  auto sealed = encrypt_with_label(whom.init_key, welcome_label, encrypted_group_info, plain.view(), random);
  if (!sealed)
    return tl::unexpected(sealed.error());
  return encrypted_group_secrets{whom.key_package_ref, std::move(*sealed)};
}

result<group_secrets> open_group_secrets(const welcome& in, bytes_view key_package_ref,
                                         const hpke_key_pair& init_key) {
  if (in.cipher_suite != cipher_suite_1)
    return refuse(rule::wrong_cipher_suite);
  const auto ours =
      std::ranges::find_if(in.secrets, [&](const auto& s) { return equal(s.new_member, key_package_ref); });
  if (ours == in.secrets.end())
    return refuse(rule::welcome_not_for_us);
  const auto plain = decrypt_with_label(init_key, welcome_label, in.encrypted_group_info, ours->secrets);
  if (!plain)
    return tl::unexpected(plain.error());
  auto out = whole<group_secrets>(plain->view());
  if (!out)
    return out;
  if (out->joiner_secret.size() != hash_bytes || (out->path_secret && out->path_secret->size() != hash_bytes))
    return refuse(rule::malformed);
  if (const auto fit = check_usages(out->psks); !fit)
    return tl::unexpected(fit.error());
  for (const auto& id : out->psks)
    if (const auto fit = check_nonce(id); !fit)
      return tl::unexpected(fit.error());
  return out;
}

result<welcome> make_welcome(const group_info& info, const secret& welcome_secret,
                             const secret& joiner_secret, const std::vector<pre_shared_key_id>& psks,
                             std::span<const invited> whom, const random_source& random) {
  welcome out{.encrypted_group_info = seal_group_info(info, welcome_secret)};
  for (const auto& w : whom) {
    auto sealed = seal_group_secrets(w, joiner_secret, psks, out.encrypted_group_info, random);
    if (!sealed)
      return tl::unexpected(sealed.error());
    out.secrets.push_back(std::move(*sealed));
  }
  return out;
}

void encode(encoder& e, const group_info& v) {
  put_to_be_signed(e, v);
  e.opaque(v.signature);
}

void decode(decoder& d, group_info& v) {
  decode(d, v.context);
  v.extensions = d.vector<extension>();
  v.confirmation_tag = d.opaque();
  v.signer = d.get<leaf_index>();
  v.signature = d.opaque();
}

void encode(encoder& e, const group_secrets& v) {
  e.raw(encoded_secrets(v.joiner_secret, v.path_secret ? &*v.path_secret : nullptr, v.psks).view());
}

void decode(decoder& d, group_secrets& v) {
  v.joiner_secret = secret{d.opaque_view()};
  const auto present = d.get<std::uint8_t>();
  if (present > 1)
    d.fail();
  if (present == 1)
    v.path_secret = secret{d.opaque_view()};
  v.psks = d.vector<pre_shared_key_id>();
}

void encode(encoder& e, const encrypted_group_secrets& v) {
  e.opaque(v.new_member);
  encode(e, v.secrets);
}

void decode(decoder& d, encrypted_group_secrets& v) {
  v.new_member = d.opaque();
  decode(d, v.secrets);
}

void encode(encoder& e, const welcome& v) {
  e.put(v.cipher_suite).vector(v.secrets).opaque(v.encrypted_group_info);
}

void decode(decoder& d, welcome& v) {
  v.cipher_suite = d.get<std::uint16_t>();
  v.secrets = d.vector<encrypted_group_secrets>();
  v.encrypted_group_info = d.opaque();
}

} // namespace parley::mls

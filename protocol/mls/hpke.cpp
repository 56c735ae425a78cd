#include "protocol/mls/hpke.hpp"

#include <array>

namespace parley::mls {
namespace {

constexpr std::size_t private_key_bytes = 32; ///< Nsk of X25519
using std::string_view_literals::operator""sv;
constexpr auto hpke_version = "HPKE-v1"sv;
constexpr auto kem_suite = "KEM\x00\x20"sv;
constexpr auto hpke_suite = "HPKE\x00\x20\x00\x01\x00\x01"sv;

secret labeled_extract(std::string_view suite, bytes_view salt, std::string_view label, bytes_view input) {
  return kdf_extract(salt, {view_of(hpke_version), view_of(suite), view_of(label), input});
}

secret labeled_expand(std::string_view suite, bytes_view key, std::string_view label, bytes_view info,
                      std::size_t size) {
  const std::array length{static_cast<std::uint8_t>(size >> 8), static_cast<std::uint8_t>(size)};
  return kdf_expand(key, {length, view_of(hpke_version), view_of(suite), view_of(label), info}, size);
}

secret kem_secret(const secret& dh, bytes_view kem_output, bytes_view public_key) {
  const auto prk = labeled_extract(kem_suite, {}, "eae_prk", dh.view());
  auto context = to_bytes(kem_output);
  context.insert(context.end(), public_key.begin(), public_key.end());
  return labeled_expand(kem_suite, prk.view(), "shared_secret", context, hash_bytes);
}

struct encapsulated {
  bytes kem_output;
  secret shared;
};

result<encapsulated> encapsulate(bytes_view public_key, const random_source& random) {
  auto ephemeral = make_hpke_key(random);
  auto dh = diffie_hellman(ephemeral, public_key);
  if (!dh)
    return tl::unexpected(dh.error());
  auto shared = kem_secret(*dh, ephemeral.public_key, public_key);
  return encapsulated{std::move(ephemeral.public_key), std::move(shared)};
}

result<secret> decapsulate(const hpke_key_pair& key, bytes_view kem_output) {
  auto dh = diffie_hellman(key, kem_output);
  if (!dh)
    return dh;
  return kem_secret(*dh, kem_output, key.public_key);
}

/// The key schedule of base mode, which uses no pre-shared key.
class hpke_schedule {
public:
  hpke_schedule(const secret& shared, bytes_view info)
      : secret_{labeled_extract(hpke_suite, shared.view(), "secret", {})} {
    static const bytes psk_id_hash = to_bytes(labeled_extract(hpke_suite, {}, "psk_id_hash", {}).view());
    const auto info_hash = labeled_extract(hpke_suite, {}, "info_hash", info);
    context_.reserve(1 + 2 * hash_bytes);
    context_.push_back(0); // mode_base
    context_.insert(context_.end(), psk_id_hash.begin(), psk_id_hash.end());
    context_.insert(context_.end(), info_hash.view().begin(), info_hash.view().end());
  }
  secret key() const { return labeled_expand(hpke_suite, secret_.view(), "key", context_, key_bytes); }
  /// The nonce of the first message, whose sequence number is 0. There is no second message.
  secret nonce() const {
    return labeled_expand(hpke_suite, secret_.view(), "base_nonce", context_, nonce_bytes);
  }
  secret exported(bytes_view exporter_context, std::size_t size) const {
    const auto exporter = labeled_expand(hpke_suite, secret_.view(), "exp", context_, hash_bytes);
    return labeled_expand(hpke_suite, exporter.view(), "sec", exporter_context, size);
  }

private:
  secret secret_;
  bytes context_;
};

} // namespace

void encode(encoder& e, const hpke_ciphertext& v) {
  e.opaque(v.kem_output).opaque(v.ciphertext);
}

void decode(decoder& d, hpke_ciphertext& v) {
  v.kem_output = d.opaque();
  v.ciphertext = d.opaque();
}

hpke_key_pair derive_key_pair(bytes_view input_key) {
  const auto prk = labeled_extract(kem_suite, {}, "dkp_prk", input_key);
  return *hpke_key_from_private(labeled_expand(kem_suite, prk.view(), "sk", {}, private_key_bytes).view());
}

hpke_key_pair make_hpke_key(const random_source& random) {
  auto input_key = secret::zeros(private_key_bytes);
  random(input_key.mutable_view());
  return derive_key_pair(input_key.view());
}

result<hpke_ciphertext> hpke_seal(bytes_view public_key, bytes_view info, bytes_view aad,
                                  bytes_view plaintext, const random_source& random) {
  auto kem = encapsulate(public_key, random);
  if (!kem)
    return tl::unexpected(kem.error());
  const hpke_schedule schedule{kem->shared, info};
  return hpke_ciphertext{std::move(kem->kem_output),
                         aead_seal(schedule.key().view(), schedule.nonce().view(), aad, plaintext)};
}

result<secret> hpke_open(const hpke_key_pair& key, const hpke_ciphertext& in, bytes_view info,
                         bytes_view aad) {
  const auto shared = decapsulate(key, in.kem_output);
  if (!shared)
    return tl::unexpected(shared.error());
  const hpke_schedule schedule{*shared, info};
  return aead_open(schedule.key().view(), schedule.nonce().view(), aad, in.ciphertext);
}

result<hpke_ciphertext> encrypt_with_label(bytes_view public_key, std::string_view label, bytes_view context,
                                           bytes_view plaintext, const random_source& random) {
  return hpke_seal(public_key, labelled(label, context), {}, plaintext, random);
}

result<secret> decrypt_with_label(const hpke_key_pair& key, std::string_view label, bytes_view context,
                                  const hpke_ciphertext& in) {
  return hpke_open(key, in, labelled(label, context), {});
}

result<hpke_export> hpke_send_export(bytes_view public_key, bytes_view info, std::string_view label,
                                     std::size_t size, const random_source& random) {
  auto kem = encapsulate(public_key, random);
  if (!kem)
    return tl::unexpected(kem.error());
  auto exported = hpke_schedule{kem->shared, info}.exported(view_of(label), size);
  return hpke_export{std::move(kem->kem_output), std::move(exported)};
}

result<secret> hpke_receive_export(const hpke_key_pair& key, bytes_view kem_output, bytes_view info,
                                   std::string_view label, std::size_t size) {
  const auto shared = decapsulate(key, kem_output);
  if (!shared)
    return tl::unexpected(shared.error());
  return hpke_schedule{*shared, info}.exported(view_of(label), size);
}

} // namespace parley::mls

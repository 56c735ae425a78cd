#include "protocol/mls/key_schedule.hpp"

#include <algorithm>
#include <array>

namespace parley::mls {

namespace {

constexpr std::string_view external_init_label = "MLS 1.0 external init secret";

secret member_secret(const secret& joiner_secret, const secret& psk_secret) {
  return kdf_extract(joiner_secret.view(), {psk_secret.view()});
}

/// In the order in which they are saved: append only.
template <class Secrets>
auto all_of(Secrets& v) {
  return std::array{&v.sender_data,    &v.encryption,          &v.exporter,
                    &v.external,       &v.confirmation_key,    &v.membership_key,
                    &v.resumption_psk, &v.epoch_authenticator, &v.init};
}

} // namespace

void encode(encoder& e, const group_context& v) {
  e.put(v.version).put(v.cipher_suite).opaque(v.group_id).put(v.epoch);
  e.opaque(v.tree_hash).opaque(v.confirmed_transcript_hash).vector(v.extensions);
}

void decode(decoder& d, group_context& v) {
  v.version = d.get<std::uint16_t>();
  v.cipher_suite = d.get<std::uint16_t>();
  v.group_id = d.opaque();
  v.epoch = d.get<std::uint64_t>();
  v.tree_hash = d.opaque();
  v.confirmed_transcript_hash = d.opaque();
  v.extensions = d.vector<extension>();
}

epoch_secrets derive_from_epoch_secret(const secret& epoch_secret) {
  const auto derive = [&](std::string_view label) { return derive_secret(epoch_secret.view(), label); };
  return {
      .sender_data = derive("sender data"),
      .encryption = derive("encryption"),
      .exporter = derive("exporter"),
      .external = derive("external"),
      .confirmation_key = derive("confirm"),
      .membership_key = derive("membership"),
      .resumption_psk = derive("resumption"),
      .epoch_authenticator = derive("authentication"),
      .init = derive("init"),
  };
}

secret derive_joiner_secret(const secret& init_secret, const secret& commit_secret,
                            bytes_view encoded_context) {
  const auto extracted = kdf_extract(init_secret.view(), {commit_secret.view()});
  return expand_with_label(extracted.view(), "joiner", encoded_context, hash_bytes);
}

epoch_secrets derive_epoch(const secret& joiner_secret, const secret& psk_secret,
                           bytes_view encoded_context) {
  const auto member = member_secret(joiner_secret, psk_secret);
  return derive_from_epoch_secret(expand_with_label(member.view(), "epoch", encoded_context, hash_bytes));
}

secret derive_welcome_secret(const secret& joiner_secret, const secret& psk_secret) {
  return derive_secret(member_secret(joiner_secret, psk_secret).view(), "welcome");
}

bytes confirmation_tag(const secret& confirmation_key, bytes_view confirmed_transcript_hash) {
  return mac(confirmation_key.view(), confirmed_transcript_hash);
}

result<void> check_confirmation_tag(const secret& confirmation_key, bytes_view confirmed_transcript_hash,
                                    bytes_view tag) {
  if (!equal_in_constant_time(confirmation_tag(confirmation_key, confirmed_transcript_hash), tag))
    return refuse(rule::wrong_confirmation_tag);
  return {};
}

result<secret> export_secret(const secret& exporter_secret, std::string_view label, bytes_view context,
                             std::size_t size) {
  if (size > 255 * hash_bytes)
    return refuse(rule::export_too_long);
  const auto of_label = derive_secret(exporter_secret.view(), label);
  return expand_with_label(of_label.view(), "exported", hash(context), size);
}

hpke_key_pair external_key_pair(const secret& external_secret) {
  return derive_key_pair(external_secret.view());
}

result<external_init> make_external_init(bytes_view external_public_key, const random_source& random) {
  auto made = hpke_send_export(external_public_key, {}, external_init_label, hash_bytes, random);
  if (!made)
    return tl::unexpected(made.error());
  return external_init{std::move(made->kem_output), std::move(made->exported)};
}

result<secret> open_external_init(const hpke_key_pair& external_key, bytes_view kem_output) {
  return hpke_receive_export(external_key, kem_output, {}, external_init_label, hash_bytes);
}

secret saved(const epoch_secrets& v) {
  encoder e{encoder::of_secrets{}};
  e.reserve(all_of(v).size() * (1 + hash_bytes));
  for (const auto* s : all_of(v))
    e.opaque(s->view());
  return take_secret(std::move(e));
}

bool are_all_there(const epoch_secrets& v) {
  return std::ranges::none_of(all_of(v), [&](auto* s) { return s->empty() && s != &v.encryption; });
}

result<epoch_secrets> restored_epoch_secrets(bytes_view in) {
  decoder d{in};
  epoch_secrets out;
  for (auto* s : all_of(out)) {
    *s = secret{d.opaque_view()};
    if (!s->empty() && s->size() != hash_bytes)
      d.fail();
  }
  if (!d.done())
    return refuse(rule::malformed);
  return out;
}

secret take_secret(encoder&& e) {
  auto from = std::move(e).out();
  secret out{from};
  wipe(from.data(), from.size());
  return out;
}

} // namespace parley::mls

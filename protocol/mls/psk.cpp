#include "protocol/mls/psk.hpp"

#include <algorithm>

namespace parley::mls {

namespace {

bytes fresh_nonce(const random_source& random) {
  bytes nonce(hash_bytes);
  random(nonce);
  return nonce;
}

} // namespace

void encode(encoder& e, const pre_shared_key_id& v) {
  e.put(v.type);
  if (v.type == psk_type::external)
    e.opaque(v.id);
  else
    e.put(v.usage).opaque(v.group_id).put(v.epoch);
  e.opaque(v.nonce);
}

void decode(decoder& d, pre_shared_key_id& v) {
  v.type = d.get<psk_type>();
  if (v.type == psk_type::external) {
    v.id = d.opaque();
  } else if (v.type == psk_type::resumption) {
    v.usage = d.get<resumption_usage>();
    if (v.usage < resumption_usage::application || v.usage > resumption_usage::branch)
      d.fail();
    v.group_id = d.opaque();
    v.epoch = d.get<std::uint64_t>();
  } else {
    d.fail();
  }
  v.nonce = d.opaque();
}

pre_shared_key_id external_psk(bytes id, const random_source& random) {
  return {.type = psk_type::external, .id = std::move(id), .nonce = fresh_nonce(random)};
}

pre_shared_key_id resumption_psk(resumption_usage usage, bytes group_id, std::uint64_t epoch,
                                 const random_source& random) {
  return {.type = psk_type::resumption,
          .usage = usage,
          .group_id = std::move(group_id),
          .epoch = epoch,
          .nonce = fresh_nonce(random)};
}

result<void> check_nonce(const pre_shared_key_id& id) {
  if (id.nonce.size() != hash_bytes)
    return refuse(rule::psk_nonce_wrong_length);
  return {};
}

result<void> check_usages(const std::vector<pre_shared_key_id>& ids) {
  const auto is_for_another_group = [](const pre_shared_key_id& id) {
    return id.type == psk_type::resumption && id.usage != resumption_usage::application;
  };
  if (std::ranges::count_if(ids, is_for_another_group) > 1)
    return refuse(rule::psk_usage_not_alone);
  return {};
}

result<secret> psk_secret(const std::vector<pre_shared_key>& keys) {
  if (keys.size() > 0xffff)
    return refuse(rule::too_many_psks);
  const auto zeros = secret::zeros(hash_bytes);
  auto so_far = secret::zeros(hash_bytes);
  std::uint16_t index = 0;
  for (const auto& [id, key] : keys) {
    const auto extracted = kdf_extract(zeros.view(), {key.view()});
    encoder label; // PSKLabel
    encode(label, id);
    label.put(index++).put(static_cast<std::uint16_t>(keys.size()));
    const auto input = expand_with_label(extracted.view(), "derived psk", label.out(), hash_bytes);
    so_far = kdf_extract(input.view(), {so_far.view()});
  }
  return so_far;
}

} // namespace parley::mls

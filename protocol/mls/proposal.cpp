#include "protocol/mls/proposal.hpp"

namespace parley::mls {

namespace {

enum class proposal_or_ref_type : std::uint8_t { proposal = 1, reference = 2 };

/// Decodes the alternative with the given type; false if there is none.
template <std::size_t I = 0>
bool decode_alternative(decoder& d, std::size_t wanted, decltype(proposal::body)& body) {
  if constexpr (I < std::variant_size_v<std::remove_reference_t<decltype(body)>>) {
    if (I != wanted)
      return decode_alternative<I + 1>(d, wanted, body);
    decode(d, body.template emplace<I>());
    return true;
  } else {
    return false;
  }
}

} // namespace

void encode(encoder& e, const add_proposal& v) {
  encode(e, v.key_package);
}
void decode(decoder& d, add_proposal& v) {
  decode(d, v.key_package);
}

void encode(encoder& e, const update_proposal& v) {
  encode(e, v.leaf_node);
}
void decode(decoder& d, update_proposal& v) {
  decode(d, v.leaf_node);
}

void encode(encoder& e, const remove_proposal& v) {
  e.put(v.removed);
}
void decode(decoder& d, remove_proposal& v) {
  v.removed = d.get<leaf_index>();
}

void encode(encoder& e, const psk_proposal& v) {
  encode(e, v.psk);
}
void decode(decoder& d, psk_proposal& v) {
  decode(d, v.psk);
}

void encode(encoder& e, const reinit_proposal& v) {
  e.opaque(v.group_id).put(v.version).put(v.cipher_suite).vector(v.extensions);
}
void decode(decoder& d, reinit_proposal& v) {
  v.group_id = d.opaque();
  v.version = d.get<std::uint16_t>();
  v.cipher_suite = d.get<std::uint16_t>();
  v.extensions = d.vector<extension>();
}

void encode(encoder& e, const external_init_proposal& v) {
  e.opaque(v.kem_output);
}
void decode(decoder& d, external_init_proposal& v) {
  v.kem_output = d.opaque();
}

void encode(encoder& e, const group_context_extensions_proposal& v) {
  e.vector(v.extensions);
}
void decode(decoder& d, group_context_extensions_proposal& v) {
  v.extensions = d.vector<extension>();
}

void encode(encoder& e, const proposal& v) {
  e.put(v.type());
  std::visit([&](const auto& body) { encode(e, body); }, v.body);
}
void decode(decoder& d, proposal& v) {
  const auto type = d.get<std::uint16_t>();
  if (type == 0 || !decode_alternative(d, type - 1u, v.body))
    d.fail();
}

void encode(encoder& e, const proposal_or_ref& v) {
  if (const auto* p = std::get_if<proposal>(&v.body)) {
    e.put(proposal_or_ref_type::proposal);
    encode(e, *p);
  } else {
    e.put(proposal_or_ref_type::reference).opaque(std::get<proposal_ref>(v.body).hash);
  }
}
void decode(decoder& d, proposal_or_ref& v) {
  switch (d.get<proposal_or_ref_type>()) {
  case proposal_or_ref_type::proposal:
    decode(d, v.body.emplace<proposal>());
    break;
  case proposal_or_ref_type::reference:
    v.body = proposal_ref{d.opaque()};
    if (std::get<proposal_ref>(v.body).hash.size() != hash_bytes)
      d.fail();
    break;
  default:
    d.fail();
  }
}

void encode(encoder& e, const commit& v) {
  e.vector(v.proposals).optional(v.path);
}
void decode(decoder& d, commit& v) {
  v.proposals = d.vector<proposal_or_ref>();
  v.path = d.optional<update_path>();
}

void encode(encoder& e, const external_sender& v) {
  put_key(e, v.signature_key);
  encode(e, v.credential);
}
void decode(decoder& d, external_sender& v) {
  v.signature_key = get_key(d);
  decode(d, v.credential);
}

result<std::vector<external_sender>> external_senders_of(const extension_list& group_extensions) {
  const auto* data = find_extension(group_extensions, extension_type::external_senders);
  if (!data)
    return {};
  decoder d{*data};
  auto out = d.vector<external_sender>();
  if (!d.done())
    return refuse(rule::malformed);
  return out;
}

extension to_extension(const std::vector<external_sender>& v) {
  encoder e;
  e.vector(v);
  return {extension_type::external_senders, std::move(e).out()};
}

} // namespace parley::mls

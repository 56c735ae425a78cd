#include "protocol/mls/framing.hpp"

namespace parley::mls {

namespace {

bool has_index(sender_type t) {
  return t == sender_type::member || t == sender_type::external;
}

content_type get_content_type(decoder& d) {
  const auto type = d.get<content_type>();
  if (type < content_type::application || type > content_type::commit)
    d.fail();
  return type;
}

} // namespace

proposal_ref make_proposal_ref(const authenticated_content& proposal) {
  return {ref_hash("MLS 1.0 Proposal Reference", encoded(proposal))};
}

bytes confirmed_transcript_hash(bytes_view interim_hash_before, const authenticated_content& commit) {
  encoder e;
  e.raw(interim_hash_before).put(commit.wire_format);
  encode(e, commit.content);
  e.opaque(commit.auth.signature);
  return hash(e.out());
}

bytes interim_transcript_hash(bytes_view confirmed_hash, bytes_view confirmation_tag) {
  encoder e;
  e.raw(confirmed_hash).opaque(confirmation_tag);
  return hash(e.out());
}

void encode(encoder& e, const sender& v) {
  e.put(v.type);
  if (has_index(v.type))
    e.put(v.index);
}

void decode(decoder& d, sender& v) {
  v.type = d.get<sender_type>();
  if (v.type < sender_type::member || v.type > sender_type::new_member_commit)
    d.fail();
  if (has_index(v.type))
    v.index = d.get<std::uint32_t>();
}

void encode_body(encoder& e, const framed_content& v) {
  if (const auto* p = v.as<proposal>())
    encode(e, *p);
  else if (const auto* c = v.as<commit>())
    encode(e, *c);
  else
    e.opaque(std::get<application_data>(v.body).data);
}

void decode_body(decoder& d, content_type type, framed_content& v) {
  switch (type) {
  case content_type::application:
    v.body = application_data{d.opaque()};
    break;
  case content_type::proposal:
    decode(d, v.body.emplace<proposal>());
    break;
  case content_type::commit:
    decode(d, v.body.emplace<commit>());
    break;
  default:
    d.fail();
  }
}

void encode_auth(encoder& e, const framed_content_auth& v) {
  e.opaque(v.signature);
  if (v.confirmation_tag)
    e.opaque(*v.confirmation_tag);
}

void decode_auth(decoder& d, content_type type, framed_content_auth& v) {
  v.signature = d.opaque();
  if (type == content_type::commit)
    v.confirmation_tag = d.opaque();
  else
    v.confirmation_tag.reset();
}

void encode(encoder& e, const framed_content& v) {
  e.opaque(v.group_id).put(v.epoch);
  encode(e, v.sender);
  e.opaque(v.authenticated_data).put(v.type());
  encode_body(e, v);
}

void decode(decoder& d, framed_content& v) {
  v.group_id = d.opaque();
  v.epoch = d.get<std::uint64_t>();
  decode(d, v.sender);
  v.authenticated_data = d.opaque();
  const auto type = get_content_type(d);
  decode_body(d, type, v);
}

void encode(encoder& e, const authenticated_content& v) {
  e.put(v.wire_format);
  encode(e, v.content);
  encode_auth(e, v.auth);
}

void decode(decoder& d, authenticated_content& v) {
  v.wire_format = d.get<wire_format>();
  if (v.wire_format != wire_format::public_message && v.wire_format != wire_format::private_message)
    d.fail();
  decode(d, v.content);
  decode_auth(d, v.content.type(), v.auth);
}

void encode(encoder& e, const public_message& v) {
  encode(e, v.content);
  encode_auth(e, v.auth);
  if (v.content.sender.type == sender_type::member)
    e.opaque(v.membership_tag);
}

void decode(decoder& d, public_message& v) {
  decode(d, v.content);
  decode_auth(d, v.content.type(), v.auth);
  if (v.content.sender.type == sender_type::member)
    v.membership_tag = d.opaque();
}

void encode(encoder& e, const private_message& v) {
  e.opaque(v.group_id).put(v.epoch).put(v.type);
  e.opaque(v.authenticated_data).opaque(v.encrypted_sender_data).opaque(v.ciphertext);
}

void decode(decoder& d, private_message& v) {
  v.group_id = d.opaque();
  v.epoch = d.get<std::uint64_t>();
  v.type = get_content_type(d);
  v.authenticated_data = d.opaque();
  v.encrypted_sender_data = d.opaque();
  v.ciphertext = d.opaque();
}

} // namespace parley::mls

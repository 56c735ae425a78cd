#pragma once
// The content of messages in a group and their senders (RFC 9420, section 6): the structures, and the
// hashes over them. protection.hpp protects them.
#include "protocol/mls/proposal.hpp"

#include <variant>

namespace parley::mls {

enum class wire_format : std::uint16_t {
  public_message = 1,
  private_message = 2,
  welcome = 3,
  group_info = 4,
  key_package = 5,
};
enum class content_type : std::uint8_t { application = 1, proposal = 2, commit = 3 };
enum class sender_type : std::uint8_t {
  member = 1,
  external = 2,
  new_member_proposal = 3,
  new_member_commit = 4,
};

struct sender {
  sender_type type = sender_type::member;
  std::uint32_t index = 0; ///< of a member's leaf, or in the list of external senders
  static sender member(leaf_index leaf) { return {sender_type::member, number(leaf)}; }
  leaf_index leaf() const { return leaf_index{index}; } ///< only valid for a member
  friend bool operator==(const sender&, const sender&) = default;
};

struct application_data {
  bytes data;
  friend bool operator==(const application_data&, const application_data&) = default;
};

struct framed_content {
  bytes group_id;
  std::uint64_t epoch = 0;
  mls::sender sender;
  bytes authenticated_data;
  std::variant<application_data, mls::proposal, mls::commit> body;
  content_type type() const { return static_cast<content_type>(body.index() + 1); }
  template <class T>
  const T* as() const {
    return std::get_if<T>(&body);
  }
  friend bool operator==(const framed_content&, const framed_content&) = default;
};

struct framed_content_auth {
  bytes signature;
  std::optional<bytes> confirmation_tag; ///< set for a commit and for nothing else
  friend bool operator==(const framed_content_auth&, const framed_content_auth&) = default;
};

struct authenticated_content {
  mls::wire_format wire_format = mls::wire_format::public_message;
  framed_content content;
  framed_content_auth auth;
  friend bool operator==(const authenticated_content&, const authenticated_content&) = default;
};

struct public_message {
  framed_content content;
  framed_content_auth auth;
  bytes membership_tag; ///< only set for a member
  friend bool operator==(const public_message&, const public_message&) = default;
};

struct private_message {
  bytes group_id;
  std::uint64_t epoch = 0;
  content_type type = content_type::application;
  bytes authenticated_data;
  bytes encrypted_sender_data;
  bytes ciphertext;
  friend bool operator==(const private_message&, const private_message&) = default;
};

/// 5.2: the reference by which a Commit names a proposal that was sent before.
proposal_ref make_proposal_ref(const authenticated_content& proposal);

/// 8.2: `commit` contains a Commit and its signature.
bytes confirmed_transcript_hash(bytes_view interim_hash_before, const authenticated_content& commit);
bytes interim_transcript_hash(bytes_view confirmed_hash, bytes_view confirmation_tag);

void encode(encoder& e, const sender& v);
void decode(decoder& d, sender& v);
void encode(encoder& e, const framed_content& v);
void decode(decoder& d, framed_content& v);
void encode(encoder& e, const authenticated_content& v);
void decode(decoder& d, authenticated_content& v);
void encode(encoder& e, const public_message& v);
void decode(decoder& d, public_message& v);
void encode(encoder& e, const private_message& v);
void decode(decoder& d, private_message& v);

/// The body alone, and the data that authenticates it: a PrivateMessage stores both apart
/// from the other fields.
void encode_body(encoder& e, const framed_content& v);
void decode_body(decoder& d, content_type type, framed_content& v);
void encode_auth(encoder& e, const framed_content_auth& v);
void decode_auth(decoder& d, content_type type, framed_content_auth& v);

} // namespace parley::mls

#include "protocol/mls/protection.hpp"

#include <algorithm>
#include <bit>

namespace parley::mls {

namespace {

constexpr std::string_view signature_label = "FramedContentTBS";
constexpr std::size_t content_bytes_max = (1u << 30) - 1 - tag_bytes; ///< the maximum of an opaque v<V>

struct sender_data {
  leaf_index leaf{};
  std::uint32_t generation = 0;
  std::array<std::uint8_t, 4> reuse_guard{};
};

/// FramedContentTBS.
void put_to_be_signed(encoder& e, wire_format format, const framed_content& content,
                      bytes_view encoded_context) {
  e.put(mls10).put(format);
  encode(e, content);
  if (content.sender.type == sender_type::member || content.sender.type == sender_type::new_member_commit)
    e.raw(encoded_context);
}

/// AuthenticatedContentTBM, authenticated with the membership key.
bytes membership_tag(const secret& membership_key, const framed_content& content,
                     const framed_content_auth& auth, bytes_view encoded_context) {
  encoder e;
  put_to_be_signed(e, wire_format::public_message, content, encoded_context);
  encode_auth(e, auth);
  return mac(membership_key.view(), e.out());
}

/// 6.1 and 12.1.8: which sender may send what.
result<void> check_sender(const framed_content& content) {
  const auto* p = content.as<proposal>();
  switch (content.sender.type) {
  case sender_type::member:
    return {};
  case sender_type::external:
    if (!p)
      return refuse(rule::external_not_a_proposal);
    if (!external_sender_may_send(p->type()))
      return refuse(rule::external_proposal_type);
    return {};
  case sender_type::new_member_proposal:
    if (!p || p->type() != proposal_type::add)
      return refuse(rule::new_member_not_an_add);
    return {};
  case sender_type::new_member_commit:
    if (const auto* c = content.as<commit>(); !c)
      return refuse(rule::joiner_not_a_commit);
    else if (!c->path)
      return refuse(rule::joiner_without_path);
    return {};
  }
  return refuse(rule::malformed);
}

/// A Commit must have a confirmation tag; nothing else may have one.
result<void> check_auth(const framed_content& content, const framed_content_auth& auth) {
  if (auth.confirmation_tag.has_value() != (content.type() == content_type::commit))
    return refuse(rule::confirmation_tag_missing);
  return {};
}

result<void> check_public_content(const framed_content& content, const framed_content_auth& auth) {
  if (content.type() == content_type::application)
    return refuse(rule::application_not_encrypted);
  return check_sender(content).and_then([&] { return check_auth(content, auth); });
}

/// 6.1: must be called after check_sender.
const public_key* signature_key(const framed_content& content, const epoch_view& epoch) {
  switch (content.sender.type) {
  case sender_type::member:
  case sender_type::external:
    return epoch.signature_key_of(content.sender);
  case sender_type::new_member_proposal:
    return &content.as<proposal>()->as<add_proposal>()->key_package.leaf_node.signature_key;
  case sender_type::new_member_commit:
    return &content.as<commit>()->path->leaf_node.signature_key;
  }
  return nullptr;
}

result<void> check_place(bytes_view group_id, std::uint64_t epoch_number, const epoch_view& epoch) {
  if (!equal(group_id, epoch.context.group_id))
    return refuse(rule::wrong_group);
  if (epoch_number != epoch.context.epoch)
    return refuse(rule::wrong_epoch);
  return {};
}

result<void> check_signature(wire_format format, const framed_content& content,
                             const framed_content_auth& auth, const epoch_view& epoch) {
  const auto* key = signature_key(content, epoch);
  if (!key)
    return refuse(rule::unknown_sender);
  encoder e{encoder::of_secrets{}}; // plaintext that will be encrypted, or has been decrypted
  put_to_be_signed(e, format, content, epoch.encoded_context);
  return verify_with_label(*key, signature_label, e.out(), auth.signature);
}

ratchet_kind ratchet_for(content_type type) {
  return type == content_type::application ? ratchet_kind::application : ratchet_kind::handshake;
}

/// The nonce of the ratchet with its first bytes XORed with the reuse guard (6.3.1).
secret guarded(bytes_view nonce, const std::array<std::uint8_t, 4>& guard) {
  secret out{nonce};
  for (std::size_t i = 0; i < guard.size(); ++i)
    out.mutable_view()[i] ^= guard[i];
  return out;
}

/// SenderDataAAD.
bytes sender_data_aad(const private_message& m) {
  encoder e;
  e.opaque(m.group_id).put(m.epoch).put(m.type);
  return std::move(e).out();
}

/// PrivateContentAAD.
bytes content_aad(const private_message& m) {
  encoder e;
  e.opaque(m.group_id).put(m.epoch).put(m.type).opaque(m.authenticated_data);
  return std::move(e).out();
}

/// PrivateMessageContent with padding.
secret plaintext_of(const authenticated_content& in, padding how) {
  encoder e{encoder::of_secrets{}};
  if (const auto* data = in.content.as<application_data>())
    e.reserve(padded_size(data->data.size() + signature_bytes + 8, how));
  encode_body(e, in.content);
  encode_auth(e, in.auth);
  const bytes zeros(padded_size(e.out().size(), how) - e.out().size());
  e.raw(zeros);
  return take_secret(std::move(e));
}

result<sender_data> open_sender_data(const private_message& m, const secret& sender_data_secret) {
  const auto keys = sender_data_keys_of(sender_data_secret, m.ciphertext);
  const auto plain =
      aead_open(keys.key.view(), keys.nonce.view(), sender_data_aad(m), m.encrypted_sender_data);
  if (!plain)
    return tl::unexpected(plain.error());
  decoder d{plain->view()};
  sender_data out{.leaf = d.get<leaf_index>(), .generation = d.get<std::uint32_t>()};
  std::ranges::copy(d.raw(out.reuse_guard.size()), out.reuse_guard.begin());
  if (!d.done())
    return refuse(rule::malformed);
  return out;
}

result<authenticated_content> content_of(const private_message& m, leaf_index from, bytes_view plaintext) {
  authenticated_content out{.wire_format = wire_format::private_message};
  out.content.group_id = m.group_id;
  out.content.epoch = m.epoch;
  out.content.sender = sender::member(from);
  out.content.authenticated_data = m.authenticated_data;
  decoder d{plaintext};
  decode_body(d, m.type, out.content);
  decode_auth(d, m.type, out.auth);
  if (!d.ok())
    return refuse(rule::malformed);
  if (std::ranges::any_of(d.rest(), [](auto b) { return b != 0; }))
    return refuse(rule::padding_not_zero);
  return out;
}

} // namespace

authenticated_content sign_content(wire_format format, framed_content content, const signature_key_pair& key,
                                   bytes_view encoded_context) {
  encoder e{encoder::of_secrets{}};
  put_to_be_signed(e, format, content, encoded_context);
  return {format, std::move(content), {.signature = sign_with_label(key, signature_label, e.out())}};
}

result<public_message> protect_public(authenticated_content content, const secret& membership_key,
                                      bytes_view encoded_context) {
  if (content.wire_format != wire_format::public_message)
    return refuse(rule::malformed);
  if (const auto fit = check_public_content(content.content, content.auth); !fit)
    return tl::unexpected(fit.error());
  public_message out{std::move(content.content), std::move(content.auth), {}};
  if (out.content.sender.type == sender_type::member)
    out.membership_tag = membership_tag(membership_key, out.content, out.auth, encoded_context);
  return out;
}

result<void> check_public(const public_message& message, const epoch_view& epoch) {
  const auto& content = message.content;
  return check_place(content.group_id, content.epoch, epoch)
      .and_then([&] { return check_public_content(content, message.auth); })
      .and_then([&] { return check_signature(wire_format::public_message, content, message.auth, epoch); });
}

result<authenticated_content> unprotect_public(public_message message, const secret& membership_key,
                                               const epoch_view& epoch) {
  const auto& content = message.content;
  if (const auto fit = check_place(content.group_id, content.epoch, epoch); !fit)
    return tl::unexpected(fit.error());
  // The cheap check comes first; only members can pass it.
  if (content.sender.type == sender_type::member &&
      !equal_in_constant_time(membership_tag(membership_key, content, message.auth, epoch.encoded_context),
                              message.membership_tag))
    return refuse(rule::wrong_membership_tag);
  if (const auto fit = check_public(message, epoch); !fit)
    return tl::unexpected(fit.error());
  return authenticated_content{wire_format::public_message, std::move(message.content),
                               std::move(message.auth)};
}

std::size_t padded_size(std::size_t content_size, padding how) {
  constexpr std::size_t smallest = 256;
  if (how == padding::none)
    return content_size;
  if (content_size <= smallest)
    return smallest;
  const auto step = std::bit_floor(content_size - 1) / 4;
  return (content_size + step - 1) / step * step;
}

sender_data_keys sender_data_keys_of(const secret& sender_data_secret, bytes_view ciphertext) {
  const auto sample = ciphertext.first(std::min(hash_bytes, ciphertext.size()));
  return {expand_with_label(sender_data_secret.view(), "key", sample, key_bytes),
          expand_with_label(sender_data_secret.view(), "nonce", sample, nonce_bytes)};
}

result<private_message> protect_private(const authenticated_content& in, const secret& sender_data_secret,
                                        secret_tree& keys, padding how, const random_source& random) {
  const auto& content = in.content;
  if (in.wire_format != wire_format::private_message)
    return refuse(rule::malformed);
  if (content.sender.type != sender_type::member)
    return refuse(rule::sender_not_a_member);
  if (const auto fit = check_auth(content, in.auth); !fit)
    return tl::unexpected(fit.error());
  const auto plaintext = plaintext_of(in, how);
  if (plaintext.size() > content_bytes_max)
    return refuse(rule::too_large);

  const auto key = keys.next(content.sender.leaf(), ratchet_for(content.type()));
  if (!key)
    return tl::unexpected(key.error());
  sender_data from{.leaf = content.sender.leaf(), .generation = key->generation};
  random(from.reuse_guard);

  private_message out{.group_id = content.group_id,
                      .epoch = content.epoch,
                      .type = content.type(),
                      .authenticated_data = content.authenticated_data};
  out.ciphertext = aead_seal(key->key.view(), guarded(key->nonce.view(), from.reuse_guard).view(),
                             content_aad(out), plaintext.view());
  encoder e; // SenderData
  e.put(from.leaf).put(from.generation).raw(from.reuse_guard);
  const auto by = sender_data_keys_of(sender_data_secret, out.ciphertext);
  out.encrypted_sender_data = aead_seal(by.key.view(), by.nonce.view(), sender_data_aad(out), e.out());
  return out;
}

result<unprotected_private> unprotect_private(const private_message& message,
                                              const secret& sender_data_secret, secret_tree& keys,
                                              const epoch_view& epoch) {
  if (const auto fit = check_place(message.group_id, message.epoch, epoch); !fit)
    return tl::unexpected(fit.error());
  const auto from = open_sender_data(message, sender_data_secret);
  if (!from)
    return tl::unexpected(from.error());
  // 6.3.2: checked before any key is derived for a blank leaf.
  if (!epoch.signature_key_of(sender::member(from->leaf)))
    return refuse(rule::unknown_sender);
  auto key = keys.find(from->leaf, ratchet_for(message.type), from->generation);
  if (!key)
    return tl::unexpected(key.error());
  const auto plaintext =
      aead_open(key->key.key.view(), guarded(key->key.nonce.view(), from->reuse_guard).view(),
                content_aad(message), message.ciphertext);
  if (!plaintext)
    return tl::unexpected(plaintext.error());
  auto out = content_of(message, from->leaf, plaintext->view());
  if (!out)
    return tl::unexpected(out.error());
  // Every member of the group can encrypt with this key, but only the sender can sign. Another member
  // must not be able to make us delete the key before the sender's own message arrives.
  if (const auto fit = check_signature(wire_format::private_message, out->content, out->auth, epoch); !fit)
    return tl::unexpected(fit.error());
  return unprotected_private{std::move(*out), std::move(*key)};
}

} // namespace parley::mls

#pragma once
// A group reduced to what messages need: two leaves with keys, one of which may be blank, an external
// sender, and the secrets of one epoch.
#include "protocol/mls/message.hpp"
#include "protocol/mls/protection.hpp"

#include <algorithm>
#include <array>

namespace parley::mls {

/// The same bytes in every run, and different bytes at each call.
inline random_source counted_random(std::uint8_t seed = 1) {
  return [seed, n = std::uint32_t{0}](std::span<std::uint8_t> out) mutable {
    const bytes key{seed, static_cast<std::uint8_t>(n >> 8), static_cast<std::uint8_t>(n)};
    ++n;
    std::ranges::copy(kdf_expand(key, {}, out.size()).view(), out.begin());
  };
}

inline bytes text(std::string_view v) {
  return to_bytes(view_of(v));
}

inline rule broken(const auto& r) {
  return r ? rule::none : r.error().broken;
}

struct spoken {
  static constexpr leaf_index alice{0}, bob{1}, nobody{2};

  random_source random = counted_random();
  std::array<signature_key_pair, 2> signers{make_signature_key(random), make_signature_key(random)};
  std::array<public_key, 2> keys_of_members{public_key_of(signers[0].public_key),
                                            public_key_of(signers[1].public_key)};
  signature_key_pair outsider = make_signature_key(random);
  public_key outsider_key = public_key_of(outsider.public_key);
  group_context context{.group_id = text("group"), .epoch = 7, .tree_hash = bytes(32, 1)};
  bytes encoded_context = encoded(context);
  epoch_secrets secrets = derive_from_epoch_secret(secret{bytes(32, 9)});
  bytes tag = confirmation_tag(secrets.confirmation_key, context.confirmed_transcript_hash);

  secret_tree keys(std::uint32_t leaves = 4) const { return {secrets.encryption.copy(), leaves}; }
  epoch_view view() const {
    return {context, encoded_context, [this](const sender& from) -> const public_key* {
              if (from.type == sender_type::external)
                return from.index == 0 ? &outsider_key : nullptr;
              return from.index < keys_of_members.size() ? &keys_of_members[from.index] : nullptr;
            }};
  }

  framed_content content(decltype(framed_content::body) body, sender from = sender::member(alice)) const {
    return {context.group_id, context.epoch, from, text("seen by all"), std::move(body)};
  }
  framed_content said(std::string_view what) const { return content(application_data{text(what)}); }
  authenticated_content signed_by(const signature_key_pair& key, framed_content c,
                                  wire_format format = wire_format::public_message) const {
    auto out = sign_content(format, std::move(c), key, encoded_context);
    if (out.content.type() == content_type::commit)
      out.auth.confirmation_tag = tag;
    return out;
  }
  authenticated_content by_alice(framed_content c, wire_format format = wire_format::public_message) const {
    return signed_by(signers[0], std::move(c), format);
  }
  public_message in_public(framed_content c) const {
    return protect_public(by_alice(std::move(c)), secrets.membership_key, encoded_context).value();
  }
  private_message in_private(secret_tree& sending, framed_content c, padding how = padding::none) {
    return protect_private(by_alice(std::move(c), wire_format::private_message), secrets.sender_data, sending,
                           how, random)
        .value();
  }
  result<authenticated_content> open(const public_message& m) const {
    return unprotect_public(m, secrets.membership_key, view());
  }
  /// Opens a message like a member that accepts everything authentic.
  result<authenticated_content> open(const private_message& m, secret_tree& receiving) const {
    auto opened = unprotect_private(m, secrets.sender_data, receiving, view());
    if (!opened)
      return tl::unexpected(opened.error());
    receiving.consume(std::move(opened->key));
    return std::move(opened->content);
  }

  /// A leaf with this signature key, as in a path or a key package.
  leaf_node leaf_of(const signature_key_pair& key) {
    leaf_node out{.encryption_key = public_key_of(make_hpke_key(random).public_key),
                  .signature_key = public_key_of(key.public_key),
                  .credential = {.identity = text("carol")},
                  .capabilities = own_capabilities()};
    sign(out, key, {});
    return out;
  }
  key_package package_of(const signature_key_pair& key) {
    key_package out{.init_key = public_key_of(make_hpke_key(random).public_key), .leaf_node = leaf_of(key)};
    sign(out, key);
    return out;
  }
  commit commit_with_path(const signature_key_pair& key) {
    auto leaf = leaf_of(key);
    leaf.source = leaf_node_source::commit;
    sign(leaf, key, {context.group_id, nobody});
    return {.path = update_path{.leaf_node = std::move(leaf)}};
  }
};

inline proposal removal() {
  return {remove_proposal{leaf_index{1}}};
}

} // namespace parley::mls

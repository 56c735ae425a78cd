#include "protocol/mls/message.hpp"
#include "protocol/mls/protection.hpp"
#include "protocol/mls/ratchet_tree.hpp"
#include "tests/protocol/mls/vectors.hpp"

namespace parley::mls::vectors {

namespace {

template <class T>
T decoded(bytes_view in, const std::string& what) {
  auto v = taken(whole<T>(in), what);
  expect_equal(encoded(v), in, what + ", encoded again,");
  return v;
}

template <class T>
T message_of(const json& one, const char* key) {
  auto m = decoded<mls_message>(hex(one, key), key);
  expect(m.as<T>() != nullptr, std::string{key} + " is another kind of message");
  return std::get<T>(std::move(m.body));
}

void check_messages(const json& one) {
  message_of<welcome>(one, "mls_welcome");
  message_of<group_info>(one, "mls_group_info");
  message_of<key_package>(one, "mls_key_package");
  const auto tree = hex(one, "ratchet_tree");
  expect_equal(taken(ratchet_tree::decoded(tree), "the ratchet tree").encoded(), tree, "the ratchet tree");
  decoded<group_secrets>(hex(one, "group_secrets"), "group_secrets");
  decoded<add_proposal>(hex(one, "add_proposal"), "add_proposal");
  decoded<update_proposal>(hex(one, "update_proposal"), "update_proposal");
  decoded<remove_proposal>(hex(one, "remove_proposal"), "remove_proposal");
  decoded<psk_proposal>(hex(one, "pre_shared_key_proposal"), "pre_shared_key_proposal");
  decoded<reinit_proposal>(hex(one, "re_init_proposal"), "re_init_proposal");
  decoded<external_init_proposal>(hex(one, "external_init_proposal"), "external_init_proposal");
  decoded<group_context_extensions_proposal>(hex(one, "group_context_extensions_proposal"),
                                             "group_context_extensions_proposal");
  decoded<commit>(hex(one, "commit"), "commit");
  const auto type_of = [&](const char* key) { return message_of<public_message>(one, key).content.type(); };
  expect(type_of("public_message_application") == content_type::application, "not application data");
  expect(type_of("public_message_proposal") == content_type::proposal, "not a proposal");
  expect(type_of("public_message_commit") == content_type::commit, "not a commit");
  message_of<private_message>(one, "private_message");
}

void check_transcript_hashes(const json& one) {
  const auto content = decoded<authenticated_content>(hex(one, "authenticated_content"), "the content");
  expect(content.content.type() == content_type::commit, "the content is no commit");
  const auto confirmed = confirmed_transcript_hash(hex(one, "interim_transcript_hash_before"), content);
  expect_equal(confirmed, hex(one, "confirmed_transcript_hash_after"), "the confirmed transcript hash");
  const auto& tag = *content.auth.confirmation_tag;
  taken(check_confirmation_tag(secret{hex(one, "confirmation_key")}, confirmed, tag), "the confirmation tag");
  expect_equal(interim_transcript_hash(confirmed, tag), hex(one, "interim_transcript_hash_after"),
               "the interim transcript hash");
}

/// The group of a case: two leaves, of which the second one sends.
struct protected_group {
  explicit protected_group(const json& one)
      : context{.group_id = hex(one, "group_id"),
                .epoch = one.at("epoch").get<std::uint64_t>(),
                .tree_hash = hex(one, "tree_hash"),
                .confirmed_transcript_hash = hex(one, "confirmed_transcript_hash")},
        signer{taken(signature_key_from_private(hex(one, "signature_priv")), "the signature key")},
        key{public_key_of(hex(one, "signature_pub"))}, membership_key{hex(one, "membership_key")},
        sender_data_secret{hex(one, "sender_data_secret")}, encryption_secret{hex(one, "encryption_secret")} {
  }

  secret_tree keys() const { return {encryption_secret.copy(), 2}; }
  epoch_view view() const {
    return {context, encoded_context,
            [this](const sender& from) { return from == sender::member(leaf_index{1}) ? &key : nullptr; }};
  }
  authenticated_content authenticated(wire_format format, bytes_view raw, content_type type) const {
    framed_content content{
        .group_id = context.group_id, .epoch = context.epoch, .sender = sender::member(leaf_index{1})};
    if (type == content_type::application) {
      content.body = application_data{to_bytes(raw)};
    } else {
      decoder d{raw};
      decode_body(d, type, content);
      expect(d.done(), "the raw content does not decode");
    }
    auto out = sign_content(format, std::move(content), signer, encoded_context);
    if (type == content_type::commit) // any tag will do, because no epoch confirms it
      out.auth.confirmation_tag = bytes(hash_bytes, 7);
    return out;
  }

  group_context context;
  bytes encoded_context = encoded(context);
  signature_key_pair signer;
  public_key key;
  secret membership_key, sender_data_secret, encryption_secret;
};

bytes body_of(const authenticated_content& in) {
  if (const auto* data = in.content.as<application_data>())
    return data->data;
  encoder e;
  encode_body(e, in.content);
  return std::move(e).out();
}

void check_public(const protected_group& g, const json& one, const std::string& name, content_type type) {
  const auto raw = hex(one, name.c_str());
  const auto theirs = message_of<public_message>(one, (name + "_pub").c_str());
  const auto opened = taken(unprotect_public(theirs, g.membership_key, g.view()), name + "_pub");
  expect_equal(body_of(opened), raw, name + "_pub");
  const auto ours = taken(protect_public(g.authenticated(wire_format::public_message, raw, type),
                                         g.membership_key, g.encoded_context),
                          "protecting " + name);
  const auto again = taken(unprotect_public(ours, g.membership_key, g.view()), "our " + name);
  expect_equal(body_of(again), raw, "our " + name);
}

void check_private(const protected_group& g, const json& one, const std::string& name, content_type type) {
  const auto raw = hex(one, name.c_str());
  const auto theirs = message_of<private_message>(one, (name + "_priv").c_str());
  auto keys = g.keys();
  const auto opened = taken(unprotect_private(theirs, g.sender_data_secret, keys, g.view()), name + "_priv");
  expect_equal(body_of(opened.content), raw, name + "_priv");
  for (const auto how : {padding::none, padding::size_classes}) {
    auto sending = g.keys();
    auto receiving = g.keys();
    const auto ours = taken(protect_private(g.authenticated(wire_format::private_message, raw, type),
                                            g.sender_data_secret, sending, how, counting_random()),
                            "protecting " + name);
    const auto again =
        taken(unprotect_private(ours, g.sender_data_secret, receiving, g.view()), "our " + name);
    expect_equal(body_of(again.content), raw, "our " + name);
  }
}

void check_message_protection(const json& one) {
  const protected_group g{one};
  expect_equal(g.signer.public_key, hex(one, "signature_pub"), "the public signature key");
  check_public(g, one, "proposal", content_type::proposal);
  check_public(g, one, "commit", content_type::commit);
  check_private(g, one, "proposal", content_type::proposal);
  check_private(g, one, "commit", content_type::commit);
  check_private(g, one, "application", content_type::application);
  const auto raw = hex(one, "application");
  const auto wrongly =
      protect_public(g.authenticated(wire_format::public_message, raw, content_type::application),
                     g.membership_key, g.encoded_context);
  expect(!wrongly && wrongly.error().broken == rule::application_not_encrypted,
         "application data was not refused in the open");
}

void check_welcome(const json& one) {
  const auto package = message_of<key_package>(one, "key_package");
  const auto received = message_of<welcome>(one, "welcome");
  const auto init_key = taken(hpke_key_from_private(hex(one, "init_priv")), "the init key");
  expect_equal(init_key.public_key, package.init_key, "the init key");
  const auto secrets =
      taken(open_group_secrets(received, key_package_ref(package), init_key), "the group secrets");
  const auto no_psk = taken(psk_secret({}), "no pre-shared key");
  const auto info = taken(
      open_group_info(received.encrypted_group_info, derive_welcome_secret(secrets.joiner_secret, no_psk)),
      "the group info");
  taken(verify_signature(info, public_key_of(hex(one, "signer_pub"))), "the signature of the group info");
  const auto epoch = derive_epoch(secrets.joiner_secret, no_psk, encoded(info.context));
  taken(check_confirmation_tag(epoch.confirmation_key, info.context.confirmed_transcript_hash,
                               info.confirmation_tag),
        "the confirmation tag");
}

} // namespace

std::vector<kind> message_kinds() {
  return {
      {"messages", {"mls_welcome", "mls_group_info"}, check_messages},
      {"transcript-hashes", {"interim_transcript_hash_before"}, check_transcript_hashes},
      {"message-protection", {"proposal_pub", "application_priv"}, check_message_protection},
      {"welcome", {"signer_pub", "welcome"}, check_welcome},
  };
}

} // namespace parley::mls::vectors

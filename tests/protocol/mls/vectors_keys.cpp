#include "protocol/mls/protection.hpp"
#include "protocol/mls/psk.hpp"
#include "protocol/mls/secret_tree.hpp"
#include "tests/protocol/mls/vectors.hpp"

namespace parley::mls::vectors {

namespace {

void check_exporter(const json& one, const epoch_secrets& epoch) {
  const auto label = text(one, "label");
  const auto out =
      taken(export_secret(epoch.exporter, label, hex(one, "context"), one.at("length").get<std::size_t>()),
            "exporting");
  expect_equal(out.view(), hex(one, "secret"), "the exported secret");
}

void check_key_schedule(const json& one) {
  group_context context{.group_id = hex(one, "group_id")};
  secret init{hex(one, "initial_init_secret")};
  for (const auto& e : one.at("epochs")) {
    context.tree_hash = hex(e, "tree_hash");
    context.confirmed_transcript_hash = hex(e, "confirmed_transcript_hash");
    const auto encoded_context = encoded(context);
    expect_equal(encoded_context, hex(e, "group_context"), "the group context");
    expect(taken(whole<group_context>(encoded_context), "the group context") == context,
           "the decoded group context differs");

    const auto joiner = derive_joiner_secret(init, secret{hex(e, "commit_secret")}, encoded_context);
    const secret psk{hex(e, "psk_secret")};
    auto epoch = derive_epoch(joiner, psk, encoded_context);
    expect_equal(joiner.view(), hex(e, "joiner_secret"), "joiner_secret");
    expect_equal(derive_welcome_secret(joiner, psk).view(), hex(e, "welcome_secret"), "welcome_secret");
    expect_equal(epoch.init.view(), hex(e, "init_secret"), "init_secret");
    expect_equal(epoch.sender_data.view(), hex(e, "sender_data_secret"), "sender_data_secret");
    expect_equal(epoch.encryption.view(), hex(e, "encryption_secret"), "encryption_secret");
    expect_equal(epoch.exporter.view(), hex(e, "exporter_secret"), "exporter_secret");
    expect_equal(epoch.epoch_authenticator.view(), hex(e, "epoch_authenticator"), "epoch_authenticator");
    expect_equal(epoch.external.view(), hex(e, "external_secret"), "external_secret");
    expect_equal(epoch.confirmation_key.view(), hex(e, "confirmation_key"), "confirmation_key");
    expect_equal(epoch.membership_key.view(), hex(e, "membership_key"), "membership_key");
    expect_equal(epoch.resumption_psk.view(), hex(e, "resumption_psk"), "resumption_psk");
    expect_equal(external_key_pair(epoch.external).public_key, hex(e, "external_pub"), "external_pub");
    check_exporter(e.at("exporter"), epoch);

    init = std::move(epoch.init);
    ++context.epoch;
  }
}

void check_psk_secret(const json& one) {
  std::vector<pre_shared_key> keys;
  for (const auto& p : one.at("psks"))
    keys.push_back({{.id = hex(p, "psk_id"), .nonce = hex(p, "psk_nonce")}, secret{hex(p, "psk")}});
  expect_equal(taken(psk_secret(keys), "combining").view(), hex(one, "psk_secret"), "psk_secret");
}

void check_sender_data(const json& one) {
  const secret from{hex(one, "sender_data_secret")};
  const auto keys = sender_data_keys_of(from, hex(one, "ciphertext"));
  expect_equal(keys.key.view(), hex(one, "key"), "the key of the sender data");
  expect_equal(keys.nonce.view(), hex(one, "nonce"), "the nonce of the sender data");
}

void check_key(secret_tree& tree, leaf_index leaf, ratchet_kind kind, const json& one, const char* key,
               const char* nonce) {
  const auto generation = one.at("generation").get<std::uint32_t>();
  auto found = taken(tree.find(leaf, kind, generation), "the generation");
  expect_equal(found.key.key.view(), hex(one, key), key);
  expect_equal(found.key.nonce.view(), hex(one, nonce), nonce);
  tree.consume(std::move(found));
  expect(!tree.find(leaf, kind, generation), "a used key is still there");
}

void check_secret_tree(const json& one) {
  check_sender_data(one.at("sender_data"));
  const auto& leaves = one.at("leaves");
  secret_tree tree{secret{hex(one, "encryption_secret")}, static_cast<std::uint32_t>(leaves.size())};
  for (std::uint32_t i = 0; i < leaves.size(); ++i)
    for (const auto& generation : leaves[i]) {
      check_key(tree, leaf_index{i}, ratchet_kind::handshake, generation, "handshake_key", "handshake_nonce");
      check_key(tree, leaf_index{i}, ratchet_kind::application, generation, "application_key",
                "application_nonce");
    }
}

} // namespace

std::vector<kind> keys_kinds() {
  return {
      {"key-schedule", {"initial_init_secret", "epochs"}, check_key_schedule},
      {"psk_secret", {"psks", "psk_secret"}, check_psk_secret},
      {"secret-tree", {"encryption_secret", "leaves", "sender_data"}, check_secret_tree},
  };
}

} // namespace parley::mls::vectors

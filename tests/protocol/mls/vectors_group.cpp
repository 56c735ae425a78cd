// passive-client-welcome, passive-client-handling-commit, passive-client-random, and recorded runs
// in the same format.
#include "protocol/mls/group.hpp"
#include "tests/protocol/mls/vectors.hpp"

namespace parley::mls::vectors {

namespace {

/// Accepts everyone, because the members of a vector have no known identities.
struct anybody final : credential_policy {
  result<void> accept(const presented_credential&) const override { return {}; }
  result<void> accept_successor(const credential&, const credential&) const override { return {}; }
};

key_package key_package_of(const json& one) {
  const auto in = hex(one, "key_package");
  if (auto message = read_message(in); message && message->as<key_package>())
    return *message->as<key_package>();
  return taken(whole<key_package>(in), "the key package");
}

std::optional<secret> psk_of(const json& one, const pre_shared_key_id& id) {
  for (const auto& psk : one.at("external_psks"))
    if (id.type == psk_type::external && equal(id.id, hex(psk, "psk_id")))
      return secret{hex(psk, "psk")};
  return std::nullopt;
}

pending_commit commit_of(group& g, bytes_view message, const surroundings& s) {
  auto heard = taken(g.receive(message, s), "the commit");
  if (auto* pending = std::get_if<pending_commit>(&heard))
    return std::move(*pending);
  throw wrong{"the commit is none"};
}

void check_passive_client(const json& one) {
  own_key_package own{key_package_of(one), taken(hpke_key_from_private(hex(one, "init_priv")), "init_priv"),
                      taken(hpke_key_from_private(hex(one, "encryption_priv")), "encryption_priv")};
  const auto& leaf = own.package.leaf_node;
  expect_equal(own.init_key.public_key, own.package.init_key, "the init key");
  expect_equal(own.leaf_key.public_key, leaf.encryption_key, "the encryption key");
  client_identity who{{secret{hex(one, "signature_priv")}, to_bytes(leaf.signature_key)},
                      leaf.credential,
                      leaf.capabilities,
                      leaf.extensions};
  taken(verify_with_label(leaf.signature_key, "test", view_of("test"),
                          sign_with_label(who.signer, "test", view_of("test"))),
        "what the signature key signs");

  const anybody policy;
  const auto random = counting_random();
  const surroundings s{policy, random, 1'700'000'000, [&](const auto& id) { return psk_of(one, id); }, ~0ull};
  const bool is_apart = one.contains("ratchet_tree") && !one.at("ratchet_tree").is_null();
  const auto tree = is_apart ? hex(one, "ratchet_tree") : bytes{};
  auto g = taken(group::join(hex(one, "welcome"), own, std::move(who),
                             is_apart ? std::optional<bytes_view>{tree} : std::nullopt, s, {}),
                 "the Welcome");
  expect_equal(g.epoch_authenticator(), hex(one, "initial_epoch_authenticator"),
               "initial_epoch_authenticator");
  std::size_t n = 0;
  for (const auto& epoch : one.at("epochs")) {
    const auto where = "epoch " + std::to_string(++n);
    for (const auto& p : epoch.at("proposals"))
      taken(g.receive(from_hex(p.get<std::string>()), s), where + ": a proposal");
    auto pending = commit_of(g, hex(epoch, "commit"), s);
    taken(g.confirm(std::move(pending)), where + ": confirming");
    expect_equal(g.epoch_authenticator(), hex(epoch, "epoch_authenticator"), where + ": epoch_authenticator");
  }
}

} // namespace

std::vector<kind> group_kinds() {
  return {{"passive-client", {"initial_epoch_authenticator", "epochs"}, check_passive_client}};
}

} // namespace parley::mls::vectors

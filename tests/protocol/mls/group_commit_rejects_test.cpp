// Commits that must be refused (RFC 9420, sections 12.4 to 12.4.2).
#include "tests/protocol/mls/group_forger.hpp"

namespace parley::mls::test {
namespace {

// --- 12.4: whether there is a path

TEST_CASE("12.4: a commit that needs a path and has none is refused") {
  room r{4};
  forger f{r};
  const auto without_path = [&](std::vector<proposal_or_ref> list) {
    return f.with_commit([&](commit& c) {
      c.proposals = list;
      c.path.reset();
    });
  };
  f.check(without_path({}), rule::commit_without_path);
  f.check(without_path({{removal_of(2)}}), rule::commit_without_path);
  f.check(without_path({{r.invite("dora").add()}, {removal_of(2)}}), rule::commit_without_path);
  f.check(without_path({{proposal{group_context_extensions_proposal{}}}}), rule::commit_without_path);
  const auto update = r.proposed(2, taken(r[2].propose_update(r.s)));
  f.check(without_path({{update}}), rule::commit_without_path);
}

// --- 12.4.2: processing a commit

TEST_CASE("12.4.2: a commit of another epoch, earlier or later, is refused") {
  room r{3};
  forger f{r};
  f.check(f.changed([](auto& c) { --c.epoch; }), rule::wrong_epoch);
  f.check(f.changed([](auto& c) { ++c.epoch; }), rule::wrong_epoch);
  f.check(f.changed([](auto& c) { c.group_id = text("another"); }), rule::wrong_group);
  auto old_one = r.commit(0);
  r.concluded(1);
  CHECK(broken(r[2].receive(old_one.commit, r.s)) == rule::wrong_epoch);
}

TEST_CASE("12.4.2: a commit with a wrong membership tag, or with none, is refused") {
  room r{3};
  forger f{r};
  auto message = opened(f.good.commit);
  message.membership_tag[0] ^= 1;
  f.check(encoded(mls_message{message}), rule::wrong_membership_tag);
  message.membership_tag.clear();
  f.check(encoded(mls_message{message}), rule::wrong_membership_tag);
}

TEST_CASE("12.4.2: a commit that another member signed is refused") {
  room r{3};
  forger f{r};
  auto message = opened(f.good.commit);
  f.check(sent_by(r[2], message.content, message.auth.confirmation_tag), rule::bad_signature);
  f.check(f.changed([](auto& c) { c.sender.index = 2; }), rule::bad_signature);
  f.check(f.changed([](auto& c) { c.sender.index = 7; }), rule::unknown_sender);
}

TEST_CASE("12.4.2: a commit with a wrong confirmation tag, or with none, is refused") {
  room r{3};
  forger f{r};
  auto message = opened(f.good.commit);
  auto tag = *message.auth.confirmation_tag;
  tag[31] ^= 1;
  f.check(sent_by(r[0], message.content, tag), rule::wrong_confirmation_tag);
  f.check(sent_by(r[0], message.content, bytes{}), rule::wrong_confirmation_tag);
  // A newly signed commit has another transcript only if its content differs.
  f.check(f.changed([](auto& c) { c.authenticated_data = text("more"); }), rule::wrong_confirmation_tag);
}

TEST_CASE("12.4.2: a commit that refers to a proposal that was not received is refused") {
  room r{3};
  forger f{r};
  f.check(f.with_list({{proposal_ref{bytes(32, 7)}}}), rule::unknown_proposal);
  // The proposal was received in an epoch that has ended.
  const auto ref = r.proposed(2, removal_of(1));
  auto skips = taken(r[0].commit({.cover_received = false}, r.s));
  r.conclude(0, skips);
  forger later{r};
  later.check(later.with_list({{ref}}), rule::unknown_proposal);
}

TEST_CASE("12.4.2: a commit with a pre-shared key that is not held is refused") {
  room r{3};
  forger f{r};
  const proposal unknown{psk_proposal{external_psk(text("nobody knows"), r.random)}};
  CHECK(broken(r[0].commit({.proposals = {unknown}}, r.s)) == rule::psk_unknown);
  r.psks["nobody knows"] = text("but one");
  auto made = r.commit(0, {unknown});
  r.psks.clear();
  f.check(made.commit, rule::psk_unknown);
  r.psks["nobody knows"] = text("and that one is wrong");
  f.check(made.commit, rule::wrong_confirmation_tag);
}

TEST_CASE("12.4.2: a path whose leaf breaks 7.3 is refused") {
  room r{4};
  forger f{r};
  const auto& tree = state_of(r[0]).now.tree;
  const auto key_of = [&](std::uint32_t leaf) { return tree.encryption_key(to_node(leaf_index{leaf})); };
  f.check(f.with_leaf([](auto& l) { l.source = leaf_node_source::update; }), rule::leaf_wrong_source);
  f.check(f.with_leaf([](auto& l) {
    l.source = leaf_node_source::key_package;
    l.lifetime = {now - day, now + day};
  }),
          rule::leaf_wrong_source);
  f.check(f.with_leaf([&](auto& l) { l.encryption_key = key_of(0); }), rule::leaf_key_not_fresh);
  f.check(f.with_leaf([](auto& l) { l.credential.identity = text("somebody else"); }),
          rule::credential_not_a_successor);
  f.check(f.with_leaf([](auto& l) { l.capabilities.cipher_suites = {2}; }), rule::leaf_lacks_cipher_suite);
  f.check(f.with_leaf([](auto& l) {
    l.extensions = {{extension_type{0xf001}, {}}};
  }),
          rule::leaf_lacks_own_extension);
  f.check(f.with_path([](auto& p) { p.leaf_node.signature[3] ^= 1; }), rule::leaf_bad_signature);
  f.check(f.with_path([&](auto& p) {
    sign(p.leaf_node, state_of(r[0]).identity.signer, {r[0].id(), leaf_index{1}});
  }),
          rule::leaf_bad_signature);
  f.check(f.with_path([&](auto& p) {
    const auto& other = state_of(r[2]).identity.signer;
    p.leaf_node.signature_key = public_key_of(other.public_key);
    sign(p.leaf_node, other, {r[0].id(), leaf_index{0}});
  }),
          rule::duplicate_signature_key);
}

TEST_CASE("12.4.2: a path with a key that is in the tree, or twice in the path, is refused") {
  room r{4};
  for (std::size_t by = 0; by < 4; ++by)
    r.concluded(by);
  forger f{r};
  const auto& tree = state_of(r[0]).now.tree;
  f.check(
      f.with_path([&](auto& p) { p.nodes[0].encryption_key = tree.encryption_key(to_node(leaf_index{3})); }),
      rule::path_key_in_use);
  f.check(f.with_path([&](auto& p) { p.nodes[1].encryption_key = tree.encryption_key(node_index{5}); }),
          rule::path_key_in_use);
  f.check(f.with_path([](auto& p) { p.nodes[1].encryption_key = p.nodes[0].encryption_key; }),
          rule::path_key_in_use);
  f.check(f.with_path([](auto& p) { p.nodes[1].encryption_key = p.leaf_node.encryption_key; }),
          rule::path_key_in_use);
  f.check(f.with_leaf([&](auto& l) { l.encryption_key = tree.encryption_key(to_node(leaf_index{3})); }),
          rule::path_key_in_use);
}

TEST_CASE("12.4.2 and 7.9.2: a path with a wrong parent hash is refused") {
  room r{4};
  forger f{r};
  f.check(f.with_leaf([](auto& l) { l.parent_hash[0] ^= 1; }), rule::path_wrong_parent_hash);
  f.check(f.with_leaf([](auto& l) { l.parent_hash.clear(); }), rule::path_wrong_parent_hash);
  f.check(f.with_path([&](auto& p) {
    p.nodes.back().encryption_key = public_key_of(make_hpke_key(r.random).public_key);
  }),
          rule::path_wrong_parent_hash);
}

TEST_CASE("12.4.2 and 7.6: a path of another shape than the tree's is refused") {
  room r{4};
  forger f{r};
  f.check(f.with_path([](auto& p) { p.nodes.pop_back(); }), rule::path_wrong_length);
  f.check(f.with_path([](auto& p) { p.nodes.clear(); }), rule::path_wrong_length);
  f.check(f.with_path([](auto& p) { p.nodes.push_back(p.nodes.back()); }), rule::path_wrong_length);
  f.check(f.with_path([](auto& p) { p.nodes[0].encrypted_path_secret.pop_back(); }),
          rule::path_wrong_ciphertexts);
  f.check(f.with_path([](auto& p) {
    auto& secrets = p.nodes[1].encrypted_path_secret;
    secrets.push_back(secrets.back());
  }),
          rule::path_wrong_ciphertexts);
}

TEST_CASE(
    "12.4.2: a path secret that cannot be decrypted is refused by the members to whom it was encrypted") {
  room r{4};
  for (std::size_t by = 0; by < 4; ++by)
    r.concluded(by);
  forger f{r};
  const auto bad = f.with_path([](auto& p) { p.nodes[0].encrypted_path_secret[0].ciphertext[4] ^= 1; });
  f.check(bad, rule::cannot_open, 1);
  f.check(bad, rule::wrong_confirmation_tag, 2); // it reads another part of the path
  f.check(f.with_path([](auto& p) { p.nodes[1].encrypted_path_secret[0].kem_output[4] ^= 1; }),
          rule::cannot_open, 3);
  f.check(f.with_path([](auto& p) { p.nodes[1].encrypted_path_secret[0].kem_output.pop_back(); }),
          rule::bad_key, 3);
}

TEST_CASE("12.4.2 and 7.5: a path secret that does not give the key in the path is refused") {
  room r{2};
  forger f{r};
  auto next = r[0].group_info(tree_delivery::apart);
  auto context = state_of(r[1]).now.context;
  ++context.epoch;
  const auto of_next = taken(read_message(f.good.group_info));
  context.tree_hash = of_next.as<group_info>()->context.tree_hash;
  const auto& to = state_of(r[1]).now.tree.encryption_key(to_node(leaf_index{1}));
  const bytes wrong(32, 5);
  f.check(f.with_path([&](auto& p) {
    p.nodes[0].encrypted_path_secret[0] =
        taken(encrypt_with_label(to, "UpdatePathNode", encoded(context), wrong, r.random));
  }),
          rule::path_key_mismatch);
}

TEST_CASE("12.4.2: bytes that are no commit, proposal or message are refused") {
  room r{2};
  const auto g = r.invite("carol");
  CHECK(broken(r[0].receive({}, r.s)) == rule::malformed);
  CHECK(broken(r[0].receive(taken(r[1].group_info(tree_delivery::apart)), r.s)) == rule::unexpected_message);
  CHECK(broken(r[0].receive(encoded(mls_message{g.package.package}), r.s)) == rule::unexpected_message);
  CHECK(broken(r[0].receive(r.commit(1, {g.add()}).welcomes[0], r.s)) == rule::unexpected_message);
}

} // namespace
} // namespace parley::mls::test

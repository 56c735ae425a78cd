// Commits, Welcomes and external commits that must be refused (RFC 9420, sections 12.4 to 12.4.3.2).
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
  // What is signed anew has another signature transcript only if it says something else.
  f.check(f.changed([](auto& c) { c.authenticated_data = text("more"); }), rule::wrong_confirmation_tag);
}

TEST_CASE("12.4.2: a commit that refers to a proposal nobody received is refused") {
  room r{3};
  forger f{r};
  f.check(f.with_list({{proposal_ref{bytes(32, 7)}}}), rule::unknown_proposal);
  // Received in an epoch that is over.
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

TEST_CASE("12.4.2: a path secret that cannot be opened is refused by whom it was for") {
  room r{4};
  for (std::size_t by = 0; by < 4; ++by)
    r.concluded(by);
  forger f{r};
  const auto bad = f.with_path([](auto& p) { p.nodes[0].encrypted_path_secret[0].ciphertext[4] ^= 1; });
  f.check(bad, rule::cannot_open, 1);
  f.check(bad, rule::wrong_confirmation_tag, 2); // reads another part of the path
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

TEST_CASE("12.4.2: what is no commit, proposal or message is refused") {
  room r{2};
  const auto g = r.invite("carol");
  CHECK(broken(r[0].receive({}, r.s)) == rule::malformed);
  CHECK(broken(r[0].receive(taken(r[1].group_info(tree_delivery::apart)), r.s)) == rule::unexpected_message);
  CHECK(broken(r[0].receive(encoded(mls_message{g.package.package}), r.s)) == rule::unexpected_message);
  CHECK(broken(r[0].receive(r.commit(1, {g.add()}).welcomes[0], r.s)) == rule::unexpected_message);
}

// --- 12.4.3.1: joining by a Welcome

TEST_CASE("12.4.3.1: a Welcome that was opened and sealed again unchanged is good") {
  welcome_forger f;
  CHECK(f.answer(f.changed([](auto&) {})) == rule::none);
}

TEST_CASE("12.4.3.1: a Welcome that is not for this key package, or of another cipher suite, is refused") {
  welcome_forger f;
  const auto other = f.r.invite("emil");
  CHECK(broken(f.r.try_join(f.made, other)) == rule::welcome_not_for_us);
  auto read = taken(read_message(f.made.welcomes[0]));
  std::get<welcome>(read.body).cipher_suite = 2;
  CHECK(f.answer(encoded(read)) == rule::wrong_cipher_suite);
}

TEST_CASE("12.4.3.1: group secrets and a GroupInfo that cannot be opened are refused") {
  welcome_forger f;
  auto read = taken(read_message(f.made.welcomes[0]));
  std::get<welcome>(read.body).secrets[0].secrets.ciphertext[0] ^= 1;
  CHECK(f.answer(encoded(read)) == rule::cannot_open);
  read = taken(read_message(f.made.welcomes[0]));
  std::get<welcome>(read.body).encrypted_group_info[0] ^= 1; // also what the secrets are bound to
  CHECK(f.answer(encoded(read)) == rule::cannot_open);
  CHECK(f.answer(f.changed([](auto& in) { in.told.joiner_secret = secret{bytes(32, 1)}; })) ==
        rule::cannot_open);
}

TEST_CASE("12.4.3.1: a Welcome with a pre-shared key that is not held is refused") {
  welcome_forger f;
  CHECK(f.answer(f.changed([&](auto& in) { in.told.psks = {external_psk(text("not held"), f.r.random)}; })) ==
        rule::psk_unknown);
}

TEST_CASE("12.4.3.1: more than one resumption key for a new or branched group is refused") {
  welcome_forger f;
  const auto key = [&](resumption_usage usage) {
    return resumption_psk(usage, text("another"), 1, f.r.random);
  };
  CHECK(f.answer(f.changed([&](auto& in) {
    in.told.psks = {key(resumption_usage::reinit), key(resumption_usage::branch)};
  })) == rule::psk_usage_not_alone);
  CHECK(f.answer(f.changed([&](auto& in) { in.told.psks = {key(resumption_usage::branch)}; })) ==
        rule::psk_usage_out_of_place);
}

TEST_CASE("12.4.3.1: a GroupInfo with a wrong signature, or of a signer who is not there, is refused") {
  welcome_forger f;
  CHECK(f.answer(f.changed([](auto& in) {
    in.is_signed_again = false;
    in.info.signature[0] ^= 1;
  })) == rule::group_info_bad_signature);
  CHECK(f.answer(f.changed([](auto& in) { in.info.signer = leaf_index{1}; })) ==
        rule::group_info_bad_signature);
  CHECK(f.answer(f.changed([](auto& in) { in.info.signer = leaf_index{77}; })) ==
        rule::group_info_bad_signature);
}

TEST_CASE("12.4.3: a Welcome to a group that this client is in already is refused") {
  welcome_forger f;
  CHECK(f.answer(f.made.welcomes[0], [](bytes_view id) { return equal(id, text("a group")); }) ==
        rule::group_exists);
}

TEST_CASE("12.4.3.1: a GroupInfo of another version or cipher suite is refused") {
  welcome_forger f;
  CHECK(f.answer(f.changed([](auto& in) { in.info.context.version = 2; })) == rule::wrong_version);
  CHECK(f.answer(f.changed([](auto& in) { in.info.context.cipher_suite = 2; })) == rule::wrong_cipher_suite);
}

TEST_CASE("12.4.3.1: a tree that is missing, or not the one of the GroupInfo, is refused") {
  welcome_forger f;
  CHECK(f.answer(f.changed([](auto& in) { in.info.context.tree_hash[0] ^= 1; })) == rule::tree_hash_mismatch);
  const auto welcome = f.made.welcomes[0];
  f.tree = f.r[0].ratchet_tree(); // of the epoch before
  CHECK(f.answer(welcome) == rule::tree_hash_mismatch);
  f.tree.reset();
  CHECK(f.answer(welcome) == rule::ratchet_tree_missing);
}

TEST_CASE("12.4.3.1: a tree without the joiner's leaf is refused") {
  welcome_forger f;
  const auto before = taken(read_message(taken(f.r[0].group_info(tree_delivery::apart))));
  f.tree = f.r[0].ratchet_tree();
  CHECK(f.answer(f.changed([&](auto& in) {
    in.info.context.tree_hash = before.as<group_info>()->context.tree_hash;
  })) == rule::own_leaf_missing);
}

TEST_CASE("12.4.3.1: a path secret that does not give the keys in the tree is refused") {
  welcome_forger f;
  CHECK(f.answer(f.changed([](auto& in) { in.told.path_secret = secret{bytes(32, 3)}; })) ==
        rule::path_secret_mismatch);
}

TEST_CASE("12.4.3.1: a Welcome with a wrong confirmation tag is refused") {
  welcome_forger f;
  CHECK(f.answer(f.changed([](auto& in) { in.info.confirmation_tag[0] ^= 1; })) ==
        rule::wrong_confirmation_tag);
  CHECK(f.answer(f.changed([](auto& in) { ++in.info.context.epoch; })) == rule::wrong_confirmation_tag);
}

TEST_CASE("13.4: a Welcome to a group with an extension that the joiner does not know is refused") {
  welcome_forger f;
  CHECK(f.answer(f.changed([](auto& in) {
    in.info.context.extensions.push_back({extension_type{0xf001}, {}});
  })) == rule::leaf_lacks_group_extension);
}

TEST_CASE("12.4.3: unknown extensions of the GroupInfo itself are ignored") {
  welcome_forger f;
  CHECK(f.answer(f.changed([](auto& in) {
    in.info.extensions.push_back({extension_type{0x0a0a}, text("grease")});
  })) == rule::none);
}

// --- 12.4.3.2: joining by a commit of one's own

TEST_CASE("12.4.3.2: an external commit without a path is refused") {
  joining j;
  j.check(j.with_commit([](auto& c) { c.path.reset(); }), rule::joiner_without_path);
}

TEST_CASE("12.4.3.2: an external commit that refers to a proposal is refused") {
  joining j;
  const auto ref = j.r.proposed(1, removal_of(2));
  j.check(j.with_commit([&](auto& c) { c.proposals.push_back({ref}); }),
          rule::external_commit_with_reference);
}

TEST_CASE("12.4.3.2: an external commit that somebody else signed than the leaf of its path is refused") {
  joining j;
  j.check(j.changed([](auto&) {}, &state_of(j.r[2]).identity.signer), rule::bad_signature);
}

TEST_CASE("12.4.3.2: an external commit of another sender type is refused") {
  joining j;
  j.check(j.changed([](auto& c) {
    c.sender = {sender_type::new_member_proposal, 0};
  }),
          rule::new_member_not_an_add);
  j.check(j.changed([](auto& c) { c.sender = sender::member(leaf_index{3}); }), rule::wrong_membership_tag);
  auto message = opened(j.good.commit);
  message.content.body = removal_of(2);
  message.auth.confirmation_tag.reset();
  j.check(encoded(mls_message{message}), rule::joiner_not_a_commit);
}

TEST_CASE("12.2: an external commit without exactly one ExternalInit is refused") {
  joining j;
  j.check(j.with_commit([](auto& c) { c.proposals.clear(); }), rule::external_init_not_one);
  j.check(j.with_more({external_init_proposal{bytes(32, 9)}}), rule::external_init_not_one);
}

TEST_CASE("12.2: an external commit with proposals of other types is refused") {
  joining j;
  for (const auto& p : {j.r.invite("x").add(), proposal{update_proposal{state_of(j.r[0]).now.tree.leaf({})}},
                        proposal{reinit_proposal{text("x"), mls10, cipher_suite_1, {}}},
                        proposal{group_context_extensions_proposal{}}})
    j.check(j.with_more(p), rule::external_commit_with_other_proposal);
}

TEST_CASE("12.2: an external commit that removes two, or nobody, is refused") {
  joining j;
  j.check(j.with_commit([](auto& c) {
    c.proposals.push_back({removal_of(2)});
    c.proposals.push_back({removal_of(3)});
  }),
          rule::external_commit_removes_many);
  j.check(j.with_more(removal_of(9)), rule::no_such_leaf);
}

TEST_CASE("12.2: an external commit that removes somebody else is refused") {
  joining j{leaf_index{2}};
  j.check(j.with_commit([&](auto& c) {
    for (auto& p : c.proposals)
      if (std::get<proposal>(p.body).template as<remove_proposal>())
        p.body = removal_of(3);
    sign(c.path->leaf_node, j.signer(), {j.r[0].id(), leaf_index{3}});
  }),
          rule::credential_not_a_successor);
}

TEST_CASE("12.2: who takes the place of an older appearance brings another encryption key, as in an Update") {
  joining j{leaf_index{2}};
  const auto old_key = state_of(j.r[0]).now.tree.encryption_key(to_node(leaf_index{2}));
  j.check(j.with_commit([&](auto& c) {
    c.path->leaf_node.encryption_key = old_key;
    sign(c.path->leaf_node, j.signer(), {j.r[0].id(), leaf_index{2}});
  }),
          rule::leaf_key_not_fresh);
}

TEST_CASE("12.4.3.2: an external commit of somebody who is in the group and is not removed is refused") {
  room r{3};
  const auto info = taken(r[0].group_info(tree_delivery::in_group_info));
  CHECK(broken(join_externally(info, std::nullopt, state_of(r[2]).identity.copy(), std::nullopt, r.s)) ==
        rule::duplicate_signature_key);
}

TEST_CASE("12.4.3.2: the init secret is that of the ExternalInit") {
  joining j;
  j.check(j.with_commit([](auto& c) {
    auto& p = std::get<proposal>(c.proposals[0].body);
    std::get<external_init_proposal>(p.body).kem_output[0] ^= 1;
  }),
          rule::wrong_confirmation_tag);
  j.check(j.with_commit([](auto& c) {
    auto& p = std::get<proposal>(c.proposals[0].body);
    std::get<external_init_proposal>(p.body).kem_output.pop_back();
  }),
          rule::bad_key);
}

TEST_CASE("5.3.1: an external commit of somebody whom the policy does not accept is refused") {
  joining j;
  j.r.policy.answer = rule::credential_refused;
  CHECK(broken(j.r[0].receive(j.good.commit, j.r.s)) == rule::credential_refused);
}

TEST_CASE("12.4.3.2: a GroupInfo without external key, signature, tree or the right kind is refused") {
  room r{2};
  const auto good = taken(read_message(taken(r[0].group_info(tree_delivery::in_group_info))));
  const auto answer = [&](const std::function<void(group_info&)>& change, bool is_signed_again = true) {
    auto message = good;
    auto& info = std::get<group_info>(message.body);
    change(info);
    if (is_signed_again)
      sign(info, state_of(r[0]).identity.signer);
    return broken(join_externally(encoded(message), std::nullopt, r.identity("x"), std::nullopt, r.s));
  };
  const auto without = [](extension_type type) {
    return [type](group_info& i) { std::erase_if(i.extensions, [&](auto& e) { return e.type == type; }); };
  };
  CHECK(answer([](auto&) {}) == rule::none);
  CHECK(answer(without(extension_type::external_pub)) == rule::external_pub_missing);
  CHECK(answer(without(extension_type::ratchet_tree)) == rule::ratchet_tree_missing);
  CHECK(answer([](auto& i) { i.signature[0] ^= 1; }, false) == rule::group_info_bad_signature);
  CHECK(answer([](auto& i) { i.context.tree_hash[0] ^= 1; }) == rule::tree_hash_mismatch);
  const auto commit = r.commit(0).commit;
  CHECK(broken(join_externally(commit, std::nullopt, r.identity("x"), std::nullopt, r.s)) ==
        rule::unexpected_message);
}

} // namespace
} // namespace parley::mls::test

// Welcomes, GroupInfos and external commits that must be refused (RFC 9420, sections 12.4.3 to 12.4.3.2).
#include "protocol/mls/follower.hpp"
#include "tests/protocol/mls/group_forger.hpp"

namespace parley::mls::test {
namespace {

constexpr auto private_extension = extension_type{0xf001};
constexpr auto private_proposal = proposal_type{0xf002};

/// A GroupInfo that member 0 changed and signed again, and the reactions of a joiner and a server.
struct info_forger {
  room r{3};
  mls_message good = taken(read_message(taken(r[0].group_info(tree_delivery::in_group_info))));

  void check(const std::function<void(group_info&)>& change, rule expected) {
    auto message = good;
    auto& info = std::get<group_info>(message.body);
    change(info);
    sign(info, state_of(r[0]).identity.signer);
    CHECK(broken(join_externally(encoded(message), std::nullopt, r.identity("x"), std::nullopt, r.s)) ==
          expected);
    CHECK(broken(follower::begin(encoded(message), std::nullopt, r.s)) == expected);
  }
};

// --- the contents of a GroupInfo

TEST_CASE("12.4.3.1: a GroupInfo with an empty tree hash vouches for no tree, and is refused") {
  info_forger{}.check([](group_info& i) { i.context.tree_hash.clear(); }, rule::tree_hash_mismatch);
  welcome_forger f;
  CHECK(f.answer(f.changed([](auto& in) { in.info.context.tree_hash.clear(); })) == rule::tree_hash_mismatch);
}

TEST_CASE("13.4: a GroupInfo with two extensions of one type is refused, its own or its group's") {
  info_forger f;
  f.check([](group_info& i) { i.extensions.push_back(i.extensions[0]); }, rule::duplicate_extension);
  const extension unknown{extension_type{0x0a0a}, {}};
  f.check(
      [&](group_info& i) {
        i.extensions.insert(i.extensions.end(), {unknown, unknown});
      },
      rule::duplicate_extension);
  f.check(
      [&](group_info& i) {
        const auto one = to_extension(required_capabilities{});
        i.context.extensions = {one, one};
      },
      rule::duplicate_extension);
  welcome_forger w;
  CHECK(w.answer(w.changed([&](auto& in) {
    in.info.extensions = {unknown, unknown};
  })) == rule::duplicate_extension);
}

TEST_CASE(
    "12.4.3: a GroupInfo of another version or cipher suite, or of a signer who is not there, is refused") {
  info_forger f;
  f.check([](group_info& i) { i.context.version = 2; }, rule::wrong_version);
  f.check([](group_info& i) { i.context.cipher_suite = 2; }, rule::wrong_cipher_suite);
  f.check([](group_info& i) { i.signer = leaf(1); }, rule::group_info_bad_signature);
  f.check([](group_info& i) { i.signer = leaf(3); }, rule::group_info_bad_signature);
  f.check([](group_info& i) { i.signer = leaf(~0u); }, rule::group_info_bad_signature);
}

TEST_CASE("12.4.3: a GroupInfo whose group has extensions that cannot be read is refused") {
  info_forger f;
  for (const auto type : {extension_type::required_capabilities, extension_type::external_senders})
    f.check([&](group_info& i) { i.context.extensions = {{type, text("?")}}; }, rule::malformed);
}

TEST_CASE("12.4.3.2: an external key that is none, or that something follows, is refused") {
  room r{2};
  const auto good = taken(read_message(taken(r[0].group_info(tree_delivery::in_group_info))));
  const auto answer = [&](const bytes& key) {
    auto message = good;
    auto& info = std::get<group_info>(message.body);
    std::ranges::find(info.extensions, extension_type::external_pub, &extension::type)->data = key;
    sign(info, state_of(r[0]).identity.signer);
    return broken(join_externally(encoded(message), std::nullopt, r.identity("x"), std::nullopt, r.s));
  };
  const auto key_of = [](const bytes& key) {
    encoder e;
    e.opaque(key);
    return std::move(e).out();
  };
  auto longer = key_of(bytes(32, 9));
  longer.push_back(0);
  CHECK(answer(longer) == rule::malformed);
  CHECK(answer({}) == rule::malformed);
  CHECK(answer(key_of(bytes(31, 9))) == rule::bad_key);
  CHECK(answer(key_of(bytes(32, 0))) == rule::bad_key);
  CHECK(answer(key_of(bytes(32, 9))) == rule::none);
}

TEST_CASE("12.4.3: bytes that are no Welcome or GroupInfo are refused") {
  room r{2};
  const auto g = r.invite("carol");
  const auto made = r.commit(0, {g.add()});
  const auto info = taken(r[0].group_info(tree_delivery::in_group_info));
  const auto welcomed_by = [&](bytes_view message) {
    return broken(group::join(message, g.package, g.who.copy(), bytes_view{made.ratchet_tree}, r.s, {}));
  };
  const auto joined_by = [&](bytes_view message) {
    return broken(join_externally(message, std::nullopt, r.identity("x"), std::nullopt, r.s));
  };
  CHECK(welcomed_by(info) == rule::unexpected_message);
  CHECK(welcomed_by(made.commit) == rule::unexpected_message);
  CHECK(welcomed_by({}) == rule::malformed);
  CHECK(joined_by(made.welcomes[0]) == rule::unexpected_message);
  CHECK(joined_by({}) == rule::malformed);
  CHECK(broken(follower::begin(made.commit, std::nullopt, r.s)) == rule::unexpected_message);
  CHECK(broken(follower::begin({}, std::nullopt, r.s)) == rule::malformed);
}

TEST_CASE("12.4.3: an external join to a group that the client is in already is refused as such") {
  room r{3};
  const auto info = taken(r[0].group_info(tree_delivery::in_group_info));
  const auto is_known = [](bytes_view id) { return equal(id, text("a group")); };
  CHECK(broken(join_externally(info, std::nullopt, r.identity("x"), std::nullopt, r.s, {}, is_known)) ==
        rule::group_exists);
  // A client that replaces an earlier membership of its own is not refused.
  CHECK(broken(join_externally(info, std::nullopt, state_of(r[2]).identity.copy(), leaf(2), r.s, {},
                               is_known)) == rule::none);
}

TEST_CASE(
    "13.4: a client that joins from outside must support the extensions and the requirements of the group") {
  info_forger f;
  f.check(
      [](group_info& i) {
        i.context.extensions = {{private_extension, {}}};
      },
      rule::leaf_lacks_group_extension);
  auto able = own_capabilities();
  able.extensions = {private_extension};
  able.proposals = {private_proposal};
  const required_capabilities wanted{{private_extension}, {private_proposal}, {}};
  room r{2, {to_extension(wanted)}, 1, {}, able};
  const auto info = taken(r[0].group_info(tree_delivery::in_group_info));
  const auto answer = [&](const mls::capabilities& has) {
    auto who = r.identity("x");
    who.capabilities = has;
    return broken(join_externally(info, std::nullopt, std::move(who), std::nullopt, r.s));
  };
  CHECK(answer(own_capabilities()) == rule::leaf_lacks_required_extension);
  auto half = able;
  half.proposals.clear();
  CHECK(answer(half) == rule::leaf_lacks_required_proposal);
  CHECK(answer(able) == rule::none);
}

// --- 12.4.3.1: joining by a Welcome

TEST_CASE("12.4.3.1: a Welcome that was decrypted and encrypted again unchanged is accepted") {
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

TEST_CASE("12.4.3.1: group secrets and a GroupInfo that cannot be decrypted are refused") {
  welcome_forger f;
  auto read = taken(read_message(f.made.welcomes[0]));
  std::get<welcome>(read.body).secrets[0].secrets.ciphertext[0] ^= 1;
  CHECK(f.answer(encoded(read)) == rule::cannot_open);
  read = taken(read_message(f.made.welcomes[0]));
  std::get<welcome>(read.body).encrypted_group_info[0] ^= 1; // the secrets are bound to this too
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
  f.tree = f.r[0].ratchet_tree(); // from the epoch before
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

// --- 12.4.3.2: joining by an external commit

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

TEST_CASE("12.2: a client that replaces its older appearance needs a new encryption key, as in an Update") {
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

// --- Welcomes

TEST_CASE("12.4.3.1: a Welcome beside a tree with another leaf of the joiner is refused") {
  welcome_forger f;
  // A second key package of the same client; the tree contains the leaf of the first one.
  const auto second = f.r.invite(f.g.who.copy());
  const auto read = taken(read_message(f.made.welcomes[0]));
  const auto& w = *read.as<welcome>();
  const auto told = taken(open_group_secrets(w, key_package_ref(f.g.package.package), f.g.package.init_key));
  const invited whom{key_package_ref(second.package.package), second.package.package.init_key, nullptr};
  auto sealed = taken(seal_group_secrets(whom, told.joiner_secret, {}, w.encrypted_group_info, f.r.random));
  const auto bad = encoded(mls_message{welcome{cipher_suite_1, {std::move(sealed)}, w.encrypted_group_info}});
  CHECK(broken(group::join(bad, second.package, second.who.copy(), bytes_view{*f.tree}, f.r.s, {})) ==
        rule::own_leaf_missing);
}

TEST_CASE("12.4.3.1: a Welcome whose GroupInfo another member signed does not fit its path secret") {
  welcome_forger f;
  f.r.conclude(0, f.made);
  CHECK(f.answer(f.changed([&](auto& in) {
    in.is_signed_again = false;
    in.info.signer = leaf(2);
    sign(in.info, state_of(f.r[2]).identity.signer);
  })) == rule::path_secret_mismatch);
}

TEST_CASE("a client that signs with another key than that of its key package cannot join") {
  welcome_forger f;
  const bytes_view tree = *f.tree;
  const auto other = f.r.identity("dora");
  CHECK(broken(group::join(f.made.welcomes[0], f.g.package, other.copy(), tree, f.r.s, {})) ==
        rule::identity_mismatch);
  auto damaged = f.g.who.copy();
  damaged.signer.public_key.pop_back();
  CHECK(broken(group::join(f.made.welcomes[0], f.g.package, damaged.copy(), tree, f.r.s, {})) ==
        rule::identity_mismatch);
  CHECK(broken(group::create(text("x"), damaged.copy(), {}, f.r.s)) == rule::identity_mismatch);
  auto short_key = f.g.who.copy();
  short_key.signer.private_key = secret{short_key.signer.private_key.view().first(31)};
  CHECK(broken(group::join(f.made.welcomes[0], f.g.package, short_key.copy(), tree, f.r.s, {})) ==
        rule::identity_mismatch);
  CHECK(broken(group::create(text("x"), short_key.copy(), {}, f.r.s)) == rule::identity_mismatch);
  const auto info = taken(f.r[0].group_info(tree_delivery::in_group_info));
  CHECK(broken(join_externally(info, std::nullopt, damaged.copy(), std::nullopt, f.r.s)) ==
        rule::identity_mismatch);
}

TEST_CASE("8.4: a Welcome names the pre-shared keys of its commit, in their order") {
  room r{2};
  r.psks["one"] = text("first");
  r.psks["two"] = text("second");
  const auto g = r.invite("carol");
  const auto one = key_named(r, "one"), two = key_named(r, "two");
  auto made = r.commit(0, {one, g.add(), two});
  const auto read = taken(read_message(made.welcomes[0]));
  const auto told =
      taken(open_group_secrets(*read.as<welcome>(), key_package_ref(g.package.package), g.package.init_key));
  CHECK(told.psks == std::vector{std::get<psk_proposal>(one.body).psk, std::get<psk_proposal>(two.body).psk});
  r.conclude(0, made);
  r.members.push_back(taken(r.try_join(made, g)));
  r.check_talk();
}

// --- external commits

TEST_CASE("12.4.3.2: an external commit in the name of a member who stays is refused") {
  joining j;
  const auto& stolen = state_of(j.r[2]).identity.signer;
  auto message = opened(j.good.commit);
  auto& path = *std::get<commit>(message.content.body).path;
  path.leaf_node.signature_key = public_key_of(stolen.public_key);
  sign(path.leaf_node, stolen, {j.r[0].id(), leaf(4)});
  j.check(j.changed([&](auto& c) { c = message.content; }, &stolen), rule::duplicate_signature_key);
}

TEST_CASE("12.4.3.2: the joiner takes the leftmost blank leaf and no other") {
  joining j;
  j.check(j.with_commit([&](auto& c) {
    sign(c.path->leaf_node, j.signer(), {j.r[0].id(), leaf(5)});
  }),
          rule::leaf_bad_signature);
}

TEST_CASE("12.4.3.2: an external commit whose leaf breaks 7.3 is refused") {
  joining j;
  const auto with_leaf = [&](const std::function<void(leaf_node&)>& change) {
    return j.with_commit([&](auto& c) {
      change(c.path->leaf_node);
      sign(c.path->leaf_node, j.signer(), {j.r[0].id(), leaf(4)});
    });
  };
  const auto& tree = state_of(j.r[0]).now.tree;
  j.check(with_leaf([](auto& l) { l.source = leaf_node_source::update; }), rule::leaf_wrong_source);
  j.check(with_leaf([&](auto& l) { l.encryption_key = tree.encryption_key(to_node(leaf(1))); }),
          rule::path_key_in_use);
  j.check(with_leaf([](auto& l) { l.capabilities.cipher_suites = {2}; }), rule::leaf_lacks_cipher_suite);
  j.check(with_leaf([](auto& l) {
            l.capabilities.credentials.push_back(credential_type::x509);
            l.credential = {credential_type::x509, {}, {text("a certificate")}};
          }),
          rule::credential_not_supported_by_all);
  j.check(with_leaf([](auto& l) { l.parent_hash[0] ^= 1; }), rule::path_wrong_parent_hash);
}

TEST_CASE("12.2: the pre-shared keys of an external commit obey the rules of every commit") {
  joining j;
  const auto key = key_named(j.r, "nobody knows");
  const proposal branch{
      psk_proposal{resumption_psk(resumption_usage::branch, text("a group"), 1, j.r.random)}};
  j.check(j.with_more(key), rule::psk_unknown);
  j.check(j.with_more(branch), rule::psk_usage_out_of_place);
  j.check(j.with_commit([&](auto& c) {
    c.proposals.insert(c.proposals.end(), {{key}, {key}});
  }),
          rule::psk_twice);
}

TEST_CASE("6.2: a message of a member has a membership tag, and a message from outside has none") {
  joining j;
  encoder e;
  e.raw(j.good.commit).opaque(bytes(32));
  CHECK(broken(j.r[0].receive(e.out(), j.r.s)) == rule::malformed);
  const auto by_member = j.r.commit(1).commit;
  CHECK(broken(j.r[0].receive(bytes_view{by_member}.first(by_member.size() - 33), j.r.s)) == rule::malformed);
}

TEST_CASE("6.1: a proposal carries no confirmation tag") {
  room r{2};
  const auto message = taken(r[1].propose(removal_of(0), r.s));
  encoder e; // the position of a commit's tag: between signature and membership tag
  const bytes_view all = message;
  e.raw(all.first(all.size() - 33)).opaque(bytes(32)).raw(all.last(33));
  CHECK(broken(r[0].receive(e.out(), r.s)) == rule::malformed);
}

} // namespace
} // namespace parley::mls::test

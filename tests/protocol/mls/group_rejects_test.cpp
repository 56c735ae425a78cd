// Proposals and lists of them that a group must refuse (RFC 9420, sections 12.1 and 12.2).
#include "tests/protocol/mls/group_forger.hpp"

namespace parley::mls::test {
namespace {

constexpr auto made_up_extension = extension_type{0xf001};
constexpr std::uint64_t far_future = now + 10 * 365 * day;

// --- 12.1: proposals

TEST_CASE("12.1: a proposal of another epoch or another group is refused") {
  room r{3};
  const auto message = taken(r[2].propose(removal_of(1), r.s));
  r.concluded(0);
  CHECK(broken(r[1].receive(message, r.s)) == rule::wrong_epoch);
  const auto other =
      sent_by(r[2], {text("another"), r[1].epoch() + 1, state_of(r[2]).as_sender(), {}, removal_of(1)}, {});
  CHECK(broken(r[1].receive(other, r.s)) == rule::wrong_group);
}

TEST_CASE("12.1.1: an Add whose key package breaks 10.1 is refused, as a proposal and in a commit") {
  room r{3};
  const auto g = r.invite("dora");
  const auto nothing = [](key_package&) {};
  struct {
    proposal add;
    rule expected;
  } const cases[] = {
      {add_of(g, [](auto& k) { k.version = 2; }), rule::key_package_wrong_version},
      {add_of(g, [](auto& k) { k.cipher_suite = 3; }), rule::key_package_wrong_cipher_suite},
      {add_of(g, [](auto& k) { k.init_key = k.leaf_node.encryption_key; }),
       rule::key_package_init_key_reused},
      {add_of(g, nothing, [](auto& k) { k.signature[5] ^= 1; }), rule::key_package_bad_signature},
      {add_of(g,
              [](auto& k) {
                k.leaf_node.lifetime = {now - 3 * day, now - day};
              }),
       rule::leaf_expired},
      {add_of(g,
              [](auto& k) {
                k.leaf_node.lifetime = {now + day, now + 3 * day};
              }),
       rule::leaf_not_yet_valid},
      {add_of(g,
              [](auto& k) {
                k.leaf_node.lifetime = {now, far_future};
              }),
       rule::leaf_lives_too_long},
      {add_of(g, [](auto& k) { k.leaf_node.capabilities.versions = {2}; }), rule::leaf_lacks_version},
      {add_of(g, [](auto& k) { k.leaf_node.source = leaf_node_source::update; }), rule::leaf_wrong_source},
      {add_of(g,
              [&](auto& k) {
                k.leaf_node.encryption_key = state_of(r[1]).now.tree.encryption_key(to_node(leaf_index{1}));
              }),
       rule::duplicate_encryption_key},
  };
  forger f{r};
  for (const auto& c : cases) {
    CAPTURE(static_cast<int>(c.expected));
    f.check_list({c.add}, c.expected);
    check_proposal(r, c.add, c.expected);
  }
}

TEST_CASE("12.1.1: an Add whose leaf is signed by another key is refused") {
  room r{3};
  const auto g = r.invite("dora"), other = r.invite("emil");
  auto package = g.package.package;
  sign(package.leaf_node, other.who.signer, {});
  sign(package, g.who.signer);
  forger{r}.check_list({{add_proposal{package}}}, rule::leaf_bad_signature);
}

TEST_CASE("5.3.1: an Add of somebody whom the policy does not accept is refused") {
  room r{3};
  const auto g = r.invite("dora");
  r.policy.answer = rule::credential_refused;
  check_proposal(r, g.add(), rule::credential_refused);
}

TEST_CASE("12.1.2: an Update whose leaf breaks 7.3 is refused") {
  room r{3};
  const auto& tree = state_of(r[0]).now.tree;
  struct {
    proposal update;
    rule expected;
  } const cases[] = {
      {update_of(r, 2, [](auto& l) { l.source = leaf_node_source::commit; }), rule::leaf_wrong_source},
      {update_of(r, 2, [&](auto& l) { l.encryption_key = tree.encryption_key(to_node(leaf_index{2})); }),
       rule::leaf_key_not_fresh},
      {update_of(r, 2, [&](auto& l) { l.encryption_key = tree.encryption_key(to_node(leaf_index{1})); }),
       rule::duplicate_encryption_key},
      {update_of(r, 2, [](auto& l) { l.credential.identity = text("somebody else"); }),
       rule::credential_not_a_successor},
      {update_of(r, 2,
                 [](auto& l) {
                   l.extensions = {{made_up_extension, {}}};
                 }),
       rule::leaf_lacks_own_extension},
      {update_of(r, 2, {}, leaf_index{1}), rule::leaf_bad_signature},
  };
  for (const auto& c : cases) {
    CAPTURE(static_cast<int>(c.expected));
    check_proposal(r, c.update, c.expected);
  }
}

TEST_CASE("12.1.3: a Remove of a leaf without a member is refused") {
  room r{4};
  r.concluded(0, {removal_of(3)});
  forger f{r};
  for (const auto nobody : {3u, 4u, 1'000u, ~0u}) {
    f.check_list({removal_of(nobody)}, rule::no_such_leaf);
    check_proposal(r, removal_of(nobody), rule::no_such_leaf);
  }
}

TEST_CASE("12.1.4: a pre-shared key with a nonce of another length is refused") {
  room r{3};
  r.psks["k"] = text("known");
  auto id = external_psk(text("k"), r.random);
  id.nonce.pop_back();
  forger{r}.check_list({{psk_proposal{id}}}, rule::psk_nonce_wrong_length);
  check_proposal(r, {psk_proposal{id}}, rule::psk_nonce_wrong_length);
}

TEST_CASE("12.1.4: a resumption key for a new or branched group is refused in an ordinary commit") {
  room r{3};
  for (const auto usage : {resumption_usage::reinit, resumption_usage::branch}) {
    const proposal p{psk_proposal{resumption_psk(usage, text("a group"), r[0].epoch(), r.random)}};
    forger{r}.check_list({p}, rule::psk_usage_out_of_place);
    check_proposal(r, p, rule::psk_usage_out_of_place);
  }
}

TEST_CASE("12.1.5: a ReInit to an older version is refused") {
  room r{3};
  forger{r}.check_list({new_group(0)}, rule::reinit_to_older_version);
  check_proposal(r, new_group(0), rule::reinit_to_older_version);
}

TEST_CASE("12.1.6: a member proposes no ExternalInit") {
  room r{3};
  check_proposal(r, {external_init_proposal{bytes(32, 1)}}, rule::external_init_by_member);
}

TEST_CASE("12.1.7: extensions that some member does not support are refused") {
  room r{3};
  forger f{r};
  for (const auto& list :
       {extension_list{{made_up_extension, {}}},
        extension_list{to_extension(required_capabilities{.extensions = {made_up_extension}})},
        extension_list{
            to_extension(required_capabilities{.proposals = {static_cast<proposal_type>(0xf001)}})},
        extension_list{to_extension(required_capabilities{.credentials = {credential_type::x509}})}}) {
    f.check_list({new_extensions(list)}, rule::extensions_not_supported_by_all);
    check_proposal(r, new_extensions(list), rule::extensions_not_supported_by_all);
  }
}

TEST_CASE("12.1.7: a member that the same commit removes need not support the new extensions") {
  auto all = own_capabilities();
  all.extensions.push_back(made_up_extension);
  room r{2, {}, 1, {}, all};
  r.capabilities = own_capabilities();
  r.add("dora");
  const auto needed = new_extensions({{made_up_extension, {}}});
  forger{r}.check_list({needed}, rule::extensions_not_supported_by_all);
  r.concluded(0, {removal_of(2), needed});
  r.check_talk();
}

TEST_CASE("12.1.7: extensions of one type twice, and such as cannot be read, are refused") {
  room r{3};
  const auto one = to_extension(required_capabilities{});
  forger{r}.check_list({new_extensions({one, one})}, rule::duplicate_extension);
  forger{r}.check_list({new_extensions({{extension_type::required_capabilities, text("?")}})},
                       rule::malformed);
  forger{r}.check_list({new_extensions({{extension_type::external_senders, text("?")}})}, rule::malformed);
  r.check_talk();
}

TEST_CASE("12.1.8: an external sender proposes only what it may, with a key that the group lists") {
  random_source random = seeded_random(77);
  const auto key = make_signature_key(random), unlisted = make_signature_key(random);
  const external_sender listed{public_key_of(key.public_key), {.identity = text("server")}};
  room r{3, {to_extension(std::vector{listed})}};
  const auto from_outside = [&](const signature_key_pair& by, std::uint32_t index, auto body) {
    auto c = sign_content(
        wire_format::public_message,
        {text("a group"), r[0].epoch(), {sender_type::external, index}, {}, std::move(body)}, by, {});
    if (c.content.template as<commit>())
      c.auth.confirmation_tag = bytes(32);
    return encoded(mls_message{public_message{std::move(c.content), std::move(c.auth), {}}});
  };
  CHECK(broken(r[0].receive(from_outside(key, 1, removal_of(2)), r.s)) == rule::unknown_sender);
  CHECK(broken(r[0].receive(from_outside(unlisted, 0, removal_of(2)), r.s)) == rule::bad_signature);
  CHECK(broken(r[0].receive(from_outside(key, 0, update_of(r, 2)), r.s)) == rule::external_proposal_type);
  CHECK(broken(r[0].receive(from_outside(key, 0, proposal{external_init_proposal{bytes(32, 1)}}), r.s)) ==
        rule::external_proposal_type);
  CHECK(broken(r[0].receive(from_outside(key, 0, commit{}), r.s)) == rule::external_not_a_proposal);
  const auto good = from_outside(key, 0, removal_of(2));
  for (auto& g : r.members)
    proposal_in(g.receive(good, r.s));
  r.concluded(0);
  CHECK(r[2].is_over());
  r.check_talk();
}

TEST_CASE("12.1.8: a new member proposes its own Add, signed by its own key, and nothing else") {
  room r{2};
  const auto g = r.invite("carol"), other = r.invite("dora");
  const auto from_new = [&](const signature_key_pair& by, proposal p) {
    auto c = sign_content(
        wire_format::public_message,
        {text("a group"), r[0].epoch(), {sender_type::new_member_proposal, 0}, {}, std::move(p)}, by, {});
    return encoded(mls_message{public_message{std::move(c.content), std::move(c.auth), {}}});
  };
  CHECK(broken(r[0].receive(from_new(g.who.signer, removal_of(1)), r.s)) == rule::new_member_not_an_add);
  CHECK(broken(r[0].receive(from_new(other.who.signer, g.add()), r.s)) == rule::bad_signature);
  const auto good = from_new(g.who.signer, g.add());
  for (auto& m : r.members)
    proposal_in(m.receive(good, r.s));
  auto made = r.commit(1);
  r.conclude(1, made);
  r.members.push_back(taken(r.try_join(made, g)));
  r.check_talk();
}

// --- 12.2: lists of proposals

TEST_CASE("12.2: an Update of the committer is refused, by value and by reference") {
  room r{3};
  forger f{r};
  f.check_list({update_of(r, 0)}, rule::update_of_committer);
  const auto ref = r.proposed(0, taken(r[0].propose_update(r.s)));
  f.check(f.with_list({{ref}}), rule::update_of_committer);
}

TEST_CASE("12.2: a Remove of the committer is refused") {
  room r{3};
  forger f{r};
  f.check_list({removal_of(0)}, rule::remove_of_committer);
  const auto ref = r.proposed(2, removal_of(0));
  f.check(f.with_list({{ref}}), rule::remove_of_committer);
}

TEST_CASE("12.2: two Updates or Removes of one leaf are refused") {
  room r{4};
  forger f{r};
  f.check_list({removal_of(2), removal_of(2)}, rule::leaf_changed_twice);
  const auto first = r.proposed(2, taken(r[2].propose_update(r.s)));
  const auto second = r.proposed(2, taken(r[2].propose_update(r.s)));
  f.check(f.with_list({{first}, {second}}), rule::leaf_changed_twice);
  f.check(f.with_list({{first}, {removal_of(2)}}), rule::leaf_changed_twice);
  f.check(f.with_list({{removal_of(2)}, {first}}), rule::leaf_changed_twice);
  f.check(f.with_list({{first}, {first}}), rule::leaf_changed_twice);
}

TEST_CASE("12.2: two Adds of one client are refused") {
  room r{3};
  const auto g = r.invite("dora"), again = r.invite(g.who.copy());
  forger{r}.check_list({g.add(), again.add()}, rule::client_added_twice);
  forger{r}.check_list({g.add(), g.add()}, rule::client_added_twice);
}

TEST_CASE("12.2: an Add of a client that is a member is refused, unless the same list removes it") {
  room r{3};
  const auto again = r.invite(state_of(r[2]).identity.copy());
  forger{r}.check_list({again.add()}, rule::duplicate_signature_key);
  auto made = r.commit(0, {again.add(), removal_of(2)});
  r.conclude(0, made);
  CHECK(r[2].is_over());
  r.members.push_back(taken(r.try_join(made, again)));
  r.check_talk();
}

TEST_CASE("12.2: the same pre-shared key twice is refused") {
  room r{3};
  r.psks["k"] = text("known");
  const auto p = key_named(r, "k");
  forger{r}.check_list({p, p}, rule::psk_twice);
  r.concluded(0, {p, key_named(r, "k")}); // with another nonce
  r.check_talk();
}

TEST_CASE("12.2: two lists of new extensions are refused") {
  room r{3};
  forger{r}.check_list({new_extensions({}), new_extensions({})}, rule::extensions_changed_twice);
}

TEST_CASE("12.2: a ReInit beside anything else is refused") {
  room r{3};
  forger{r}.check_list({new_group(), removal_of(2)}, rule::reinit_not_alone);
  forger{r}.check_list({removal_of(2), new_group()}, rule::reinit_not_alone);
  forger{r}.check_list({new_group(), new_group()}, rule::reinit_not_alone);
}

TEST_CASE("12.2: an ExternalInit in the commit of a member is refused") {
  room r{3};
  forger{r}.check_list({{external_init_proposal{bytes(32, 1)}}}, rule::external_init_by_member);
}

TEST_CASE("12.2: an Add that lacks what the same list begins to require is refused") {
  auto all = own_capabilities();
  all.extensions.push_back(made_up_extension);
  room r{3, {}, 1, {}, all};
  const auto able = r.invite("dora");
  r.capabilities = own_capabilities();
  const auto lacking = r.invite("emil");
  const auto needs = new_extensions({to_extension(required_capabilities{.extensions = {made_up_extension}})});
  forger{r}.check_list({lacking.add(), needs}, rule::leaf_lacks_required_extension);
  auto made = r.commit(0, {able.add(), needs});
  r.conclude(0, made);
  r.members.push_back(taken(r.try_join(made, able)));
  r.check_talk();
  forger{r}.check_list({lacking.add()}, rule::leaf_lacks_required_extension);
}

TEST_CASE("12.2: two leaves with the same encryption key are refused, even if both are new") {
  room r{3};
  const auto g = r.invite("dora"), other = r.invite("emil");
  const auto same = add_of(
      other, [&](auto& k) { k.leaf_node.encryption_key = g.package.package.leaf_node.encryption_key; });
  forger{r}.check_list({g.add(), same}, rule::duplicate_encryption_key);
}

// --- our own limits

TEST_CASE("a message above the size limit is not created, and leaves the group unchanged") {
  room r{3, {}, 1, {.limits = {.message_bytes_max = 4096}, .pad = padding::none}};
  const bytes much(4096);
  const auto largest = bytes_view{much}.first(4096 - 300);
  for (std::uint32_t n = 0; n <= r.settings.limits.generation_jump_max; ++n) // no key is used
    REQUIRE(broken(r[0].send(bytes(4097), {}, r.s)) == rule::too_large);
  CHECK(broken(r[0].send({}, bytes(4097), r.s)) == rule::too_large);
  CHECK(broken(r[0].send(much, {}, r.s)) == rule::too_large);
  (void)taken(r[1].receive(taken(r[0].send(largest, {}, r.s)), r.s));
  const proposal large{psk_proposal{external_psk(much, r.random)}};
  r.psks[string_of(much)] = text("a key");
  CHECK(broken(r[0].propose(large, r.s)) == rule::too_large);
  CHECK(state_of(r[0]).now.proposals.empty());
  CHECK(broken(r[0].commit({.proposals = {large}}, r.s)) == rule::too_large);
  // The same applies to a GroupInfo, or a Welcome that contains one: its size depends on the group.
  while (r.members.size() < 30)
    r.add("person");
  CHECK(broken(r[0].group_info(tree_delivery::in_group_info)) == rule::too_large);
  CHECK(broken(r[0].commit({.tree = tree_delivery::in_group_info}, r.s)) == rule::too_large);
  const auto dora = r.invite("dora");
  CHECK(broken(r[0].commit({.proposals = {dora.add()}, .tree = tree_delivery::in_group_info}, r.s)) ==
        rule::too_large);
  r.check_talk();
  r.concluded(0);
  r.check_talk();
}

} // namespace
} // namespace parley::mls::test

// Attacks by members, joiners and servers that know the rules well (RFC 9420). Each attack is refused,
// and the group loses nothing.
#include "protocol/mls/follower.hpp"
#include "tests/protocol/mls/group_forger.hpp"

namespace parley::mls::test {
namespace {

constexpr auto private_extension = extension_type{0xf001};
constexpr auto private_proposal = proposal_type{0xf002};

/// Encodings of points with which every Diffie-Hellman yields zeros; the last has a high bit that is ignored.
std::vector<public_key> keys_that_are_none() {
  public_key one{1}, p{}, high{};
  p.fill(0xff);
  p[0] = 0xed;
  p[31] = 0x7f;
  high[31] = 0x80;
  const public_key order_8{0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3,
                           0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32,
                           0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00};
  const public_key other_of_order_8{0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1,
                                    0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c,
                                    0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57};
  auto below = p, above = p;
  --below[0];
  ++above[0];
  return {public_key{}, one, below, p, above, order_8, other_of_order_8, high};
}

// --- keys

TEST_CASE("10: a key with which no Diffie-Hellman is possible is refused, wherever it is") {
  room r{4};
  forger f{r};
  const auto g = r.invite("dora");
  for (const auto& key : keys_that_are_none()) {
    CAPTURE(static_cast<int>(key[0]));
    // The table and the library agree on these points.
    CHECK(broken(encrypt_with_label(key, "x", {}, {}, r.random)) == rule::bad_key);
    const auto as_init_key = add_of(g, [&](auto& k) { k.init_key = key; });
    const auto as_leaf_key = add_of(g, [&](auto& k) { k.leaf_node.encryption_key = key; });
    for (const auto& add : {as_init_key, as_leaf_key}) {
      check_proposal(r, add, rule::bad_key);
      f.check_list({add}, rule::bad_key);
    }
    check_proposal(r, update_of(r, 2, [&](auto& l) { l.encryption_key = key; }), rule::bad_key);
    f.check(f.with_leaf([&](auto& l) { l.encryption_key = key; }), rule::bad_key);
    f.check(f.with_path([&](auto& p) { p.nodes.back().encryption_key = key; }), rule::bad_key);
  }
}

TEST_CASE("7.3: a leaf whose encryption key is that of a parent node is refused") {
  room r{4};
  for (std::size_t by = 0; by < 4; ++by)
    r.concluded(by);
  const auto of_parent = state_of(r[0]).now.tree.encryption_key(node(5));
  forger f{r};
  const auto g = r.invite("dora");
  f.check_list({add_of(g, [&](auto& k) { k.leaf_node.encryption_key = of_parent; })},
               rule::duplicate_encryption_key);
  f.check(f.with_leaf([&](auto& l) { l.encryption_key = of_parent; }), rule::path_key_in_use);
  const auto of_root = state_of(r[0]).now.tree.encryption_key(node(1));
  check_proposal(r, update_of(r, 3, [&](auto& l) { l.encryption_key = of_root; }),
                 rule::duplicate_encryption_key, 3);
}

TEST_CASE("7.3: an Update to the signature key of another member, or of one who is added, is refused") {
  room r{3};
  const auto g = r.invite("dora");
  const auto takes = [&](const signature_key_pair& key) {
    auto leaf = std::get<update_proposal>(update_of(r, 2).body).leaf_node;
    leaf.signature_key = public_key_of(key.public_key);
    sign(leaf, key, {r[2].id(), r[2].own_leaf()});
    return proposal{update_proposal{leaf}};
  };
  check_proposal(r, takes(state_of(r[1]).identity.signer), rule::duplicate_signature_key);
  forger f{r};
  const auto ref = r.proposed(2, takes(g.who.signer));
  f.check(f.with_list({{ref}, {g.add()}}), rule::duplicate_signature_key);
}

TEST_CASE("12.2: a commit that adds its committer again is refused") {
  room r{3};
  const auto again = r.invite(state_of(r[0]).identity.copy());
  forger{r}.check_list({again.add()}, rule::duplicate_signature_key);
}

// --- capabilities and credentials

TEST_CASE("7.3: a leaf is refused if some member does not support its credential type, or it does not "
          "support theirs") {
  room r{3};
  forger f{r};
  const auto g = r.invite("dora");
  const auto knows = [](std::vector<credential_type> types) {
    return [types](leaf_node& l) { l.capabilities.credentials = types; };
  };
  const auto shows_x509 = [](leaf_node& l) {
    l.capabilities.credentials = {credential_type::basic, credential_type::x509};
    l.credential = {credential_type::x509, {}, {text("a certificate")}};
  };
  const auto adds = [&](auto change) { return add_of(g, [&](auto& k) { change(k.leaf_node); }); };
  const auto only_x509 = [&](leaf_node& l) {
    shows_x509(l);
    knows({credential_type::x509})(l);
  };
  f.check_list({adds(shows_x509)}, rule::credential_not_supported_by_all);
  f.check_list({adds(knows({credential_type::x509}))}, rule::leaf_lacks_own_credential);
  check_proposal(r, adds(shows_x509), rule::credential_not_supported_by_all);
  // Everyone but the committer supports it, so the path has to support it too.
  auto both = own_capabilities();
  both.credentials.push_back(credential_type::x509);
  room all{3, {}, 1, {}, both};
  forger of_all{all};
  const auto h = all.invite("emil");
  of_all.check_list({add_of(h, [&](auto& k) { only_x509(k.leaf_node); })},
                    rule::leaf_lacks_credential_in_use);
  of_all.check(of_all.with_leaf([&](auto& l) { knows({credential_type::x509})(l); }),
               rule::leaf_lacks_own_credential);
}

TEST_CASE("7.3: an Update or a path that drops what the group requires is refused") {
  auto able = own_capabilities();
  able.extensions = {private_extension};
  able.proposals = {private_proposal};
  const required_capabilities wanted{{private_extension}, {private_proposal}, {}};
  room r{3, {to_extension(wanted)}, 1, {}, able};
  forger f{r};
  const auto drops_extension = [](leaf_node& l) { l.capabilities.extensions.clear(); };
  const auto drops_proposal = [](leaf_node& l) { l.capabilities.proposals.clear(); };
  check_proposal(r, update_of(r, 2, drops_extension), rule::leaf_lacks_required_extension);
  check_proposal(r, update_of(r, 2, drops_proposal), rule::leaf_lacks_required_proposal);
  f.check(f.with_leaf(drops_extension), rule::leaf_lacks_required_extension);
  f.check(f.with_leaf(drops_proposal), rule::leaf_lacks_required_proposal);
}

TEST_CASE("13.4: an Update or a path that drops an extension of the group is refused") {
  auto able = own_capabilities();
  able.extensions = {private_extension};
  room r{3, {{private_extension, {}}}, 1, {}, able};
  forger f{r};
  const auto drops = [](leaf_node& l) { l.capabilities.extensions.clear(); };
  check_proposal(r, update_of(r, 2, drops), rule::leaf_lacks_group_extension);
  f.check(f.with_leaf(drops), rule::leaf_lacks_group_extension);
}

TEST_CASE("12.3: an Update that lacks what the same list begins to require is refused") {
  auto able = own_capabilities();
  able.extensions = {private_extension};
  room r{3, {}, 1, {}, able};
  forger f{r};
  const auto ref = r.proposed(2, update_of(r, 2, [](auto& l) { l.capabilities.extensions.clear(); }));
  const auto needs = new_extensions({to_extension(required_capabilities{{private_extension}, {}, {}})});
  f.check(f.with_list({{ref}, {needs}}), rule::leaf_lacks_required_extension);
  able.proposals = {private_proposal};
  room others{3, {}, 1, {}, able};
  others.concluded(
      0,
      {new_extensions({to_extension(required_capabilities{{private_extension}, {private_proposal}, {}})})});
  others.check_talk();
}

/// Refuses external senders and accepts everyone else.
struct members_only : same_person_policy {
  result<void> accept(const presented_credential& c) const override {
    if (c.event == credential_event::external_sender)
      return refuse(rule::credential_refused);
    return same_person_policy::accept(c);
  }
};

TEST_CASE("5.3.1: external senders are shown to the policy, where they are new and where somebody joins") {
  room r{3};
  const auto key = make_signature_key(r.random);
  const extension_list list{to_extension(
      std::vector{external_sender{public_key_of(key.public_key), {.identity = text("server")}}})};
  const members_only policy;
  const surroundings strict{policy, r.random, now, {}};
  const auto p = new_extensions(list);
  CHECK(broken(group::create(text("x"), r.identity("x"), list, strict)) == rule::credential_refused);
  CHECK(broken(r[0].propose(p, strict)) == rule::credential_refused);
  CHECK(broken(r[0].commit({.proposals = {p}}, strict)) == rule::credential_refused);
  auto made = r.commit(0, {p});
  CHECK(broken(r[1].receive(made.commit, strict)) == rule::credential_refused);
  const auto welcomed = r.invite("dora");
  r.conclude(0, made);
  const auto info = taken(r[0].group_info(tree_delivery::in_group_info));
  CHECK(broken(join_externally(info, std::nullopt, r.identity("x"), std::nullopt, strict)) ==
        rule::credential_refused);
  CHECK(broken(follower::begin(info, std::nullopt, strict)) == rule::credential_refused);
  const auto adds = r.commit(1, {welcomed.add()});
  const bytes_view tree = adds.ratchet_tree;
  CHECK(broken(group::join(adds.welcomes[0], welcomed.package, welcomed.who.copy(), tree, strict, {})) ==
        rule::credential_refused);
  // External senders that stay are not checked again.
  CHECK(broken(r[0].propose(p, strict)) == rule::none);
}

// --- proposals

TEST_CASE("13.4: a ReInit with two extensions of one type is refused") {
  room r{3};
  const auto one = to_extension(required_capabilities{});
  const proposal twice{reinit_proposal{text("another group"), mls10, cipher_suite_1, {one, one}}};
  forger{r}.check_list({twice}, rule::duplicate_extension);
  check_proposal(r, twice, rule::duplicate_extension);
}

TEST_CASE("12.2: a commit that covers one proposal twice is refused, by reference and beside its own value") {
  room r{3};
  r.psks["k"] = text("known");
  forger f{r};
  const auto g = r.invite("dora");
  const auto key = key_named(r, "k");
  const auto add = r.proposed(1, g.add());
  const auto psk = r.proposed(2, key);
  const auto extensions = r.proposed(2, new_extensions({}));
  f.check(f.with_list({{add}, {add}}), rule::client_added_twice);
  f.check(f.with_list({{add}, {g.add()}}), rule::client_added_twice);
  f.check(f.with_list({{psk}, {psk}}), rule::psk_twice);
  f.check(f.with_list({{key}, {psk}}), rule::psk_twice);
  f.check(f.with_list({{extensions}, {new_extensions({})}}), rule::extensions_changed_twice);
}

TEST_CASE("12.2: a ReInit that others proposed is covered alone or not at all") {
  room r{3};
  forger f{r};
  const auto reinit = r.proposed(1, new_group());
  const auto removal = r.proposed(1, removal_of(2));
  f.check(f.with_list({{reinit}, {removal}}), rule::reinit_not_alone);
  f.check(f.with_list({{removal}, {reinit}}), rule::reinit_not_alone);
  f.check(f.with_list({{reinit}, {new_group()}}), rule::reinit_not_alone);
}

TEST_CASE("12.1.4: a resumption key of an unknown epoch or group is refused") {
  room r{3};
  forger f{r};
  for (const auto& [id, epoch] :
       {std::pair{text("a group"), r[0].epoch() + 1}, std::pair{text("a group"), std::uint64_t{0}},
        std::pair{text("another group"), r[0].epoch()}}) {
    const proposal p{psk_proposal{resumption_psk(resumption_usage::application, id, epoch, r.random)}};
    // Member 1 joined in epoch 1, and does not have the key of epoch 0.
    f.check(f.with_list({{p}}), rule::psk_unknown);
  }
}

TEST_CASE("12.2: an Update whose sender is no member cannot be committed") {
  const proposal update{update_proposal{}};
  const sender committer = sender::member(leaf(0));
  for (const auto from : {sender_type::external, sender_type::new_member_proposal}) {
    const sent_proposal sent{{from, 0}, &update, true};
    CHECK(broken(plan_proposals({&sent, 1}, committer)) == rule::update_not_from_member);
  }
}

TEST_CASE("12.1.8: in a group without external senders, a proposal from outside is refused") {
  room r{2};
  const auto key = make_signature_key(r.random);
  const auto c =
      sign_content(wire_format::public_message,
                   {text("a group"), r[0].epoch(), {sender_type::external, 0}, {}, removal_of(1)}, key, {});
  CHECK(broken(r[0].receive(encoded(mls_message{public_message{c.content, c.auth, {}}}), r.s)) ==
        rule::unknown_sender);
}

TEST_CASE("12.1.8: an external sender that the group no longer lists is refused") {
  random_source random = seeded_random(77);
  const auto key = make_signature_key(random);
  room r{3,
         {to_extension(
             std::vector{external_sender{public_key_of(key.public_key), {.identity = text("server")}}})}};
  const auto from_outside = [&](std::uint64_t epoch) {
    const auto c =
        sign_content(wire_format::public_message,
                     {text("a group"), epoch, {sender_type::external, 0}, {}, removal_of(2)}, key, {});
    return encoded(mls_message{public_message{c.content, c.auth, {}}});
  };
  CHECK(broken(r[0].receive(from_outside(r[0].epoch() - 1), r.s)) == rule::wrong_epoch);
  const auto good = from_outside(r[0].epoch());
  for (auto& m : r.members)
    proposal_in(m.receive(good, r.s));
  r.concluded(0, {new_extensions({})});
  CHECK(broken(r[0].receive(from_outside(r[0].epoch()), r.s)) == rule::unknown_sender);
}

TEST_CASE("12.1.8: a new member whose key package breaks 10.1 does not propose itself") {
  room r{2};
  const auto g = r.invite("carol");
  const auto from_new = [&](proposal p) {
    const auto c =
        sign_content(wire_format::public_message,
                     {text("a group"), r[0].epoch(), {sender_type::new_member_proposal, 0}, {}, std::move(p)},
                     g.who.signer, {});
    return encoded(mls_message{public_message{c.content, c.auth, {}}});
  };
  const auto expired = add_of(g, [](auto& k) { k.leaf_node.lifetime = {now - 3 * day, now - day}; });
  CHECK(broken(r[0].receive(from_new(expired), r.s)) == rule::leaf_expired);
  r.policy.answer = rule::credential_refused;
  CHECK(broken(r[0].receive(from_new(g.add()), r.s)) == rule::credential_refused);
}

// --- the proposals that a committer covers

TEST_CASE(
    "12.2: a committer covers those proposals of others that are valid together, and leaves out the rest") {
  room r{4};
  r.psks["k"] = text("known");
  const auto g = r.invite("dora");
  const auto key = key_named(r, "k");
  const auto covers = [&](const std::function<bool(const commit_effects&)>& expected) {
    auto made = taken(r[0].commit({}, r.s));
    CHECK(expected(made.pending.effects()));
    // All proposals are dropped when the epoch ends.
    r.conclude(0, made);
    r.check_agreed();
  };
  SUBCASE("the removal of the committer") {
    r.proposed(1, removal_of(0));
    covers([](const auto& e) { return e.removed.empty(); });
  }
  SUBCASE("an Update of the committer") {
    r.proposed(0, taken(r[0].propose_update(r.s)));
    covers([](const auto& e) { return e.updated.empty(); });
  }
  SUBCASE("one removal from two members") {
    r.proposed(1, removal_of(3));
    r.proposed(2, removal_of(3));
    covers([](const auto& e) { return e.removed == std::vector{leaf(3)}; });
  }
  SUBCASE("an Update of whoever is removed") {
    r.proposed(3, taken(r[3].propose_update(r.s)));
    r.proposed(1, removal_of(3));
    covers([](const auto& e) { return e.removed == std::vector{leaf(3)} && e.updated.empty(); });
  }
  SUBCASE("one client from two members") {
    r.proposed(1, g.add());
    r.proposed(2, r.invite(g.who.copy()).add());
    covers([](const auto& e) { return e.added == std::vector{leaf(4)}; });
  }
  SUBCASE("one pre-shared key from two members") {
    r.proposed(1, key);
    r.proposed(2, key);
    covers([](const auto&) { return true; });
  }
  SUBCASE("new extensions from two members") {
    r.proposed(1, new_extensions({}));
    r.proposed(2, new_extensions({to_extension(required_capabilities{})}));
    covers([](const auto& e) { return e.changes_extensions; });
    CHECK(r[0].extensions().empty());
  }
  SUBCASE("a ReInit") {
    r.proposed(1, new_group());
    r.proposed(2, removal_of(3));
    covers([](const auto& e) { return !e.reinit && e.removed == std::vector{leaf(3)}; });
  }
}

TEST_CASE("11: a group whose requirements its creator does not meet is not created") {
  room r;
  const auto answer = [&](extension_list list, mls::capabilities has = own_capabilities()) {
    auto who = r.identity("x");
    who.capabilities = std::move(has);
    return broken(group::create(text("x"), std::move(who), std::move(list), r.s));
  };
  const auto one = to_extension(required_capabilities{});
  CHECK(answer({one, one}) == rule::duplicate_extension);
  CHECK(answer({{extension_type::required_capabilities, text("?")}}) == rule::malformed);
  CHECK(answer({{extension_type::external_senders, text("?")}}) == rule::malformed);
  CHECK(answer({{private_extension, {}}}) == rule::leaf_lacks_group_extension);
  CHECK(answer({to_extension(required_capabilities{.proposals = {private_proposal}})}) ==
        rule::leaf_lacks_required_proposal);
  auto no_suite = own_capabilities();
  no_suite.cipher_suites.clear();
  CHECK(answer({}, no_suite) == rule::leaf_lacks_cipher_suite);
  CHECK(answer({one}) == rule::none);
}

TEST_CASE("12.2: a ReInit of the committer leaves out what others proposed") {
  room r{3};
  r.proposed(1, removal_of(2));
  const auto made = r.commit(0, {new_group()});
  CHECK(made.pending.effects().reinit);
  CHECK(made.pending.effects().removed.empty());
}

TEST_CASE("10: two key packages of one client share no key") {
  room r;
  const auto who = r.identity("x");
  const auto one = r.invite(who.copy()).package, other = r.invite(who.copy()).package;
  const auto keys = [](const own_key_package& p) {
    return std::array{p.package.init_key, p.package.leaf_node.encryption_key};
  };
  for (const auto& a : keys(one))
    for (const auto& b : keys(other))
      CHECK(a != b);
  CHECK(one.package.init_key != one.package.leaf_node.encryption_key);
}

TEST_CASE("12.3: whoever is added takes the place of whoever the same list removes, wherever it stands in "
          "the list") {
  room r{4};
  const auto g = r.invite("dora"), h = r.invite("emil");
  auto made = r.commit(0, {g.add(), removal_of(2), h.add()});
  CHECK(made.pending.effects().added == std::vector{leaf(2), leaf(4)});
  r.conclude(0, made);
  r.members.push_back(taken(r.try_join(made, g, 0)));
  r.members.push_back(taken(r.try_join(made, h, 1)));
  r.check_talk();
}

TEST_CASE("12.4.1: every client that a commit adds gets a Welcome with secrets of its own") {
  room r{2};
  std::vector<proposal> adds;
  std::vector<guest> guests;
  for (const auto* name : {"carol", "dora", "emil"}) {
    guests.push_back(r.invite(name));
    adds.push_back(guests.back().add());
  }
  auto made = r.commit(0, adds);
  REQUIRE(made.welcomes.size() == guests.size());
  CHECK(broken(r.try_join(made, guests[0], 1)) == rule::welcome_not_for_us);
  r.conclude(0, made);
  for (std::size_t n = 0; n < guests.size(); ++n)
    r.members.push_back(taken(r.try_join(made, guests[n], n)));
  r.check_talk();
}

// --- groups that are over

TEST_CASE("12.4.2: a member that was removed accepts no handshake message any more") {
  room r{3};
  r.concluded(0, {removal_of(2)});
  REQUIRE(r[2].is_over());
  CHECK(broken(r[2].receive(r.commit(0).commit, r.s)) == rule::group_over);
  CHECK(broken(r[2].receive(taken(r[1].propose(removal_of(0), r.s)), r.s)) == rule::group_over);
  CHECK(broken(r[2].propose(removal_of(0), r.s)) == rule::group_over);
  CHECK(broken(r[2].propose_update(r.s)) == rule::group_over);
  CHECK(broken(r[2].group_info(tree_delivery::apart)) == rule::group_over);
}

TEST_CASE("12.4.2: after a ReInit a server applies no commit, not even one that it had checked") {
  room r{3};
  const auto info = taken(r[0].group_info(tree_delivery::in_group_info));
  auto server = taken(follower::begin(info, std::nullopt, r.s));
  auto ends = taken(server.check(r.commit(0, {new_group()}).commit, r.s));
  auto goes_on = taken(server.check(r.commit(1).commit, r.s));
  taken(server.apply(std::move(ends)));
  CHECK(broken(server.apply(std::move(goes_on))) == rule::group_over);
}

TEST_CASE("6: an application message of another group is refused as such, whatever its epoch") {
  room r{2};
  auto message = taken(read_message(r.say(1, "hello")));
  auto& sealed = std::get<private_message>(message.body);
  sealed.group_id = text("another");
  for (const auto epoch : {r[0].epoch(), std::uint64_t{0}, r[0].epoch() + 1}) {
    sealed.epoch = epoch;
    CHECK(broken(r[0].receive(encoded(message), r.s)) == rule::wrong_group);
  }
}

// --- messages

TEST_CASE("6.3.2: a message of one epoch is not accepted as one of another") {
  room r{2};
  const auto old = r.say(1, "hello");
  r.concluded(0);
  auto message = taken(read_message(old));
  std::get<private_message>(message.body).epoch = r[0].epoch();
  CHECK(broken(r[0].receive(encoded(message), r.s)) == rule::cannot_open);
  CHECK(words_in(r[0].receive(old, r.s)) == "hello");
}

TEST_CASE("15.3: a message of a generation far ahead costs next to nothing, and the next is still read") {
  room r{2};
  auto& st = state_of(r[1]);
  const auto next = r.say(1, "hello");
  auto keys = st.keys->saved({secret_tree_part::what::ratchet, 2 * 1 + 1});
  REQUIRE(keys);
  auto far_ahead = to_bytes(keys->view());
  std::fill_n(far_ahead.begin(), 3, std::uint8_t{0xff}); // the generation comes first
  done(st.keys->restore({secret_tree_part::what::ratchet, 2 * 1 + 1}, far_ahead));
  CHECK(broken(r[0].receive(r.say(1, "from far"), r.s)) == rule::generation_too_far);
  CHECK(words_in(r[0].receive(next, r.s)) == "hello");
}

TEST_CASE("12.4.2: a commit that comes as a PrivateMessage obeys the same rules") {
  room r{3};
  const auto sealed = [&](const commit_change& change, bool keeps_tag = true) {
    auto made = opened(r.commit(2).commit);
    change(std::get<commit>(made.content.body));
    auto& st = state_of(r[2]);
    auto content =
        sign_content(wire_format::private_message, made.content, st.identity.signer, st.now.encoded_context);
    content.auth.confirmation_tag = keeps_tag ? *made.auth.confirmation_tag : bytes{};
    return encoded(mls_message{
        taken(protect_private(content, st.secrets.sender_data, *st.keys, padding::none, r.random))});
  };
  CHECK(broken(r[0].receive(sealed([](auto&) {}), r.s)) == rule::wrong_confirmation_tag);
  CHECK(broken(r[0].receive(sealed([](auto&) {}, false), r.s)) == rule::wrong_confirmation_tag);
  CHECK(broken(r[0].receive(sealed([](auto& c) { c.path.reset(); }), r.s)) == rule::commit_without_path);
  CHECK(broken(r[0].receive(sealed([](auto& c) { c.proposals = {{removal_of(2)}}; }), r.s)) ==
        rule::remove_of_committer);
  r.concluded(1);
  r.check_talk();
}

} // namespace
} // namespace parley::mls::test

// A group from its first member to its last epoch.
#include "tests/protocol/mls/group_forger.hpp"

namespace parley::mls::test {
namespace {

proposal removal_of(leaf_index i) {
  return {remove_proposal{i}};
}

TEST_CASE("11: a new group has one member, in epoch 0") {
  room r;
  CHECK(r[0].epoch() == 0);
  CHECK(r[0].member_count() == 1);
  CHECK(r[0].own_leaf() == leaf_index{0});
  CHECK(equal(r[0].id(), text("a group")));
  CHECK(!r[0].is_over());
  r.concluded(0);
  CHECK(r[0].epoch() == 1);
}

TEST_CASE("a member is added by a Welcome, with the tree inside of it or apart") {
  for (const auto where : {tree_delivery::in_group_info, tree_delivery::apart}) {
    room r{2};
    const auto g = r.invite("carol");
    auto made = taken(r[0].commit({.proposals = {g.add()}, .tree = where}, r.s));
    CHECK(made.welcomes.size() == 1);
    CHECK(made.ratchet_tree.empty() == (where == tree_delivery::in_group_info));
    r.conclude(0, made);
    r.members.push_back(taken(r.try_join(made, g)));
    CHECK(r[2].own_leaf() == leaf_index{2});
    CHECK(r[2].member_count() == 3);
    CHECK(r[2].members()[2].credential.identity == text("carol"));
    r.check_talk();
  }
}

TEST_CASE("13.5: a client whose key package and leaf contain GREASE is proposed, added, and joins") {
  const extension_type unlisted{0x3a3a}, listed{0x5a5a};
  auto greasy = own_capabilities();
  greasy.versions.push_back(0x0a0a);
  greasy.cipher_suites.push_back(0x1a1a);
  greasy.extensions.push_back(listed);
  greasy.proposals.push_back(proposal_type{0x2a2a});
  greasy.credentials.push_back(credential_type{0x4a4a});
  room r{2};
  auto who = r.identity("carol");
  who.capabilities = greasy;
  who.leaf_extensions = {{listed, text("grease")}};
  auto g = r.invite(std::move(who));
  g.package.package.extensions = {{unlisted, text("more of it")}, {listed, {}}};
  sign(g.package.package, g.who.signer);
  r.proposed(1, g.add());
  auto made = r.commit(0);
  r.conclude(0, made);
  r.members.push_back(taken(r.try_join(made, g)));
  r.check_talk();
  r.concluded(2); // its next leaf contains them, too
  CHECK(state_of(r[0]).now.tree.leaf(leaf_index{2}).extensions == g.who.leaf_extensions);
  r.check_talk();
}

TEST_CASE("a commit that only adds may have no path, and the new members are full members") {
  room r{3};
  const auto dora = r.invite("dora"), emil = r.invite("emil");
  auto made = taken(r[1].commit({.proposals = {dora.add(), emil.add()}, .always_path = false}, r.s));
  const auto sent = taken(read_message(made.commit));
  CHECK(!sent.as<public_message>()->content.as<commit>()->path);
  CHECK(made.pending.effects().added == std::vector{leaf_index{3}, leaf_index{4}});
  r.conclude(1, made);
  r.members.push_back(taken(r.try_join(made, dora, 0)));
  r.members.push_back(taken(r.try_join(made, emil, 1)));
  r.check_talk();
  r.concluded(4);
  r.check_talk();
}

TEST_CASE("messages are read in any order, each once") {
  room r{2};
  std::vector<bytes> said;
  for (int n = 0; n < 5; ++n)
    said.push_back(r.say(0, std::to_string(n)));
  for (const int n : {3, 0, 4, 2, 1})
    CHECK(words_in(r[1].receive(said[static_cast<std::size_t>(n)], r.s)) == std::to_string(n));
  CHECK(broken(r[1].receive(said[2], r.s)) == rule::generation_used);
  CHECK(words_in(r[0].receive(r.say(1, "back"), r.s)) == "back");
}

TEST_CASE("the additional data of a message is authenticated") {
  room r{2};
  const auto sent = taken(r[0].send(view_of("secret"), view_of("for all to see"), r.s));
  auto changed = taken(read_message(sent));
  std::get<private_message>(changed.body).authenticated_data = text("for all to hear");
  CHECK(broken(r[1].receive(encoded(changed), r.s)) == rule::cannot_open);
  auto heard = taken(r[1].receive(sent, r.s));
  const auto& message = std::get<application_message>(heard);
  CHECK(message.sender == leaf_index{0});
  CHECK(message.epoch == r[1].epoch());
  CHECK(message.authenticated_data == text("for all to see"));
}

TEST_CASE("15.1: a length is seen only as one of a few classes") {
  room r{2};
  const auto size = [&](std::size_t n) { return taken(r[0].send(bytes(n, 'x'), {}, r.s)).size(); };
  CHECK(size(0) == size(100));
  CHECK(size(1'000) == size(960));
  CHECK(size(100) < size(1'000));
  CHECK(size(1'000) < 1'000 + 1'000 / 4 + 300);
}

TEST_CASE("past epochs are read as far as past_epochs_max, and no further") {
  room r{3, {}, 1, {.past_epochs_max = 2}};
  std::vector<bytes> said;
  for (int n = 0; n < 4; ++n) {
    said.push_back(r.say(0, std::to_string(n)));
    r.concluded(2);
  }
  CHECK(broken(r[1].receive(said[0], r.s)) == rule::epoch_gone);
  CHECK(broken(r[1].receive(said[1], r.s)) == rule::epoch_gone);
  CHECK(words_in(r[1].receive(said[2], r.s)) == "2");
  CHECK(words_in(r[1].receive(said[3], r.s)) == "3");
  CHECK(broken(r[1].receive(said[3], r.s)) == rule::generation_used);
}

TEST_CASE("a message of an epoch that has not begun here yet is refused, and accepted once it has") {
  room r{2};
  auto made = r.commit(0);
  done(r[0].confirm(std::move(made.pending)));
  const auto early = r.say(0, "early");
  CHECK(broken(r[1].receive(early, r.s)) == rule::epoch_ahead);
  done(r[1].confirm(commit_in(r[1].receive(made.commit, r.s))));
  CHECK(words_in(r[1].receive(early, r.s)) == "early");
}

TEST_CASE("an update that was proposed gives its member a new key when somebody else commits it") {
  room r{4};
  const auto before = state_of(r[2]).now.tree.encryption_key(to_node(leaf_index{2}));
  r.proposed(2, taken(r[2].propose_update(r.s)));
  auto made = r.commit(1);
  CHECK(made.pending.effects().updated == std::vector{leaf_index{2}});
  r.conclude(1, made);
  CHECK(state_of(r[2]).now.tree.encryption_key(to_node(leaf_index{2})) != before);
  r.check_talk();
  done(state_of(r[2]).private_keys.check(state_of(r[2]).now.tree));
  r.concluded(2);
  r.check_talk();
}

TEST_CASE("of two updates of one member the newest is committed") {
  room r{3};
  r.proposed(2, taken(r[2].propose_update(r.s)));
  r.proposed(2, taken(r[2].propose_update(r.s)));
  r.concluded(0);
  r.check_talk();
  r.concluded(1);
  r.check_talk();
}

TEST_CASE("a commit without proposals renews the committer's path") {
  room r{4};
  for (std::size_t by = 0; by < 4; ++by) {
    const auto leaf = r[by].own_leaf();
    const auto before = state_of(r[0]).now.tree.encryption_key(to_node(leaf));
    r.concluded(by);
    CHECK(state_of(r[0]).now.tree.encryption_key(to_node(leaf)) != before);
    r.check_talk();
  }
}

TEST_CASE("a member that is removed learns so, can still read earlier messages, and no later ones") {
  room r{4};
  const auto late = r.say(0, "late");
  auto made = r.commit(0, {removal_of(leaf_index{2})});
  CHECK(made.pending.effects().removed == std::vector{leaf_index{2}});
  auto pending = commit_in(r[2].receive(made.commit, r.s));
  CHECK(pending.removes_this_member());
  CHECK(pending.epoch_authenticator().empty());
  r.conclude(0, made);
  CHECK(r[2].is_over());
  CHECK(r[0].member_count() == 3);
  const auto after = r.say(0, "after");
  CHECK(broken(r[2].receive(after, r.s)) == rule::group_over);
  CHECK(words_in(r[2].receive(late, r.s)) == "late");
  CHECK(broken(r[2].send(view_of("x"), {}, r.s)) == rule::group_over);
  CHECK(broken(r[2].propose_update(r.s)) == rule::group_over);
  CHECK(broken(r[2].commit({}, r.s)) == rule::group_over);
  CHECK(broken(r[2].export_secret("x", {}, 32)) == rule::group_over);
  CHECK(broken(r[2].group_info(tree_delivery::apart)) == rule::group_over);
  CHECK(words_in(r[1].receive(after, r.s)) == "after");
  r.concluded(3);
  CHECK(broken(r[2].receive(r.say(0, "further"), r.s)) == rule::epoch_ahead);
  r.check_talk();
}

TEST_CASE("a proposed removal is committed by another member, and the leaf is used again") {
  room r{4};
  r.proposed(3, removal_of(leaf_index{1}));
  r.concluded(2);
  CHECK(r[1].is_over());
  r.check_talk();
  r.add("newcomer", 2);
  CHECK(r.members.back().own_leaf() == leaf_index{1});
  r.check_talk();
}

TEST_CASE("a member that joins later cannot read earlier messages") {
  room r{2};
  const auto before = r.say(0, "before");
  r.add("carol");
  CHECK(broken(r[2].receive(before, r.s)) == rule::epoch_gone);
  CHECK(words_in(r[1].receive(before, r.s)) == "before");
}

TEST_CASE(
    "a late message is verified with the key of its sender, although its leaf has another member by now") {
  room r{3};
  const auto late = r.say(2, "late");
  r.concluded(0, {removal_of(leaf_index{2})});
  r.add("newcomer");
  CHECK(r.members.back().own_leaf() == leaf_index{2});
  CHECK(words_in(r[1].receive(late, r.s)) == "late");
}

TEST_CASE("a client joins by an external commit") {
  for (const auto where : {tree_delivery::in_group_info, tree_delivery::apart}) {
    room r{3};
    const auto info = taken(r[1].group_info(where));
    const auto tree = r[1].ratchet_tree();
    auto joining = taken(
        join_externally(info, where == tree_delivery::apart ? std::optional<bytes_view>{tree} : std::nullopt,
                        r.identity("dora"), std::nullopt, r.s));
    for (auto& g : r.members) {
      auto pending = commit_in(g.receive(joining.commit, r.s));
      CHECK(pending.effects().is_external);
      CHECK(pending.effects().added == std::vector{leaf_index{3}});
      done(g.confirm(std::move(pending)));
    }
    r.members.push_back(std::move(joining.group));
    CHECK(r[3].own_leaf() == leaf_index{3});
    r.check_talk();
    r.concluded(3);
    r.check_talk();
  }
}

TEST_CASE("the GroupInfo that is created with a commit can be used to join once the commit is accepted") {
  room r{2};
  auto made = r.commit(1);
  r.conclude(1, made);
  auto joining =
      taken(join_externally(made.group_info, made.ratchet_tree, r.identity("x"), std::nullopt, r.s));
  for (auto& g : r.members)
    done(g.confirm(commit_in(g.receive(joining.commit, r.s))));
  r.members.push_back(std::move(joining.group));
  r.check_talk();
}

TEST_CASE("a client that has lost its state replaces its older appearance") {
  room r{4};
  auto who = state_of(r[2]).identity.copy();
  auto joining = taken(join_externally(taken(r[0].group_info(tree_delivery::in_group_info)), std::nullopt,
                                       std::move(who), leaf_index{2}, r.s));
  for (auto& g : r.members) {
    auto pending = commit_in(g.receive(joining.commit, r.s));
    CHECK(pending.effects().removed == std::vector{leaf_index{2}});
    done(g.confirm(std::move(pending)));
  }
  CHECK(r[2].is_over());
  r.members.push_back(std::move(joining.group));
  CHECK(r[4].own_leaf() == leaf_index{2});
  r.check_talk();
}

TEST_CASE("a pre-shared key from outside goes into the epoch, and into the Welcome") {
  room r{2};
  r.psks["a key"] = text("known to all");
  const auto g = r.invite("carol");
  auto made = r.commit(0, {{psk_proposal{external_psk(text("a key"), r.random)}}, g.add()});
  r.conclude(0, made);
  r.members.push_back(taken(r.try_join(made, g)));
  r.check_talk();
}

TEST_CASE("a resumption key of a past epoch goes into the next, and members without it cannot follow") {
  room r{3};
  const auto then = r[0].epoch();
  r.concluded(0);
  auto made = r.commit(
      1, {{psk_proposal{resumption_psk(resumption_usage::application, text("a group"), then, r.random)}}});
  state_of(r[2]).past.clear();
  CHECK(broken(r[2].receive(made.commit, r.s)) == rule::psk_unknown);
  done(r[0].confirm(commit_in(r[0].receive(made.commit, r.s))));
  done(r[1].confirm(std::move(made.pending)));
  CHECK(equal(r[0].epoch_authenticator(), r[1].epoch_authenticator()));
}

TEST_CASE("8.5: all members export the same, another for each label, context and epoch") {
  room r{2};
  const auto exported = [&](std::size_t who, std::string_view label, std::string_view context) {
    return to_bytes(taken(r[who].export_secret(label, view_of(context), 32)).view());
  };
  const auto first = exported(0, "label", "context");
  CHECK(first == exported(1, "label", "context"));
  CHECK(first != exported(1, "another", "context"));
  CHECK(first != exported(1, "label", "another"));
  r.concluded(0);
  CHECK(first != exported(0, "label", "context"));
  CHECK(exported(0, "label", "context") == exported(1, "label", "context"));
}

TEST_CASE("12.1.7: the extensions of the group are replaced, also for members that join later") {
  room r{3};
  const auto needed = to_extension(required_capabilities{.credentials = {credential_type::basic}});
  r.concluded(0, {{group_context_extensions_proposal{{needed}}}});
  CHECK(r[2].extensions() == extension_list{needed});
  r.add("dora");
  CHECK(r[3].extensions() == extension_list{needed});
  r.check_talk();
}

TEST_CASE("a commit that is dropped leaves the old epoch as it was") {
  room r{3};
  const auto epoch = r[0].epoch();
  for (int n = 0; n < 3; ++n) {
    const auto dropped = r.commit(0, {removal_of(leaf_index{1}), r.invite("nobody").add()});
    const auto heard = commit_in(r[2].receive(dropped.commit, r.s));
  }
  CHECK(r[0].epoch() == epoch);
  CHECK(r[0].member_count() == 3);
  r.check_talk();
  r.concluded(1);
  r.check_talk();
}

TEST_CASE("of two who commit at once, the loser drops its own, follows the winner and commits again") {
  room r{3};
  const auto g = r.invite("dora");
  auto wins = r.commit(0, {removal_of(leaf_index{2})});
  auto loses = r.commit(1, {g.add()});
  r.conclude(0, wins);
  CHECK(broken(r[1].confirm(std::move(loses.pending))) == rule::pending_out_of_date);
  CHECK(broken(r[0].receive(loses.commit, r.s)) == rule::wrong_epoch);
  auto again = r.commit(1, {g.add()});
  r.conclude(1, again);
  r.members.push_back(taken(r.try_join(again, g)));
  r.check_talk();
}

TEST_CASE("a pending commit fits only the group that it came from") {
  room r{2};
  auto other = taken(group::create(text("another group"), r.identity("person 0"), {}, r.s));
  auto made = r.commit(0);
  while (other.epoch() < r[0].epoch())
    done(other.confirm(std::move(taken(other.commit({}, r.s)).pending)));
  CHECK(broken(other.confirm(std::move(made.pending))) == rule::pending_out_of_date);
  auto first = r.commit(0), second = r.commit(0);
  r.conclude(0, first);
  CHECK(broken(r[0].confirm(std::move(second.pending))) == rule::pending_out_of_date);
  r.check_talk();
}

TEST_CASE("12.4.2: a member's own commit is not processed like that of another") {
  room r{2};
  auto made = r.commit(0);
  CHECK(broken(r[0].receive(made.commit, r.s)) == rule::own_commit);
  r.conclude(0, made);
  r.check_talk();
}

TEST_CASE("12.4: a member that received a proposal has to commit it before it sends a message") {
  room r{3};
  r.proposed(1, removal_of(leaf_index{2}));
  for (std::size_t i = 0; i < 3; ++i)
    CHECK(broken(r[i].send(view_of("x"), {}, r.s)) == rule::commit_wanted_first);
  r.concluded(0);
  r.check_talk();
}

TEST_CASE("12.4.2: in a group that ended with a ReInit no message is sent any more") {
  room r{2};
  const auto late = r.say(0, "late");
  r.concluded(0, {{reinit_proposal{text("a group"), mls10, cipher_suite_1, {}}}});
  for (auto& g : r.members) {
    CHECK(g.is_over());
    CHECK(broken(g.send(view_of("x"), {}, r.s)) == rule::group_over);
    CHECK(broken(g.commit({}, r.s)) == rule::group_over);
  }
  CHECK(words_in(r[1].receive(late, r.s)) == "late");
}

TEST_CASE("a newer statement goes into the next leaf") {
  room r{3};
  auto newer = state_of(r[1]).identity.credential;
  newer.certificates.clear();
  r[1].use_credential(newer);
  r.concluded(1);
  r.check_talk();
  r[1].use_credential({.identity = text("somebody else")});
  const counting_policy indulgent;
  const auto made = taken(r[1].commit({}, {indulgent, r.random, now}));
  CHECK(broken(r[0].receive(made.commit, r.s)) == rule::credential_not_a_successor);
}

TEST_CASE("no changed byte of a commit is accepted, and none of them costs the group anything") {
  room r{3};
  auto made = r.commit(0, {removal_of(leaf_index{2})});
  const auto before = to_bytes(r[1].epoch_authenticator());
  const auto tree = r[1].ratchet_tree();
  for (std::size_t i = 0; i < made.commit.size(); ++i) {
    auto changed = made.commit;
    changed[i] ^= 0x10;
    REQUIRE(broken(r[1].receive(changed, r.s)) != rule::none);
    auto shorter = made.commit;
    shorter.resize(i);
    REQUIRE(broken(r[1].receive(shorter, r.s)) != rule::none);
  }
  CHECK(equal(r[1].epoch_authenticator(), before));
  CHECK(r[1].ratchet_tree() == tree);
  r.check_talk();
  r.conclude(0, made);
  r.check_talk();
}

TEST_CASE("no changed byte of an application message is accepted, and the message itself still is") {
  room r{2};
  const auto sent = r.say(0, "hello");
  for (std::size_t i = 0; i < sent.size(); ++i) {
    auto changed = sent;
    changed[i] ^= 0x01;
    REQUIRE(broken(r[1].receive(changed, r.s)) != rule::none);
  }
  CHECK(words_in(r[1].receive(sent, r.s)) == "hello");
}

TEST_CASE("no more proposals are kept than the settings say") {
  room r{2, {}, 1, {.proposals_max = 2}};
  for (int n = 0; n < 2; ++n)
    r.proposed(0, {psk_proposal{external_psk(text("k"), r.random)}});
  CHECK(broken(r[0].propose({psk_proposal{external_psk(text("k"), r.random)}}, r.s)) ==
        rule::too_many_proposals);
}

TEST_CASE("a proposal that comes as a PrivateMessage is kept and committed") {
  room r{3};
  const auto message = proposed_privately_by(r[2], removal_of(leaf_index{1}), r.s);
  const auto ref = proposal_in(r[0].receive(message, r.s));
  CHECK(broken(r[0].receive(message, r.s)) == rule::generation_used);
  proposal_in(r[1].receive(message, r.s));
  auto made = r.commit(0);
  CHECK(std::get<commit>(taken(read_message(made.commit)).as<public_message>()->content.body).proposals ==
        std::vector<proposal_or_ref>{{ref}});
  CHECK(commit_in(r[1].receive(made.commit, r.s)).removes_this_member());
  CHECK(broken(r[2].receive(made.commit, r.s)) == rule::unknown_proposal); // it never received the proposal
}

TEST_CASE(
    "an encrypted commit that arrived before its proposals can be decrypted again until it is confirmed") {
  room r{3};
  r.psks["word"] = text("known to all");
  const auto id = external_psk(text("word"), r.random);
  const auto proposed = proposed_privately_by(r[1], {psk_proposal{id}}, r.s);
  const auto ref = proposal_in(r[0].receive(proposed, r.s));
  const auto sealed = committed_privately_by(r[0], {{ref}}, {id}, r.s);
  CHECK(broken(r[2].receive(sealed, r.s)) == rule::unknown_proposal);
  CHECK(broken(r[2].receive(sealed, r.s)) == rule::unknown_proposal);
  proposal_in(r[2].receive(proposed, r.s));
  r.psks.clear();
  CHECK(broken(r[2].receive(sealed, r.s)) == rule::psk_unknown);
  r.psks["word"] = text("known to all");
  commit_in(r[2].receive(sealed, r.s)); // the pending commit is dropped
  done(r[2].confirm(commit_in(r[2].receive(sealed, r.s))));
  CHECK(r[2].epoch() == 3);
  // 9.2: no key is kept that would open it.
  const auto from = ratchet_kind::handshake;
  CHECK(broken(state_of(r[2]).past.at(2).keys.find(leaf_index{0}, from, 0)) == rule::generation_used);
}

TEST_CASE("a proposal that is refused although its sender is right consumes no key") {
  room r{2, {}, 1, {.proposals_max = 1}};
  r.proposed(1, {psk_proposal{external_psk(text("k"), r.random)}});
  const auto message = proposed_privately_by(r[1], {psk_proposal{external_psk(text("k"), r.random)}}, r.s);
  CHECK(broken(r[0].receive(message, r.s)) == rule::too_many_proposals);
  CHECK(broken(r[0].receive(message, r.s)) == rule::too_many_proposals);
}

TEST_CASE("12.2: of two proposals of one pre-shared key a commit covers one, and all others beside it") {
  room r{3};
  r.psks["a key"] = text("known to all");
  const proposal key{psk_proposal{external_psk(text("a key"), r.random)}};
  const auto g = r.invite("dora");
  const auto first = r.proposed(1, key);
  r.proposed(2, key);
  const auto add = r.proposed(1, g.add());
  auto made = r.commit(0);
  CHECK(std::get<commit>(opened(made.commit).content.body).proposals ==
        std::vector<proposal_or_ref>{{add}, {first}});
  r.conclude(0, made);
  r.members.push_back(taken(r.try_join(made, g)));
  r.check_talk();
}

TEST_CASE("proposals that cannot be committed together do not keep a member from committing") {
  room r{3};
  r.proposed(1, {psk_proposal{external_psk(text("held by nobody"), r.random)}});
  const auto g = r.invite("dora");
  auto other = r.invite("emil");
  auto& leaf = other.package.package.leaf_node;
  leaf.encryption_key = g.package.package.leaf_node.encryption_key;
  sign(leaf, other.who.signer, {});
  sign(other.package.package, other.who.signer);
  r.proposed(1, g.add());
  r.proposed(2, other.add());
  auto made = r.commit(0);
  CHECK(made.welcomes.size() == 1);
  r.conclude(0, made);
  r.members.push_back(taken(r.try_join(made, g)));
  r.check_talk();
}

TEST_CASE("if new extensions and new members exclude each other, the removals are still committed") {
  auto all = own_capabilities();
  all.extensions.push_back(extension_type{0xf001});
  room r{4, {}, 1, {}, all};
  r.capabilities = own_capabilities();
  r.proposed(1, {group_context_extensions_proposal{{{extension_type{0xf001}, {}}}}});
  r.proposed(1, r.invite("lacking").add());
  r.proposed(2, removal_of(leaf_index{3}));
  CHECK(broken(r[0].commit({.proposals = {removal_of(leaf_index{9})}}, r.s)) == rule::no_such_leaf);
  r.concluded(0);
  CHECK(r[3].is_over());
  CHECK(r[0].member_count() == 3);
  CHECK(r[0].extensions().empty());
  r.check_talk();
}

TEST_CASE("7.3: a commit whose leaf the group would refuse is not created") {
  auto all = own_capabilities();
  all.extensions.push_back(extension_type{0xf001});
  room r{2, {{extension_type{0xf001}, {}}}, 1, {}, all};
  r.capabilities = own_capabilities();
  CHECK(broken(join_externally(taken(r[0].group_info(tree_delivery::in_group_info)), std::nullopt,
                               r.identity("lacking"), std::nullopt, r.s)) ==
        rule::leaf_lacks_group_extension);
  state_of(r[1]).identity.capabilities = own_capabilities();
  CHECK(broken(r[1].commit({}, r.s)) == rule::leaf_lacks_group_extension);
  r[0].use_credential({.type = credential_type::x509});
  CHECK(broken(r[0].commit({}, r.s)) == rule::leaf_lacks_own_credential);
}

TEST_CASE("5.3.1: a commit whose credential the group's policy would refuse is not created") {
  room r{2};
  r[0].use_credential({.identity = text("somebody else")});
  CHECK(broken(r[0].commit({}, r.s)) == rule::credential_not_a_successor);
  CHECK(broken(r[0].propose_update(r.s)) == rule::credential_not_a_successor);
  r[0].use_credential({.identity = text("person 0")});
  r.concluded(0);
  const auto asked = r.policy.asked;
  r.concluded(0); // a credential that stays is not checked again
  CHECK(r.policy.asked == asked);
  CHECK(broken(join_externally(taken(r[0].group_info(tree_delivery::in_group_info)), std::nullopt,
                               r.identity("somebody else"), leaf_index{1}, r.s)) ==
        rule::credential_not_a_successor);
}

TEST_CASE("7.3: a commit with a credential of a type that some member does not support is not created") {
  auto speaks = own_capabilities();
  speaks.credentials.push_back(credential_type::x509);
  struct any_policy : same_person_policy {
    result<void> accept_successor(const mls::credential&, const mls::credential&) const override {
      return {};
    }
  };
  room r;
  auto who = r.identity("person 0");
  who.capabilities = speaks;
  any_policy policy;
  const surroundings s{policy, r.random, now};
  r.members.clear();
  r.members.push_back(taken(group::create(text("a group"), std::move(who), {}, s)));
  r.add("person 1");
  r[0].use_credential({credential_type::x509, {}, {text("a certificate")}});
  CHECK(broken(r[0].commit({}, s)) == rule::credential_not_supported_by_all);
}

TEST_CASE("a pending commit does not fit another group of the same name") {
  room r{2}, other{2, {}, 2};
  auto made = r.commit(0);
  CHECK(broken(other[0].confirm(std::move(made.pending))) == rule::pending_out_of_date);
  auto heard = commit_in(r[1].receive(made.commit, r.s));
  CHECK(broken(other[1].confirm(std::move(heard))) == rule::pending_out_of_date);
  other.check_talk();
}

} // namespace
} // namespace parley::mls::test

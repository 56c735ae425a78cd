// A server's view of a group, compared with the members' own.
#include "protocol/mls/follower.hpp"

#include "protocol/mls/group.hpp"
#include "tests/protocol/mls/mls_fixture.hpp"

#include <doctest/doctest.h>

using namespace parley::mls;
using namespace parley::mls::test;

namespace {

template <class T>
T taken(result<T> r) {
  REQUIRE_MESSAGE(r.has_value(), std::string{describe(r.error().broken).sentence});
  return std::move(*r);
}

/// Members that accept every commit, and a follower that sees only what they send.
struct followed_group {
  counting_policy policy;
  random_source random = seeded_random(7);
  surroundings s{policy, random, now, nullptr};
  std::vector<client_identity> identities;
  std::vector<group> members;
  std::optional<follower> server;

  explicit followed_group(std::string_view id = "a group") {
    identities.push_back(somebody("first"));
    members.push_back(taken(group::create(to_bytes(view_of(id)), identities[0].copy(), {}, s)));
    server = taken(follower::begin(taken(members[0].group_info(tree_delivery::in_group_info)), {}, s));
  }

  client_identity somebody(std::string_view name) {
    return {make_signature_key(random), {credential_type::basic, to_bytes(view_of(name)), {}}};
  }

  /// Commits as the member at `from`. All others and the server receive the commit; returns
  /// what the server saw.
  commit_effects commit(std::size_t from, const commit_options& options = {}) {
    auto made = taken(members[from].commit(options, s));
    auto effects = place(made.commit, from);
    REQUIRE(members[from].confirm(std::move(made.pending)));
    agree();
    return effects;
  }
  commit_effects place(bytes_view commit, std::optional<std::size_t> from = {}) {
    auto effects = taken(server->apply(taken(server->check(commit, s))));
    for (std::size_t i = 0; i < members.size(); ++i)
      if (i != from && !members[i].is_over())
        REQUIRE(members[i].confirm(std::get<pending_commit>(taken(members[i].receive(commit, s)))));
    return effects;
  }
  void propose(std::size_t from, const bytes& message) {
    taken(server->propose(message, s));
    for (std::size_t i = 0; i < members.size(); ++i)
      if (i != from)
        taken(members[i].receive(message, s));
  }

  void add(std::size_t from, std::string_view name) {
    identities.push_back(somebody(name));
    const auto package = make_key_package(identities.back(), {now - day, now + day}, random);
    auto made = taken(members[from].commit({.proposals = {{add_proposal{package.package}}}}, s));
    place(made.commit, from);
    REQUIRE(members[from].confirm(std::move(made.pending)));
    const bytes& tree = made.ratchet_tree;
    members.push_back(
        taken(group::join(made.welcomes.front(), package, identities.back().copy(), tree, s, {})));
    agree();
  }

  /// The follower's tree, roster and epoch are the same as each member's.
  void agree() const {
    for (const auto& m : members) {
      if (m.is_over())
        continue;
      CHECK(m.epoch() == server->epoch());
      CHECK(m.members() == server->roster());
      CHECK(m.ratchet_tree() == server->ratchet_tree());
    }
  }

  /// A refused message leaves epoch, tree and proposals unchanged, and the group continues.
  void refused(rule why, bytes_view message) {
    const auto epoch = server->epoch();
    const auto tree = server->ratchet_tree();
    const auto proposals = server->proposal_count();
    CHECK(broken(server->check(message, s)) == why);
    CHECK(server->epoch() == epoch);
    CHECK(server->ratchet_tree() == tree);
    CHECK(server->proposal_count() == proposals);
  }

  bytes context() {
    const auto info = taken(read_message(taken(members[0].group_info(tree_delivery::apart))));
    return encoded(info.as<group_info>()->context);
  }
  /// The commit of a dishonest member, correctly signed.
  template <class Change>
  bytes forged(std::size_t from, const bytes& honest, Change change) {
    auto message = taken(read_message(honest));
    auto& m = std::get<public_message>(message.body);
    change(std::get<parley::mls::commit>(m.content.body));
    auto content = sign_content(wire_format::public_message, m.content, identities[from].signer, context());
    m.auth.signature = content.auth.signature;
    return encoded(message);
  }
};

struct three : followed_group {
  explicit three(std::string_view id = "a group") : followed_group{id} {
    add(0, "second");
    add(1, "third");
  }
};

} // namespace

TEST_CASE_FIXTURE(three, "6.1: a commit whose signature is wrong is refused") {
  const auto made = taken(members[1].commit({}, s));
  auto message = taken(read_message(made.commit));
  std::get<public_message>(message.body).auth.signature[5] ^= 1;
  refused(rule::bad_signature, encoded(message));
  // A valid signature by another member is not valid for this sender.
  message = taken(read_message(made.commit));
  std::get<public_message>(message.body).content.sender = sender::member(leaf_index{2});
  refused(rule::bad_signature, encoded(message));
  std::get<public_message>(message.body).content.sender = sender::member(leaf_index{3});
  refused(rule::unknown_sender, encoded(message));
  CHECK(taken(server->apply(taken(server->check(made.commit, s)))).committer == leaf_index{1});
}

TEST_CASE_FIXTURE(
    three,
    "12.4.2: of two commits of one epoch the second is refused, before and after the first is applied") {
  auto one = taken(members[1].commit({}, s)), other = taken(members[2].commit({}, s));
  auto first = taken(server->check(one.commit, s)), second = taken(server->check(other.commit, s));
  CHECK(first.epoch() == server->epoch() + 1);
  REQUIRE(server->apply(std::move(second)));
  const auto tree = server->ratchet_tree();
  CHECK(broken(server->apply(std::move(first))) == rule::pending_out_of_date);
  CHECK(server->ratchet_tree() == tree);
  refused(rule::wrong_epoch, one.commit);
  refused(rule::wrong_epoch, other.commit);
}

TEST_CASE_FIXTURE(three, "a checked commit fits only the follower that checked it, in its epoch and group") {
  const auto begun = [](followed_group& g) {
    return taken(follower::begin(taken(g.members[0].group_info(tree_delivery::in_group_info)), {}, g.s));
  };
  const auto checked = [](followed_group& g, follower& by) {
    return taken(by.check(taken(g.members[0].commit({}, g.s)).commit, g.s));
  };
  const auto does_not_fit = [](follower& in, followed_commit commit) {
    const auto tree = in.ratchet_tree();
    CHECK(broken(in.apply(std::move(commit))) == rule::pending_out_of_date);
    CHECK(in.ratchet_tree() == tree);
  };
  auto first = begun(*this);
  auto of_first = checked(*this, first);
  // Another object is refused, although its tree is the same.
  does_not_fit(*server, checked(*this, first));
  // So is one that has applied nothing either, one epoch later.
  commit(1);
  auto later = begun(*this);
  does_not_fit(later, std::move(of_first));
  // So is one of another group.
  three elsewhere{"another group"};
  elsewhere.commit(1);
  auto other = begun(elsewhere);
  REQUIRE(other.epoch() == later.epoch());
  does_not_fit(later, checked(elsewhere, other));
}

TEST_CASE_FIXTURE(three, "12.1: a proposal of another epoch, or with a wrong signature, is not kept") {
  const auto old = taken(members[1].propose_update(s));
  commit(2, {.cover_received = false});
  CHECK(broken(server->propose(old, s)) == rule::wrong_epoch);
  auto message = taken(read_message(taken(members[1].propose_update(s))));
  std::get<public_message>(message.body).auth.signature[0] ^= 1;
  CHECK(broken(server->propose(encoded(message), s)) == rule::bad_signature);
  CHECK(server->proposal_count() == 0);
}

TEST_CASE_FIXTURE(three, "6: a commit of another group is refused") {
  followed_group elsewhere;
  auto made = taken(elsewhere.members[0].commit({}, elsewhere.s));
  auto message = taken(read_message(made.commit));
  std::get<public_message>(message.body).content.group_id.push_back(1);
  refused(rule::wrong_group, encoded(message));
}

TEST_CASE_FIXTURE(three, "12.2: a list of proposals that no commit may cover is refused") {
  const auto honest = taken(members[1].commit({}, s)).commit;
  const auto with = [&](std::vector<proposal_or_ref> list) {
    return forged(1, honest, [&](auto& c) { c.proposals = list; });
  };
  const auto remove = [](std::uint32_t i) {
    return proposal_or_ref{proposal{remove_proposal{leaf_index{i}}}};
  };
  refused(rule::remove_of_committer, with({remove(1)}));
  refused(rule::leaf_changed_twice, with({remove(2), remove(2)}));
  refused(rule::no_such_leaf, with({remove(3)}));
  refused(rule::unknown_proposal, with({{proposal_ref{bytes(32, 1)}}}));
  refused(rule::external_init_by_member, with({{proposal{external_init_proposal{bytes(32, 1)}}}}));
}

TEST_CASE_FIXTURE(three,
                  "12.4.3.3: extensions of a group that cannot be read are refused when they are proposed") {
  const extension_list unreadable{{extension_type::external_senders, {0xff}}};
  const proposal replaces{group_context_extensions_proposal{unreadable}};
  CHECK(broken(members[1].commit({.proposals = {replaces}}, s)) == rule::malformed);
  CHECK(broken(members[1].propose(replaces, s)) == rule::malformed);
  const auto honest = taken(members[1].commit({}, s)).commit;
  refused(rule::malformed, forged(1, honest, [&](auto& c) { c.proposals = {{replaces}}; }));
}

TEST_CASE_FIXTURE(three, "7.9.2 and 12.4.2: a forged path is refused, though a member signed it") {
  const auto honest = taken(members[1].commit({}, s)).commit;
  refused(rule::path_wrong_parent_hash,
          forged(1, honest, [](auto& c) { c.path->nodes.back().encryption_key[3] ^= 1; }));
  refused(rule::path_wrong_length, forged(1, honest, [](auto& c) { c.path->nodes.pop_back(); }));
  refused(rule::path_wrong_ciphertexts,
          forged(1, honest, [](auto& c) { c.path->nodes.back().encrypted_path_secret.clear(); }));
  refused(rule::leaf_bad_signature, forged(1, honest, [](auto& c) { c.path->leaf_node.signature[0] ^= 1; }));
  refused(rule::commit_without_path, forged(1, honest, [](auto& c) { c.path.reset(); }));
}

TEST_CASE_FIXTURE(three, "5.3.1: a member whom the policy does not take is refused") {
  const auto package = make_key_package(somebody("fourth"), {now - day, now + day}, random);
  const auto made = taken(members[0].commit({.proposals = {{add_proposal{package.package}}}}, s));
  policy.answer = rule::credential_refused;
  refused(rule::credential_refused, made.commit);
  policy.answer = rule::none;
  CHECK(server->check(made.commit, s));
}

TEST_CASE_FIXTURE(three, "6.3: handshakes that are encrypted, and whatever is no handshake, are refused") {
  const private_message sealed{to_bytes(server->id()), server->epoch(), content_type::commit};
  refused(rule::handshake_not_public, encoded(mls_message{sealed}));
  refused(rule::unexpected_message, taken(members[0].send(view_of("hello"), {}, s)));
  refused(rule::unexpected_message, taken(members[0].group_info(tree_delivery::apart)));
  const auto update = taken(members[0].propose_update(s));
  refused(rule::unexpected_message, update);
  CHECK(broken(server->propose(taken(members[1].commit({}, s)).commit, s)) == rule::unexpected_message);
  refused(rule::wrong_version, view_of("hello"));
  auto longer = taken(members[1].commit({}, s)).commit;
  longer.push_back(0);
  refused(rule::malformed, longer);
}

TEST_CASE_FIXTURE(three,
                  "12.4.3: a follower cannot begin from a GroupInfo that does not belong to its tree") {
  const auto info = taken(members[0].group_info(tree_delivery::apart));
  CHECK(broken(follower::begin(info, {}, s)) == rule::ratchet_tree_missing);
  const auto older = members[0].ratchet_tree();
  commit(1);
  const auto newer = taken(members[0].group_info(tree_delivery::apart));
  CHECK(broken(follower::begin(newer, older, s)) == rule::tree_hash_mismatch);
  auto message = taken(read_message(newer));
  std::get<group_info>(message.body).context.epoch += 1;
  CHECK(broken(follower::begin(encoded(message), server->ratchet_tree(), s)) ==
        rule::group_info_bad_signature);
  CHECK(follower::begin(newer, server->ratchet_tree(), s));
}

TEST_CASE_FIXTURE(three, "a follower sees adds, updates and removes as the members do") {
  add(2, "fourth");
  propose(1, taken(members[1].propose_update(s)));
  propose(3, taken(members[3].propose({remove_proposal{leaf_index{2}}}, s)));
  CHECK(server->proposal_count() == 2);
  const auto effects = commit(0);
  CHECK(effects.committer == leaf_index{0});
  CHECK(effects.updated == std::vector{leaf_index{1}});
  CHECK(effects.removed == std::vector{leaf_index{2}});
  CHECK(server->member_count() == 3);
  CHECK(server->proposal_count() == 0);
  CHECK(members[2].is_over());
  add(3, "fifth"); // takes the leaf that was freed
  CHECK(server->member_count() == 4);
}

TEST_CASE_FIXTURE(three, "a follower sees an external join, and one that replaces an older appearance") {
  identities.push_back(somebody("fourth"));
  auto joins = [&](std::optional<leaf_index> replaces) {
    const auto info = taken(members[0].group_info(tree_delivery::in_group_info));
    return taken(join_externally(info, {}, identities.back().copy(), replaces, s));
  };
  auto first = joins({});
  auto effects = place(first.commit);
  CHECK(effects.is_external);
  CHECK(effects.added == std::vector{leaf_index{3}});
  members.push_back(std::move(first.group));
  agree();

  const auto lost = members.back().own_leaf();
  members.pop_back();
  auto again = joins(lost);
  effects = place(again.commit);
  CHECK(effects.removed == std::vector{lost});
  CHECK(effects.added == std::vector{lost});
  CHECK(server->member_count() == 4);
  members.push_back(std::move(again.group));
  commit(3);
}

TEST_CASE_FIXTURE(three, "12.1.5: after a ReInit a follower follows no further commit") {
  const reinit_proposal anew{to_bytes(view_of("another"))};
  auto made = taken(members[0].commit({.proposals = {{anew}}, .always_path = false}, s));
  const auto effects = place(made.commit, 0);
  CHECK(effects.reinit == anew);
  CHECK(server->is_over());
  refused(rule::group_over, made.commit);
}

TEST_CASE_FIXTURE(three, "a follower that began later agrees with one that was there from the start") {
  auto later = taken(follower::begin(taken(members[2].group_info(tree_delivery::in_group_info)), {}, s));
  auto made = taken(members[1].commit({}, s));
  REQUIRE(later.apply(taken(later.check(made.commit, s))));
  place(made.commit, 1);
  CHECK(later.ratchet_tree() == server->ratchet_tree());
  CHECK(later.epoch() == server->epoch());
}

TEST_CASE_FIXTURE(three, "6.2: members refuse a message with a wrong tag, and a follower cannot verify it") {
  const auto made = taken(members[1].commit({}, s));
  auto message = taken(read_message(made.commit));
  (*std::get<public_message>(message.body).auth.confirmation_tag)[0] ^= 1;
  CHECK(server->check(encoded(message), s));
  CHECK(broken(members[0].receive(encoded(message), s)) == rule::wrong_membership_tag);
}

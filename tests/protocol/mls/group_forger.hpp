#pragma once
// Members and joiners that break the rules: their messages are correctly signed and tagged, and
// wrong in one point.
#include "tests/protocol/mls/group_fixture.hpp"

namespace parley::mls::test {

using content_change = std::function<void(framed_content&)>;
using commit_change = std::function<void(commit&)>;

inline public_message opened(bytes_view message) {
  const auto read = taken(read_message(message));
  REQUIRE(read.as<public_message>());
  return *read.as<public_message>();
}

/// The message of a member that signs arbitrary content.
inline bytes sent_by(group& g, framed_content content, std::optional<bytes> tag) {
  auto& st = state_of(g);
  auto signed_content = sign_content(wire_format::public_message, std::move(content), st.identity.signer,
                                     st.now.encoded_context);
  signed_content.auth.confirmation_tag = std::move(tag);
  return encoded(mls_message{
      taken(protect_public(std::move(signed_content), st.secrets.membership_key, st.now.encoded_context))});
}

/// A handshake of a member that encrypts it, which our engine never does. It is complete except for a
/// commit's tag, which `tag_of` computes from the signed content.
inline bytes sent_privately_by(group& g, framed_content content, const surroundings& s,
                               const std::function<bytes(const authenticated_content&)>& tag_of = {}) {
  auto& st = state_of(g);
  auto signed_content = sign_content(wire_format::private_message, std::move(content), st.identity.signer,
                                     st.now.encoded_context);
  if (tag_of)
    signed_content.auth.confirmation_tag = tag_of(signed_content);
  return encoded(mls_message{taken(
      protect_private(signed_content, st.secrets.sender_data, *st.keys, padding::size_classes, s.random))});
}
inline bytes proposed_privately_by(group& g, const proposal& p, const surroundings& s) {
  return sent_privately_by(g, {to_bytes(g.id()), g.epoch(), state_of(g).as_sender(), {}, p}, s);
}
/// An encrypted commit without a path, covering proposals that change neither tree nor extensions.
/// `psks` are the keys that the proposals name.
inline bytes committed_privately_by(group& g, std::vector<proposal_or_ref> list,
                                    const std::vector<pre_shared_key_id>& psks, const surroundings& s) {
  const auto& st = state_of(g);
  const auto tag_of = [&](const authenticated_content& signed_content) {
    auto next = st.now.context;
    ++next.epoch;
    next.confirmed_transcript_hash = confirmed_transcript_hash(st.now.interim_hash, signed_content);
    const auto context = encoded(next);
    const auto joiner = derive_joiner_secret(st.secrets.init, secret::zeros(hash_bytes), context);
    const auto secrets = derive_epoch(joiner, taken(st.psk_secret_of(psks, s)), context);
    return confirmation_tag(secrets.confirmation_key, next.confirmed_transcript_hash);
  };
  return sent_privately_by(
      g, {to_bytes(g.id()), g.epoch(), st.as_sender(), {}, commit{.proposals = std::move(list)}}, s, tag_of);
}

/// A valid commit of member 0 that can be changed and signed again.
struct forger {
  room& r;
  made_commit good = r.commit(0);

  bytes changed(const content_change& change) {
    auto message = opened(good.commit);
    change(message.content);
    return sent_by(r[0], std::move(message.content), message.auth.confirmation_tag);
  }
  bytes with_commit(const commit_change& change) {
    return changed([&](framed_content& c) { change(std::get<commit>(c.body)); });
  }
  bytes with_path(const std::function<void(update_path&)>& change) {
    return with_commit([&](commit& c) { change(*c.path); });
  }
  /// Changes the leaf, which its owner then signs again.
  bytes with_leaf(const std::function<void(leaf_node&)>& change) {
    return with_path([&](update_path& p) {
      change(p.leaf_node);
      sign(p.leaf_node, state_of(r[0]).identity.signer, {r[0].id(), leaf_index{0}});
    });
  }
  bytes with_list(std::vector<proposal_or_ref> list) {
    return with_commit([&](commit& c) { c.proposals = std::move(list); });
  }

  /// The message is refused by this rule, and nothing is lost: the valid commit is still accepted.
  void check(const bytes& bad, rule expected, std::size_t listener = 1) {
    auto& g = r[listener];
    const auto before = to_bytes(g.epoch_authenticator());
    const auto tree = g.ratchet_tree();
    CHECK(broken(g.receive(bad, r.s)) == expected);
    CHECK(equal(g.epoch_authenticator(), before));
    CHECK(g.ratchet_tree() == tree);
    CHECK(broken(g.receive(good.commit, r.s)) == rule::none);
  }
  void check_refs(std::vector<proposal_or_ref> list, rule expected) {
    check(with_list(std::move(list)), expected);
  }
  /// A list by value: no member creates such a commit, and none accepts it.
  void check_list(std::vector<proposal> list, rule expected) {
    std::vector<proposal_or_ref> written;
    for (const auto& p : list)
      written.push_back({p});
    check(with_list(std::move(written)), expected);
    CHECK(broken(r[0].commit({.proposals = std::move(list), .cover_received = false}, r.s)) == expected);
  }
};

inline proposal removal_of(std::uint32_t i) {
  return {remove_proposal{leaf_index{i}}};
}

inline proposal new_extensions(extension_list list) {
  return {group_context_extensions_proposal{std::move(list)}};
}
inline proposal new_group(std::uint16_t version = mls10) {
  return {reinit_proposal{text("another group"), version, cipher_suite_1, {}}};
}
inline proposal key_named(const room& r, std::string_view name) {
  return {psk_proposal{external_psk(text(name), r.random)}};
}

/// An Update of member `who`, with a leaf that was changed and signed again.
inline proposal update_of(room& r, std::size_t who, const std::function<void(leaf_node&)>& change = {},
                          std::optional<leaf_index> signed_for = {}) {
  auto& st = state_of(r[who]);
  auto leaf = st.leaf_content();
  leaf.encryption_key = public_key_of(make_hpke_key(r.random).public_key);
  leaf.source = leaf_node_source::update;
  if (change)
    change(leaf);
  sign(leaf, st.identity.signer, {r[who].id(), signed_for.value_or(r[who].own_leaf())});
  return {update_proposal{std::move(leaf)}};
}

/// An Add whose key package was changed and signed again, and may be changed once more after that.
inline proposal add_of(const guest& g, const std::function<void(key_package&)>& before_signing,
                       const std::function<void(key_package&)>& after_signing = {}) {
  auto package = g.package.package;
  before_signing(package);
  sign(package.leaf_node, g.who.signer, {});
  sign(package, g.who.signer);
  if (after_signing)
    after_signing(package);
  return {add_proposal{std::move(package)}};
}

/// A proposal that no member sends and that is refused as soon as it is received. If other proposals in
/// a list could make it valid, it is kept instead, but no commit covers it without them.
inline void check_proposal(room& r, const proposal& p, rule expected, std::size_t by = 2) {
  const auto message =
      sent_by(r[by], {to_bytes(r[by].id()), r[by].epoch(), state_of(r[by]).as_sender(), {}, p}, {});
  auto& kept = state_of(r[0]).now;
  if (may_hold_beside_others(expected)) {
    const auto ref = proposal_in(r[0].receive(message, r.s));
    CHECK_FALSE(kept.wants_commit());
    const auto honest = opened(r.commit(0).commit);
    CHECK(std::get<commit>(honest.content.body).proposals.empty());
    (void)taken(r[1].receive(message, r.s));
    forger{r}.check_refs({{ref}}, expected);
    kept.proposals.clear(), state_of(r[1]).now.proposals.clear();
  } else {
    CHECK(broken(r[0].receive(message, r.s)) == expected);
  }
  CHECK(broken(r[by].propose(p, r.s)) == expected);
  CHECK(state_of(r[0]).now.proposals.empty());
  CHECK(state_of(r[by]).now.proposals.empty());
}

/// A Welcome by member 0 that its recipient opens, changes and seals again.
struct welcome_forger {
  room r{3};
  guest g = r.invite("dora");
  made_commit made = r.commit(0, {g.add()});
  std::optional<bytes> tree = made.ratchet_tree;

  struct inside {
    group_info info;
    group_secrets told;
    bool is_signed_again = true;
  };
  bytes changed(const std::function<void(inside&)>& change) {
    const auto read = taken(read_message(made.welcomes[0]));
    const auto& w = *read.as<welcome>();
    const auto ref = key_package_ref(g.package.package);
    inside in{.told = taken(open_group_secrets(w, ref, g.package.init_key))};
    const auto key = derive_welcome_secret(in.told.joiner_secret, secret::zeros(hash_bytes));
    in.info = taken(open_group_info(w.encrypted_group_info, key));
    change(in);
    if (in.is_signed_again)
      sign(in.info, state_of(r[0]).identity.signer);
    const auto sealed_info = seal_group_info(in.info, key);
    const invited whom{ref, g.package.package.init_key,
                       in.told.path_secret ? &*in.told.path_secret : nullptr};
    auto sealed = taken(seal_group_secrets(whom, in.told.joiner_secret, in.told.psks, sealed_info, r.random));
    return encoded(mls_message{welcome{cipher_suite_1, {std::move(sealed)}, sealed_info}});
  }
  rule answer(bytes_view welcome, const std::function<bool(bytes_view)>& is_known = {}) {
    return broken(group::join(welcome, g.package, g.who.copy(),
                              tree ? std::optional<bytes_view>{*tree} : std::nullopt, r.s, is_known));
  }
};

/// An external commit that the joiner changes and signs again.
struct joining {
  room r{4};
  external_join good;
  explicit joining(std::optional<leaf_index> replaces = {}) : good{make(replaces)} {}

  external_join make(std::optional<leaf_index> replaces) {
    auto who = replaces ? state_of(r[number(*replaces)]).identity.copy() : r.identity("emil");
    return taken(join_externally(taken(r[1].group_info(tree_delivery::in_group_info)), std::nullopt,
                                 std::move(who), replaces, r.s));
  }
  const signature_key_pair& signer() { return state_of(good.group).identity.signer; }
  bytes changed(const std::function<void(framed_content&)>& change,
                const signature_key_pair* signer_instead = nullptr) {
    auto message = opened(good.commit);
    change(message.content);
    auto again =
        sign_content(wire_format::public_message, std::move(message.content),
                     signer_instead ? *signer_instead : signer(), state_of(r[0]).now.encoded_context);
    again.auth.confirmation_tag = message.auth.confirmation_tag;
    return encoded(mls_message{public_message{std::move(again.content), std::move(again.auth), {}}});
  }
  bytes with_commit(const std::function<void(commit&)>& change) {
    return changed([&](framed_content& c) { change(std::get<commit>(c.body)); });
  }
  bytes with_more(const proposal& p) {
    return with_commit([&](commit& c) { c.proposals.push_back({p}); });
  }
  void check(const bytes& bad, rule expected) {
    const auto before = to_bytes(r[0].epoch_authenticator());
    const auto tree = r[0].ratchet_tree();
    CHECK(broken(r[0].receive(bad, r.s)) == expected);
    CHECK(equal(r[0].epoch_authenticator(), before));
    CHECK(r[0].ratchet_tree() == tree);
    CHECK(broken(r[0].receive(good.commit, r.s)) == rule::none);
  }
};

} // namespace parley::mls::test

#pragma once
// Members and joiners who do not keep to the rules: their messages are signed and tagged as they should be,
// and wrong in one thing.
#include "tests/protocol/mls/group_fixture.hpp"

namespace parley::mls::test {

using content_change = std::function<void(framed_content&)>;
using commit_change = std::function<void(commit&)>;

inline public_message opened(bytes_view message) {
  const auto read = taken(read_message(message));
  REQUIRE(read.as<public_message>());
  return *read.as<public_message>();
}

/// What a member would send who signs whatever it likes.
inline bytes sent_by(group& g, framed_content content, std::optional<bytes> tag) {
  auto& st = state_of(g);
  auto signed_content = sign_content(wire_format::public_message, std::move(content), st.identity.signer,
                                     st.now.encoded_context);
  signed_content.auth.confirmation_tag = std::move(tag);
  return encoded(mls_message{
      taken(protect_public(std::move(signed_content), st.secrets.membership_key, st.now.encoded_context))});
}

/// A good commit of member 0, changed and signed again.
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
  /// Changes the leaf, which its owner signs again.
  bytes with_leaf(const std::function<void(leaf_node&)>& change) {
    return with_path([&](update_path& p) {
      change(p.leaf_node);
      sign(p.leaf_node, state_of(r[0]).identity.signer, {r[0].id(), leaf_index{0}});
    });
  }
  bytes with_list(std::vector<proposal_or_ref> list) {
    return with_commit([&](commit& c) { c.proposals = std::move(list); });
  }

  /// Refused by that rule, and nothing is lost: the good one is still good.
  void check(const bytes& bad, rule expected, std::size_t listener = 1) {
    auto& g = r[listener];
    const auto before = to_bytes(g.epoch_authenticator());
    const auto tree = g.ratchet_tree();
    CHECK(broken(g.receive(bad, r.s)) == expected);
    CHECK(equal(g.epoch_authenticator(), before));
    CHECK(g.ratchet_tree() == tree);
    CHECK(broken(g.receive(good.commit, r.s)) == rule::none);
  }
  /// A list by value: nobody makes such a commit, and nobody takes it.
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

} // namespace parley::mls::test

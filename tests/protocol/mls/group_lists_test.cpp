// Dependencies between proposals (RFC 9420, sections 12.1, 12.2 and 12.4): they are kept until a commit
// names them, are valid only together, exclude each other, or are too many.
#include "protocol/mls/follower.hpp"
#include "tests/protocol/mls/group_forger.hpp"

namespace parley::mls::test {
namespace {

constexpr auto rare = extension_type{0xf001};

capabilities with_rare() {
  auto out = own_capabilities();
  out.extensions.push_back(rare);
  return out;
}
extension_list requiring_rare() {
  return {to_extension(required_capabilities{.extensions = {rare}})};
}

/// A group, and a server that follows it.
struct followed_room {
  room r;
  follower server = begun();
  explicit followed_room(std::size_t n, extension_list extensions = {},
                         capabilities speaks = own_capabilities())
      : r{n, std::move(extensions), 1, {}, std::move(speaks)} {}
  follower begun() {
    return taken(follower::begin(taken(r[0].group_info(tree_delivery::in_group_info)), {}, r.s));
  }

  /// Proposed by a member that keeps to the RFC, but not to the limits on what our engine sends.
  void proposed_by(std::size_t by, const proposal& p) {
    auto& st = state_of(r[by]);
    framed_content content{to_bytes(r[by].id()), r[by].epoch(), st.as_sender(), {}, p};
    const auto message = sent_by(r[by], content, {});
    (void)taken(st.now.take_proposal(sign_content(wire_format::public_message, std::move(content),
                                                  st.identity.signer, st.now.encoded_context),
                                     r.s, 10));
    r.proposed(by, message);
    (void)taken(server.propose(message, r.s));
  }
  made_commit committed(std::size_t by) {
    auto made = r.commit(by);
    (void)taken(server.apply(taken(server.check(made.commit, r.s))));
    r.conclude(by, made);
    CHECK(server.ratchet_tree() == r[by].ratchet_tree());
    return made;
  }
};

std::size_t covered_by(const made_commit& made) {
  return std::get<commit>(opened(made.commit).content.body).proposals.size();
}

// --- proposals that are only valid together

TEST_CASE("12.1: an Add of a client that another proposal removes is kept, and a commit covers both") {
  for (const bool add_first : {true, false}) {
    followed_room f{4};
    const auto again = f.r.invite(state_of(f.r[2]).identity.copy());
    for (const bool add : {add_first, !add_first})
      f.proposed_by(1, add ? again.add() : removal_of(2));
    const auto made = f.committed(0);
    CHECK(covered_by(made) == 2);
    CHECK(f.r[2].is_over());
    f.r.members.push_back(taken(f.r.try_join(made, again)));
    f.r.check_talk();
  }
}

TEST_CASE("12.1.7: extensions that only a member to be removed does not support are kept, and committed") {
  followed_room f{3, {}, with_rare()};
  f.r.capabilities = own_capabilities();
  f.r.add("who lacks it");
  f.server = f.begun();
  f.proposed_by(1, new_extensions(requiring_rare()));
  CHECK(covered_by(f.r.commit(0)) == 0); // alone it would exclude a member
  f.proposed_by(1, removal_of(3));
  CHECK(covered_by(f.committed(0)) == 2);
  CHECK(f.r[0].extensions() == requiring_rare());
  f.r.check_talk();
}

TEST_CASE("12.1.7: extensions that others' Updates begin to support are kept, and committed") {
  followed_room f{2};
  f.r.capabilities = with_rare();
  f.r.add("who supports them");
  f.server = f.begun();
  f.proposed_by(1, new_extensions(requiring_rare()));
  for (const std::size_t who : {0, 1}) {
    const auto key = make_hpke_key(f.r.random);
    auto& st = state_of(f.r[who]);
    st.identity.capabilities = with_rare();
    CHECK(covered_by(f.r.commit(2)) == who); // the extensions are not covered yet
    f.proposed_by(who,
                  update_of(f.r, who, [&](auto& l) { l.encryption_key = public_key_of(key.public_key); }));
    st.own_updates.push_back({st.now.proposals.back().ref, {key.private_key.copy(), key.public_key}});
  }
  CHECK(covered_by(f.committed(2)) == 3);
  f.r.check_talk();
}

TEST_CASE(
    "12.3: an Add of a client that lacks only what another proposal stops requiring is kept, and committed") {
  followed_room f{3, requiring_rare(), with_rare()};
  f.r.capabilities = own_capabilities();
  const auto lacking = f.r.invite("dora");
  f.proposed_by(2, lacking.add());
  f.proposed_by(1, new_extensions({}));
  const auto made = f.committed(0);
  CHECK(covered_by(made) == 2);
  f.r.members.push_back(taken(f.r.try_join(made, lacking)));
  f.r.check_talk();
}

TEST_CASE("12.4: a proposal that no commit could cover alone does not keep a member from sending") {
  followed_room f{3};
  const auto again = f.r.invite(state_of(f.r[2]).identity.copy());
  f.proposed_by(1, again.add());
  CHECK(words_in(f.r[1].receive(f.r.say(0, "hello"), f.r.s)) == "hello");
  CHECK(broken(f.r[0].propose(again.add(), f.r.s)) == rule::duplicate_signature_key); // our engine sends none
}

// --- proposals that exclude each other

TEST_CASE("12.2: a Remove is committed although the Updates beside it exclude each other") {
  room r{5};
  const auto same = make_signature_key(r.random);
  for (const std::size_t by : {1, 2}) {
    auto& st = state_of(r[by]);
    auto leaf = st.leaf_content();
    leaf.signature_key = public_key_of(same.public_key);
    leaf.encryption_key = public_key_of(make_hpke_key(r.random).public_key);
    leaf.source = leaf_node_source::update;
    sign(leaf, same, {r[by].id(), r[by].own_leaf()});
    r.proposed(by, {update_proposal{std::move(leaf)}}); // valid alone
  }
  r.proposed(3, removal_of(4));
  auto made = r.commit(0);
  CHECK(covered_by(made) == 1);
  CHECK(made.pending.effects().removed == std::vector{leaf_index{4}});
  r.conclude(0, made);
  CHECK(r[4].is_over());
  r.check_talk();
}

TEST_CASE("8.4: a commit does not cover what others proposed with a key that not all can hold") {
  room r{3};
  const auto resumption = [&](std::uint64_t epoch) -> proposal {
    return {psk_proposal{resumption_psk(resumption_usage::application, text("a group"), epoch, r.random)}};
  };
  r.proposed(1, resumption(r[0].epoch() - 1)); // a member that joined since does not have it
  CHECK(covered_by(r.commit(0)) == 0);
  r.proposed(1, resumption(r[0].epoch()));
  CHECK(covered_by(r.commit(0)) == 1);
  const auto g = r.invite("dora");
  r.proposed(2, g.add()); // nor does a new member
  auto made = r.commit(0);
  CHECK(covered_by(made) == 1);
  r.conclude(0, made);
  r.members.push_back(taken(r.try_join(made, g)));
  r.check_talk();
}

// --- too many, or too large

TEST_CASE("15: a list of proposals as long as there may be is planned as it is read") {
  const proposal key = {psk_proposal{external_psk(text("k"), seeded_random(1))}};
  std::vector<proposal> all;
  for (std::uint32_t i = 0; i < vector_items_max / 2; ++i) {
    auto psk = *key.as<psk_proposal>();
    for (std::size_t b = 0; b < 4; ++b)
      psk.psk.nonce[b] = static_cast<std::uint8_t>(i >> (8 * b));
    all.push_back({std::move(psk)});
    all.push_back(removal_of(i + 1));
  }
  std::vector<sent_proposal> list;
  for (const auto& p : all)
    list.push_back({sender::member(leaf_index{0}), &p, false});
  CHECK(plan_proposals(list, sender::member(leaf_index{0})));
  list.push_back(list.front());
  CHECK(broken(plan_proposals(list, sender::member(leaf_index{0}))) == rule::psk_twice);
}

TEST_CASE("15: lists that are longer than any can be are malformed") {
  commit long_one;
  long_one.proposals.assign(vector_items_max, {proposal_ref{bytes(hash_bytes)}});
  CHECK(whole<commit>(encoded(long_one)));
  long_one.proposals.push_back(long_one.proposals.front());
  CHECK(broken(whole<commit>(encoded(long_one))) == rule::malformed);
  update_path path;
  path.nodes.resize(path_nodes_max);
  CHECK(whole<update_path>(encoded(path)));
  path.nodes.emplace_back();
  CHECK(broken(whole<update_path>(encoded(path))) == rule::malformed);
}

TEST_CASE("12.4: a reference that is no hash is malformed") {
  for (const std::size_t size : {0, 31, 33}) {
    const commit c{.proposals = {{proposal_ref{bytes(size)}}}};
    CHECK(broken(whole<commit>(encoded(c))) == rule::malformed);
  }
}

TEST_CASE("15: extensions and proposals above their limits are refused wherever they come from") {
  room r{3};
  const auto extensions = [](std::size_t size) -> extension_list {
    return {{extension_type::application_id, bytes(size)}};
  };
  CHECK(broken(group::create(text("x"), r.identity("x"), extensions(group_extensions_bytes_max), r.s)) ==
        rule::too_large);
  forger f{r};
  f.check_list({new_extensions(extensions(group_extensions_bytes_max))}, rule::too_large);
  const auto g = r.invite("dora");
  f.check_list({add_of(g, [&](auto& k) { k.extensions = extensions(leaf_bytes_max); })}, rule::too_large);
  check_proposal(r, new_extensions(extensions(group_extensions_bytes_max)), rule::too_large);
  check_proposal(r, {psk_proposal{external_psk(bytes(proposal_bytes_max), r.random)}}, rule::too_large);
  r.concluded(0, {new_extensions(extensions(group_extensions_bytes_max - 4))});
  r.check_talk();
}

// --- members that left

TEST_CASE("12.4.2: a member that was removed keeps no key of the tree") {
  room r{3};
  REQUIRE_FALSE(state_of(r[1]).private_keys.keys.empty());
  r.concluded(0, {removal_of(1)});
  REQUIRE(r[1].is_over());
  CHECK(state_of(r[1]).private_keys.keys.empty());
  CHECK(r[1].own_leaf() == leaf_index{1});
}

} // namespace
} // namespace parley::mls::test

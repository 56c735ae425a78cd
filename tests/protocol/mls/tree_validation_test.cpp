// Trees from a Welcome or a GroupInfo (RFC 9420, section 12.4.3.1).
#include "tests/protocol/mls/mls_fixture.hpp"

#include <doctest/doctest.h>

using namespace parley::mls;
using namespace parley::mls::test;

namespace {

/// Eight members whose paths cover every node, and one more that is unmerged: at leaf 8, below the root 15.
struct valid_group : tree_group {
  valid_group() : tree_group{11} {
    REQUIRE(commit(leaf(0), 7) == rule::none);
    for (const auto i : {2u, 4u, 6u, 1u, 3u, 5u, 7u, 0u})
      REQUIRE(commit(leaf(i)) == rule::none);
  }
  parent_node parent_at(std::uint32_t x) const {
    return {tree.encryption_key(node(x)),
            to_bytes(tree.parent_hash(node(x))),
            {tree.unmerged_leaves(node(x)).begin(), tree.unmerged_leaves(node(x)).end()}};
  }
  void replace_leaf(std::uint32_t i, const std::function<void(leaf_node&)>& change) {
    auto v = tree.leaf(leaf(i));
    change(v);
    sign(v, members.at(leaf(i)).signer, {group_id, leaf(i)});
    tree.set_leaf(leaf(i), v);
  }
  rule verdict() const { return broken(check()); }
};

} // namespace

TEST_CASE_FIXTURE(valid_group, "12.4.3.1: a tree that is not the one of the group context is refused") {
  counting_policy all;
  auto other = to_bytes(tree.tree_hash());
  CHECK(check_tree(tree, {.group_id = group_id, .tree_hash = other, .now = now}, all));
  other[0] ^= 1;
  CHECK(broken(check_tree(tree, {.group_id = group_id, .tree_hash = other, .now = now}, all)) ==
        rule::tree_hash_mismatch);
}

TEST_CASE_FIXTURE(valid_group, "7.1: unmerged leaves that are not in increasing order are refused") {
  auto p = parent_at(7);
  SUBCASE("out of order") {
    p.unmerged_leaves = {leaf(3), leaf(2)};
  }
  SUBCASE("twice") {
    p.unmerged_leaves = {leaf(2), leaf(2)};
  }
  tree.set_parent(node(7), p);
  CHECK(verdict() == rule::unmerged_leaves_not_sorted);
}

TEST_CASE_FIXTURE(valid_group, "12.4.3.1: an unmerged leaf that is blank or elsewhere is refused") {
  auto p = parent_at(3);
  SUBCASE("beside the subtree") {
    p.unmerged_leaves = {leaf(4)};
  }
  SUBCASE("beyond the tree") {
    p.unmerged_leaves = {leaf(8)};
  }
  SUBCASE("far beyond") {
    p.unmerged_leaves = {leaf(0xffffffff)};
  }
  SUBCASE("blank") {
    p.unmerged_leaves = {leaf(1)};
    tree = *ratchet_tree::decoded(tree.encoded());
    REQUIRE(tree.put_encoded_node(node(2), {}));
  }
  tree.set_parent(node(3), p);
  CHECK(verdict() == rule::unmerged_leaf_not_below);
}

TEST_CASE_FIXTURE(valid_group, "12.4.3.1: an unmerged leaf that a node between does not list is refused") {
  auto p = parent_at(7);
  p.unmerged_leaves = {leaf(1)};
  tree.set_parent(node(7), p);
  CHECK(verdict() == rule::unmerged_leaf_missing_between);
}

TEST_CASE_FIXTURE(valid_group, "7.3: a tree in which two members share a key is refused") {
  SUBCASE("signature key") {
    replace_leaf(5, [&](leaf_node& v) { v.signature_key = tree.signature_key(leaf(6)); });
    CHECK(verdict() == rule::duplicate_signature_key);
  }
  SUBCASE("encryption key") {
    replace_leaf(5, [&](leaf_node& v) { v.encryption_key = tree.encryption_key(node(12)); });
    CHECK(verdict() == rule::duplicate_encryption_key);
  }
}

TEST_CASE_FIXTURE(valid_group, "12.4.3.1: a tree in which a parent's key appears again is refused") {
  auto p = parent_at(5);
  p.encryption_key = tree.encryption_key(node(11));
  tree.set_parent(node(5), p);
  CHECK(verdict() == rule::duplicate_parent_key);
}

TEST_CASE_FIXTURE(valid_group, "10: a tree with a parent's key that is none is refused") {
  auto p = parent_at(5);
  p.encryption_key = {};
  tree.set_parent(node(5), p);
  CHECK(verdict() == rule::bad_key);
}

TEST_CASE_FIXTURE(tree_group, "7.9: a tree whose root has a parent hash is refused") {
  REQUIRE(commit(leaf(0), 1) == rule::none);
  REQUIRE(broken(check()) == rule::none);
  tree.set_parent(node(1), {tree.encryption_key(node(1)), bytes(32, 1), {leaf(1)}});
  // The leaf that the root is chained to agrees with it.
  auto v = tree.leaf(leaf(0));
  v.parent_hash = to_bytes(tree.parent_hash_of(node(1), node(2)));
  sign(v, members.at(leaf(0)).signer, {group_id, leaf(0)});
  tree.set_leaf(leaf(0), v);
  CHECK(broken(check()) == rule::parent_hash_invalid);
}

TEST_CASE_FIXTURE(valid_group, "7.9.2: a parent node that no member set is refused") {
  auto p = parent_at(11);
  SUBCASE("another key") {
    p.encryption_key = make_device(random).package.init_key;
  }
  SUBCASE("another parent hash") {
    p.parent_hash[3] ^= 1;
  }
  SUBCASE("no parent hash") {
    p.parent_hash.clear();
  }
  tree.set_parent(node(11), p);
  CHECK(verdict() == rule::parent_hash_invalid);
}

TEST_CASE_FIXTURE(valid_group, "7.9.2: every parent is checked, and so are the leaves that vouch for it") {
  for (std::uint32_t x = 1; x < 15; x += 2) {
    const auto before = parent_at(x);
    auto p = before;
    p.encryption_key[7] ^= 1;
    tree.set_parent(node(x), p);
    CHECK(verdict() == rule::parent_hash_invalid);
    tree.set_parent(node(x), before);
    CHECK(verdict() == rule::none);
  }
  replace_leaf(0, [](leaf_node& v) { v.parent_hash[0] ^= 1; });
  CHECK(verdict() == rule::parent_hash_invalid);
}

TEST_CASE_FIXTURE(valid_group, "7.9.2: a leaf that does not come from a commit vouches for no parent") {
  replace_leaf(0, [](leaf_node& v) {
    v.source = leaf_node_source::update;
    v.parent_hash.clear();
  });
  CHECK(verdict() == rule::parent_hash_invalid);
}

TEST_CASE_FIXTURE(valid_group,
                  "7.9.2: a member that left its subtree invalidates the parents that were encrypted to it") {
  // Leaf 7 disappears without its path being blanked: the hash of its subtree was part of the parent hashes.
  REQUIRE(tree.put_encoded_node(node(14), {}));
  CHECK(verdict() == rule::parent_hash_invalid);
}

TEST_CASE_FIXTURE(valid_group, "7.9.2: an unmerged leaf that is not listed as one invalidates its parents") {
  REQUIRE(commit(leaf(0), 0, {leaf(5)}) == rule::none);
  REQUIRE(commit(leaf(4)) == rule::none);
  REQUIRE(verdict() == rule::none);
  REQUIRE(commit(leaf(0), 1) == rule::none); // the new member is at leaf 5, unmerged at node 11
  REQUIRE(!tree.unmerged_leaves(node(11)).empty());
  REQUIRE(verdict() == rule::none);
  auto p = parent_at(11);
  p.unmerged_leaves.clear();
  tree.set_parent(node(11), p);
  CHECK(verdict() == rule::parent_hash_invalid);
}

TEST_CASE_FIXTURE(valid_group, "7.3: a tree with a leaf whose signature is wrong is refused") {
  SUBCASE("signed by another") {
    auto v = tree.leaf(leaf(6));
    sign(v, members.at(leaf(5)).signer, {group_id, leaf(6)});
    tree.set_leaf(leaf(6), v);
  }
  SUBCASE("signed for another place") {
    auto v = tree.leaf(leaf(6));
    sign(v, members.at(leaf(6)).signer, {group_id, leaf(5)});
    tree.set_leaf(leaf(6), v);
  }
  SUBCASE("of another group") {
    group_id.push_back('!');
  }
  CHECK(broken(verify_leaf_signatures(tree, group_id)) == rule::leaf_bad_signature);
}

TEST_CASE_FIXTURE(valid_group, "7.3: a tree with a leaf that the group's rules refuse is refused") {
  counting_policy all;
  group_requirements group;
  group.required.proposals = {proposal_type{0xf000}};
  CHECK(broken(check_tree(tree, {.group_id = group_id, .group = &group, .now = now}, all)) ==
        rule::leaf_lacks_required_proposal);
  CHECK(all.asked == 0);
}

TEST_CASE_FIXTURE(valid_group,
                  "5.3.1: each credential in a tree is shown to the policy once, and one refusal counts") {
  counting_policy policy;
  const tree_rules rules{.group_id = group_id, .now = now};
  CHECK(check_tree(tree, rules, policy));
  CHECK(policy.asked == 8);
  policy.answer = rule::credential_unexpected_account;
  CHECK(broken(check_tree(tree, rules, policy)) == rule::credential_unexpected_account);
}

TEST_CASE_FIXTURE(valid_group, "12.4.3.1: a tree that was changed in any byte is refused") {
  REQUIRE(commit(leaf(0), 1) == rule::none);
  const auto whole_tree = tree.encoded();
  const auto honest = to_bytes(tree.tree_hash());
  counting_policy all;
  // The tree hash is not checked here, to see what the other checks alone accept.
  std::size_t let_through = 0;
  for (std::size_t at = 0; at < whole_tree.size(); at += 3) {
    auto changed = whole_tree;
    changed[at] = static_cast<std::uint8_t>(changed[at] + 1 + at % 7);
    const auto read = ratchet_tree::decoded(changed);
    if (!read)
      continue;
    CHECK(to_bytes(read->tree_hash()) != honest);
    let_through += check_tree(*read, {.group_id = group_id, .now = now}, all).has_value();
  }
  CHECK(let_through == 0);
}

TEST_CASE("12.4.3.1: trees of many histories are valid") {
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    tree_group group{seed};
    const auto below = [&](std::size_t n) {
      std::array<std::uint8_t, 2> r{};
      group.random(r);
      return (r[0] << 8 | r[1]) % n;
    };
    const auto any_member = [&] {
      auto i = group.members.begin();
      std::advance(i, below(group.members.size()));
      return i->first;
    };
    for (int n = 0; n < 14; ++n) {
      const auto sender = any_member();
      std::vector<leaf_index> removes;
      if (const auto gone = any_member(); gone != sender && below(2) == 0)
        removes.push_back(gone);
      CHECK(group.commit(sender, below(3), removes) == rule::none);
      CHECK(broken(group.check()) == rule::none);
      const auto read = ratchet_tree::decoded(group.tree.encoded());
      REQUIRE(read);
      CHECK(read->tree_hash() == group.tree.tree_hash());
      CHECK(check_parent_hashes(*read));
      for (const auto& [i, m] : group.members)
        CHECK(m.keys.check(group.tree));
    }
  }
}

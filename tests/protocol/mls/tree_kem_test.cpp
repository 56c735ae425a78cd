// Paths are created, merged and opened (RFC 9420, sections 7.4-7.6 and 12.4.2).
#include "tests/protocol/mls/mls_fixture.hpp"

#include <doctest/doctest.h>

using namespace parley::mls;
using namespace parley::mls::test;

namespace {

/// Six members; leaf 1 commits and adds no member.
struct path_fixture : tree_group {
  made sent;
  update_path path;

  path_fixture() : tree_group{21} {
    REQUIRE(commit(leaf(0), 5) == rule::none);
    REQUIRE(commit(leaf(4)) == rule::none);
    sent = make_commit(leaf(1));
    path = sent.path.path;
  }

  rule merge(leaf_index sender = leaf(1)) {
    const auto before = tree.encoded();
    tree.begin();
    const auto verdict = broken(merge_path(tree, sender, path, {}));
    tree.roll_back();
    CHECK(tree.encoded() == before);
    return verdict;
  }
  /// Opens the path as `i`, on the tree after the commit.
  rule open(leaf_index i, const private_tree& keys, std::span<const leaf_index> new_leaves = {}) {
    tree.begin();
    CHECK(merge_path(tree, leaf(1), sent.path.path, {}));
    auto mine = keys.copy();
    mine.self = i;
    const auto verdict = broken(open_path(tree, leaf(1), path, new_leaves, mine, sent.context));
    tree.roll_back();
    return verdict;
  }
};

} // namespace

TEST_CASE_FIXTURE(path_fixture,
                  "7.6: a path that is longer or shorter than the filtered direct path is refused") {
  REQUIRE(merge() == rule::none);
  SUBCASE("shorter") {
    path.nodes.pop_back();
  }
  SUBCASE("longer") {
    path.nodes.push_back({make_device(random).package.init_key, {}});
  }
  SUBCASE("empty") {
    path.nodes.clear();
  }
  CHECK(merge() == rule::path_wrong_length);
}

TEST_CASE_FIXTURE(path_fixture, "7.6: a node without a ciphertext for each of the resolution is refused") {
  SUBCASE("one less") {
    path.nodes.back().encrypted_path_secret.pop_back();
  }
  SUBCASE("one more") {
    path.nodes.front().encrypted_path_secret.emplace_back();
  }
  CHECK(merge() == rule::path_wrong_ciphertexts);
}

TEST_CASE_FIXTURE(path_fixture, "7.6: the resolution leaves out those whom the commit adds") {
  auto with_add = make_commit(leaf(1), 1);
  tree.begin();
  REQUIRE(*tree.add(with_add.devices[0].package.leaf_node) == leaf(6));
  CHECK(broken(merge_path(tree, leaf(1), with_add.path.path, {})) == rule::path_wrong_ciphertexts);
  tree.roll_back();
  tree.begin();
  REQUIRE(tree.add(with_add.devices[0].package.leaf_node));
  CHECK(merge_path(tree, leaf(1), with_add.path.path, with_add.added));
  tree.roll_back();
}

TEST_CASE_FIXTURE(path_fixture,
                  "12.4.2: a path with a key that is in the tree, or twice in the path, is refused") {
  SUBCASE("of a leaf") {
    path.nodes[0].encryption_key = tree.encryption_key(to_node(leaf(3)));
  }
  SUBCASE("of a parent") {
    path.nodes[1].encryption_key = tree.encryption_key(tree.root());
  }
  SUBCASE("the leaf's, of another leaf") {
    path.leaf_node.encryption_key = tree.encryption_key(to_node(leaf(3)));
  }
  SUBCASE("twice") {
    path.nodes[1].encryption_key = path.nodes[0].encryption_key;
  }
  SUBCASE("the leaf's again") {
    path.nodes[1].encryption_key = path.leaf_node.encryption_key;
  }
  CHECK(merge() == rule::path_key_in_use);
}

TEST_CASE_FIXTURE(path_fixture, "7.3 and 12.4.2: a path whose leaf keeps its encryption key is refused") {
  path.leaf_node.encryption_key = tree.encryption_key(to_node(leaf(1)));
  CHECK(merge() == rule::leaf_key_not_fresh);
}

TEST_CASE_FIXTURE(path_fixture, "7.3: a path whose leaf is not of source commit is refused") {
  path.leaf_node.source = leaf_node_source::update;
  CHECK(merge() == rule::leaf_wrong_source);
}

TEST_CASE_FIXTURE(path_fixture, "7.9.2: a path whose leaf has another parent hash is refused") {
  SUBCASE("changed") {
    path.leaf_node.parent_hash[0] ^= 1;
  }
  SUBCASE("none") {
    path.leaf_node.parent_hash.clear();
  }
  SUBCASE("of another key") {
    path.nodes[0].encryption_key = make_device(random).package.init_key;
  }
  SUBCASE("of another root") {
    path.nodes.back().encryption_key = make_device(random).package.init_key;
  }
  CHECK(merge() == rule::path_wrong_parent_hash);
}

TEST_CASE_FIXTURE(path_fixture, "7.5: a path whose keys are not those of its secrets is refused") {
  for (const auto i : {0u, 2u, 4u}) {
    REQUIRE(open(leaf(i), members.at(leaf(i)).keys) == rule::none);
    const auto saved = path.nodes.back().encryption_key;
    path.nodes.back().encryption_key[0] ^= 1; // the root, which every member derives
    CHECK(open(leaf(i), members.at(leaf(i)).keys) == rule::path_key_mismatch);
    path.nodes.back().encryption_key = saved;
  }
}

TEST_CASE_FIXTURE(path_fixture,
                  "5.1.3: a path secret that was encrypted to something else cannot be opened") {
  SUBCASE("changed") {
    for (auto& n : path.nodes)
      for (auto& c : n.encrypted_path_secret)
        c.ciphertext[3] ^= 1;
  }
  SUBCASE("for another group context") {
    sent.context.push_back(0);
  }
  CHECK(open(leaf(0), members.at(leaf(0)).keys) == rule::cannot_open);
  CHECK(open(leaf(5), members.at(leaf(5)).keys) == rule::cannot_open);
}

TEST_CASE_FIXTURE(path_fixture,
                  "7.5: a member without a key to which a path was encrypted learns nothing from it") {
  private_tree none;
  CHECK(open(leaf(3), none) == rule::path_not_for_us);
  CHECK(open(leaf(1), members.at(leaf(1)).keys) == rule::path_not_for_us); // its own path
  path.nodes[1].encrypted_path_secret.clear();
  CHECK(open(leaf(3), members.at(leaf(3)).keys) == rule::path_not_for_us);
}

TEST_CASE_FIXTURE(
    path_fixture,
    "7.5: a member that was removed cannot decrypt the path that removed it, with any key that it had") {
  const auto gone = members.at(leaf(3)).keys.copy();
  auto removal = make_commit(leaf(1), 0, {leaf(3)});
  tree.apply(std::move(removal.changes));
  const auto& nodes = removal.path.path.nodes;
  std::size_t tried = 0;
  for (const auto& n : nodes)
    for (const auto& c : n.encrypted_path_secret)
      for (const auto& [x, key] : gone.keys) {
        const auto pair = hpke_key_from_private(key.view());
        REQUIRE(pair);
        CHECK(!decrypt_with_label(*pair, "UpdatePathNode", removal.context, c));
        ++tried;
      }
  CHECK(tried > 4);
  CHECK(broken(open_path(tree, leaf(1), removal.path.path, {}, gone, removal.context)) ==
        rule::path_not_for_us);
}

TEST_CASE_FIXTURE(path_fixture, "12.4.3.1: a Welcome's path secret that does not fit the tree is refused") {
  auto with_add = make_commit(leaf(1), 1);
  const auto self = with_add.added.at(0);
  tree.apply(std::move(with_add.changes));
  const auto& d = with_add.devices[0];
  const auto* const path_secret = with_add.path.path_secret_for(self);
  REQUIRE(path_secret);
  const auto as = [&](leaf_index who, const hpke_key_pair& key, leaf_index signer, const secret* s) {
    return broken(keys_from_welcome(tree, who, key, signer, s));
  };
  const secret wrong = secret::zeros(32);
  CHECK(as(self, d.leaf_key, leaf(1), &wrong) == rule::path_secret_mismatch);
  CHECK(as(self, d.leaf_key, self, path_secret) == rule::path_secret_mismatch);
  CHECK(as(self, d.init_key, leaf(1), path_secret) == rule::private_key_mismatch);
  CHECK(as(leaf(7), d.leaf_key, leaf(1), path_secret) == rule::no_such_leaf);
  CHECK(as(self, d.leaf_key, leaf(7), path_secret) == rule::no_such_leaf);
  CHECK(as(self, d.leaf_key, leaf(1), path_secret) == rule::none);
  CHECK(as(self, d.leaf_key, leaf(1), nullptr) == rule::none);
}

TEST_CASE_FIXTURE(path_fixture, "7.5: a private key that is not the one of its node is noticed") {
  auto keys = members.at(leaf(2)).keys.copy();
  CHECK(keys.check(tree));
  SUBCASE("another key") {
    keys.keys.insert_or_assign(to_node(leaf(2)), secret{bytes(32, 7)});
  }
  SUBCASE("of a blank node") {
    keys.keys.insert_or_assign(to_node(leaf(7)), secret{bytes(32, 7)});
  }
  SUBCASE("beyond the tree") {
    keys.keys.insert_or_assign(node_index{99}, secret{bytes(32, 7)});
  }
  CHECK(broken(keys.check(tree)) == rule::private_key_mismatch);
}

TEST_CASE_FIXTURE(path_fixture, "7.5: replaced and blanked keys are deleted") {
  const auto old_root = members.at(leaf(3)).keys.keys.at(tree.root()).copy();
  REQUIRE(confirm(std::move(sent)) == rule::none);
  const auto& keys = members.at(leaf(3)).keys.keys;
  CHECK(!(keys.at(tree.root()) == old_root));
  REQUIRE(commit(leaf(0), 0, {leaf(2)}) == rule::none); // the parent of 2 and 3 is now blank
  CHECK(!members.at(leaf(3)).keys.keys.contains(node_index{5}));
  CHECK(members.at(leaf(3)).keys.check(tree));
}

TEST_CASE("12.4: a group of one commits, and adds its second member") {
  tree_group alone{2};
  CHECK(alone.commit(leaf(0)) == rule::none);
  CHECK(alone.tree.leaf(leaf(0)).parent_hash.empty());
  CHECK(alone.commit(leaf(0), 1) == rule::none);
  CHECK(alone.commit(leaf(1)) == rule::none);
  CHECK(alone.commit(leaf(1), 0, {leaf(0)}) == rule::none);
  CHECK(alone.tree.leaf_count() == 2); // only the right half has a member
  CHECK(broken(alone.check()) == rule::none);
}

TEST_CASE("12.4.3.2: a client that joins from outside commits at a blank leaf") {
  tree_group group{3};
  REQUIRE(group.commit(leaf(0), 3) == rule::none);
  auto joiner = make_device(group.random, "joiner");
  auto& tree = group.tree;
  tree.begin();
  const auto at = tree.leaf_for_joiner();
  REQUIRE(at);
  CHECK(*at == leaf(4)); // no leaf was blank, so the tree grew
  auto sent =
      start_path(tree, *at, joiner.package.leaf_node, joiner.signer, group.group_id, {}, group.random);
  const auto context = to_bytes(tree.tree_hash());
  REQUIRE(encrypt_path(tree, sent, {}, context, group.random));
  tree.roll_back();

  tree.begin();
  REQUIRE(*tree.leaf_for_joiner() == *at);
  CHECK(merge_path(tree, *at, sent.path, {}));
  CHECK(to_bytes(tree.tree_hash()) == context);
  for (const auto& [i, m] : group.members) {
    const auto opened = open_path(tree, *at, sent.path, {}, m.keys, context);
    REQUIRE(opened);
    CHECK(opened->commit_secret == sent.commit_secret);
  }
  tree.keep();
  CHECK(sent.keys.check(tree));
  CHECK(broken(group.check()) == rule::none);
}

TEST_CASE("7.6: a path comes back from its bytes") {
  tree_group group{4};
  REQUIRE(group.commit(leaf(0), 4) == rule::none);
  const auto sent = group.make_commit(leaf(2));
  CHECK(*whole<update_path>(encoded(sent.path.path)) == sent.path.path);
}

TEST_CASE("a pending commit that lost its race is dropped, and the old epoch continues") {
  tree_group group{6};
  REQUIRE(group.commit(leaf(0), 6) == rule::none);
  const auto before = to_bytes(group.tree.tree_hash());
  const auto loser = group.make_commit(leaf(5), 2, {leaf(6)});
  CHECK(to_bytes(group.tree.tree_hash()) == before);
  CHECK(group.tree.fits(loser.changes));
  CHECK(group.commit(leaf(2), 0, {leaf(5)}) == rule::none);
  CHECK(!group.tree.fits(loser.changes));
  CHECK(broken(group.check()) == rule::none);
}

TEST_CASE("trees of 1,000 and 3,000 leaves: grown, committed to, removed from, validated") {
  for (const std::uint32_t n : {1000u, 3000u}) {
    tree_group group{n};
    const std::vector<leaf_index> some{leaf(0), leaf(1), leaf(n / 2), leaf(n / 2 + 1), leaf(n - 1)};
    REQUIRE(group.confirm(group.make_commit(leaf(0), n - 1), some) == rule::none);
    CHECK(group.tree.member_count() == n);
    CHECK(group.tree.leaf_count() == leaves_for(n));
    // The last leaf commits first, so that all of the tree except one path is blank and the path
    // is encrypted to everyone.
    CHECK(group.confirm(group.make_commit(leaf(n - 1)), some) == rule::none);
    CHECK(group.confirm(group.make_commit(leaf(n / 2), 2, {leaf(7), leaf(n - 2)}), some) == rule::none);
    CHECK(group.confirm(group.make_commit(leaf(1)), some) == rule::none);
    CHECK(group.tree.member_count() == n);
    CHECK(broken(group.check()) == rule::none);
    const auto read = ratchet_tree::decoded(group.tree.encoded());
    REQUIRE(read);
    CHECK(read->tree_hash() == group.tree.tree_hash());
    CHECK(check_parent_hashes(*read));
  }
}

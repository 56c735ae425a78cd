// The tree itself: operations, hashes, changes, encoding.
#include "tests/protocol/mls/mls_fixture.hpp"

#include <doctest/doctest.h>

using namespace parley::mls;
using namespace parley::mls::test;

namespace {

/// Leaves without signatures, because the tree does not check them.
struct bare_leaves {
  random_source random = seeded_random(5);
  leaf_node make() {
    leaf_node v;
    random(v.encryption_key);
    random(v.signature_key);
    v.capabilities = own_capabilities();
    v.signature.assign(signature_bytes, 1);
    return v;
  }
  parent_node make_parent(std::vector<leaf_index> unmerged = {}) {
    parent_node p;
    random(p.encryption_key);
    p.unmerged_leaves = std::move(unmerged);
    return p;
  }
  /// A tree of this size with members at all leaves except `blank`.
  ratchet_tree tree_of(std::uint32_t n, const std::vector<std::uint32_t>& blank = {}) {
    auto tree = *ratchet_tree::blank(leaves_for(n));
    for (std::uint32_t i = 0; i < n; ++i)
      if (std::ranges::find(blank, i) == blank.end())
        tree.set_leaf(leaf(i), make());
    return tree;
  }
};

std::vector<std::uint32_t> numbers(const std::vector<node_index>& nodes) {
  std::vector<std::uint32_t> out;
  for (const auto x : nodes)
    out.push_back(number(x));
  return out;
}

std::vector<std::uint32_t> resolution_of(const ratchet_tree& tree, std::uint32_t x,
                                         std::vector<leaf_index> without = {}) {
  std::vector<node_index> out;
  tree.resolution(node(x), out, without);
  return numbers(out);
}

std::vector<std::uint32_t> unmerged_at(const ratchet_tree& tree, std::uint32_t x) {
  std::vector<std::uint32_t> out;
  for (const auto i : tree.unmerged_leaves(node(x)))
    out.push_back(number(i));
  return out;
}

/// Everything that is cached beside the nodes must be what a newly built tree computes.
void check_same(const ratchet_tree& tree, const ratchet_tree& fresh) {
  REQUIRE(tree.leaf_count() == fresh.leaf_count());
  REQUIRE(tree.encoded() == fresh.encoded());
  REQUIRE(tree.member_count() == fresh.member_count());
  for (std::uint32_t x = 0; x < node_count(tree.leaf_count()); ++x) {
    REQUIRE(tree.tree_hash(node(x)) == fresh.tree_hash(node(x)));
    if (!tree.is_blank(node(x)))
      REQUIRE(tree.find_encryption_key(tree.encryption_key(node(x))) == node(x));
  }
  for (std::uint16_t t = 0; t < 8; ++t) {
    REQUIRE(tree.all_support(extension_type{t}) == fresh.all_support(extension_type{t}));
    REQUIRE(tree.all_support(credential_type{t}) == fresh.all_support(credential_type{t}));
  }
}

} // namespace

// --- operations --------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(bare_leaves, "12.1.2 and 12.1.3: a leaf without a member cannot be updated or removed") {
  auto tree = tree_of(3);
  for (const auto i : {3u, 4u, 1000u, 0xffffffffu}) {
    CHECK(broken(tree.remove(leaf(i))) == rule::no_such_leaf);
    CHECK(broken(tree.update(leaf(i), make())) == rule::no_such_leaf);
  }
}

TEST_CASE_FIXTURE(bare_leaves, "a tree does not grow past its bound") {
  auto tree = tree_of(ratchet_tree::leaf_count_max);
  CHECK(broken(tree.add(make())) == rule::tree_too_large);
  CHECK(broken(tree.leaf_for_joiner()) == rule::tree_too_large);
}

TEST_CASE_FIXTURE(bare_leaves, "4.1.1: the resolutions of the RFC's example") {
  auto tree = tree_of(8, {2, 6});
  tree.set_parent(node(1), make_parent({leaf(1)}));
  tree.set_parent(node(9), make_parent());
  // In the RFC's figure X is the parent of A and B, with B unmerged, and Y is the parent of E and F.
  CHECK(resolution_of(tree, 1) == std::vector{1u, 2u});
  CHECK(resolution_of(tree, 4).empty());
  CHECK(resolution_of(tree, 12).empty());
  CHECK(resolution_of(tree, 7) == std::vector{1u, 2u, 6u, 9u, 14u});
  CHECK(resolution_of(tree, 7, {leaf(1), leaf(7)}) == std::vector{1u, 6u, 9u});
}

TEST_CASE_FIXTURE(bare_leaves, "4.1.2: a filtered direct path leaves out nodes beside empty subtrees") {
  auto tree = tree_of(8, {2, 3, 7});
  const auto path = [&](std::uint32_t i) {
    std::vector<std::uint32_t> out;
    for (const auto& step : tree.filtered_direct_path(leaf(i)))
      out.push_back(number(step.node));
    return out;
  };
  CHECK(path(0) == std::vector{1u, 7u});
  CHECK(path(4) == std::vector{9u, 11u, 7u});
  CHECK(path(6) == std::vector{11u, 7u});
  CHECK(numbers(direct_path(leaf(6), 8)) == std::vector{13u, 11u, 7u});
  CHECK(numbers(copath(leaf(6), 8)) == std::vector{14u, 9u, 3u});
}

TEST_CASE("appendix C: common ancestors and the leaves below a node") {
  CHECK(common_ancestor(leaf(5), leaf(5)) == node(10));
  CHECK(common_ancestor(leaf(4), leaf(5)) == node(9));
  CHECK(common_ancestor(leaf(3), leaf(4)) == node(7));
  CHECK(common_ancestor(leaf(6), leaf(4)) == node(11));
  CHECK(leaves_below(node(10)).first == 5);
  CHECK(leaves_below(node(11)).first == 4);
  CHECK(leaves_below(node(11)).end == 8);
  CHECK(!is_below(leaf(3), node(11)));
  CHECK(leaves_for(5) == 8);
}

TEST_CASE_FIXTURE(bare_leaves, "12.1.1: an added leaf takes the leftmost blank, and is unmerged above it") {
  auto tree = tree_of(8, {2, 5});
  tree.set_parent(node(7), make_parent({leaf(1), leaf(6)}));
  tree.set_parent(node(5), make_parent());
  CHECK(*tree.add(make()) == leaf(2));
  CHECK(unmerged_at(tree, 7) == std::vector{1u, 2u, 6u}); // sorted
  CHECK(unmerged_at(tree, 5) == std::vector{2u});
  CHECK(tree.is_blank(node(3)));
  CHECK(*tree.add(make()) == leaf(5));
  CHECK(*tree.add(make()) == leaf(8)); // the tree has doubled
  CHECK(tree.leaf_count() == 16);
  CHECK(unmerged_at(tree, 7) == std::vector{1u, 2u, 5u, 6u});
  CHECK(tree.is_blank(node(15)));
}

TEST_CASE_FIXTURE(bare_leaves, "12.1.2: an update blanks what is above it") {
  auto tree = tree_of(4);
  tree.set_parent(node(1), make_parent());
  tree.set_parent(node(5), make_parent());
  tree.set_parent(node(3), make_parent());
  CHECK(tree.update(leaf(3), make()));
  CHECK(!tree.is_blank(node(1)));
  CHECK(tree.is_blank(node(5)));
  CHECK(tree.is_blank(node(3)));
}

TEST_CASE_FIXTURE(bare_leaves, "12.1.3: a tree whose right half is empty loses it, and its root") {
  auto tree = tree_of(9, {4, 5, 6, 7});
  tree.set_parent(node(15), make_parent());
  tree.set_parent(node(3), make_parent());
  CHECK(tree.remove(leaf(8)));
  CHECK(tree.leaf_count() == 4);
  CHECK(!tree.is_blank(node(3)));
  CHECK(tree.remove(leaf(1)));
  CHECK(tree.leaf_count() == 4); // the right half has members
  CHECK(*tree.add(make()) == leaf(1));
}

TEST_CASE_FIXTURE(bare_leaves, "7.3: a key that two members share is found, wherever it is") {
  auto tree = tree_of(6);
  auto copy = make();
  copy.signature_key = tree.signature_key(leaf(2));
  tree.set_leaf(leaf(4), copy);
  CHECK(broken(tree.check_unique(leaf(4))) == rule::duplicate_signature_key);
  CHECK(broken(tree.check_unique(leaf(2))) == rule::duplicate_signature_key);
  copy = make();
  copy.encryption_key = tree.encryption_key(node(0));
  tree.set_leaf(leaf(4), copy);
  CHECK(broken(tree.check_unique(leaf(0))) == rule::duplicate_encryption_key);
  CHECK(tree.check_unique(leaf(2)));
  auto parent = make_parent();
  parent.encryption_key = tree.encryption_key(node(6));
  tree.set_parent(node(1), parent);
  CHECK(broken(tree.check_unique(leaf(3))) == rule::duplicate_encryption_key);
  CHECK(broken(tree.check_unique(node(1))) == rule::duplicate_parent_key);
}

TEST_CASE_FIXTURE(bare_leaves, "7.3: every member has to support the credential types of all") {
  auto tree = tree_of(2);
  auto v = make();
  v.credential.type = credential_type::x509;
  CHECK(broken(tree.check_credential_types(v)) == rule::leaf_lacks_own_credential);
  v.capabilities.credentials.push_back(credential_type::x509);
  tree.set_leaf(leaf(1), v);
  CHECK(broken(tree.check_credential_types(v)) == rule::credential_not_supported_by_all);
  auto old = make();
  old.capabilities.credentials = {credential_type::basic, credential_type::x509, credential_type::x509};
  tree.set_leaf(leaf(0), old);
  CHECK(tree.check_credential_types(v));
  CHECK(tree.check_credential_types(old));
  auto narrow = make();
  tree.set_leaf(leaf(0), narrow);
  CHECK(broken(tree.check_credential_types(narrow)) == rule::leaf_lacks_credential_in_use);
}

TEST_CASE_FIXTURE(bare_leaves, "keys that were chosen to collide are still told apart, and leave no trace") {
  const auto colliding = [&] {
    auto v = make();
    std::fill_n(v.encryption_key.begin(), 28, 0); // as similar as they can be
    std::fill_n(v.signature_key.begin(), 8, 0);
    return v;
  };
  auto tree = *ratchet_tree::blank(64);
  std::vector<leaf_node> leaves;
  for (std::uint32_t i = 0; i < 64; ++i) {
    leaves.push_back(i % 3 == 0 ? make() : colliding());
    tree.set_leaf(leaf(i), leaves.back());
  }
  for (std::uint32_t i = 1; i < 64; i += 2)
    REQUIRE(tree.remove(leaf(i)));
  for (std::uint32_t i = 0; i < 64; ++i) {
    const bool stays = i % 2 == 0;
    CHECK(tree.find_signature_key(leaves[i].signature_key) ==
          (stays ? std::optional{leaf(i)} : std::nullopt));
    CHECK(tree.find_encryption_key(leaves[i].encryption_key).has_value() == stays);
    if (stays)
      CHECK(tree.check_unique(leaf(i)));
  }
}

// --- changes -----------------------------------------------------------------------------------------------

TEST_CASE("15: keys that were chosen to be alike are found in the index without a look at the others") {
  key_index index;
  std::vector<public_key> keys(4000);
  for (std::uint32_t i = 0; i < keys.size(); ++i) {
    keys[i].fill(7);
    for (std::size_t b = 0; b < 4; ++b)
      keys[i][8 + b] = static_cast<std::uint8_t>(i >> (8 * b));
    index.insert(keys[i], i);
  }
  std::size_t looked_at = 0, found = 0;
  for (std::uint32_t i = 0; i < keys.size(); ++i)
    index.for_each(
        keys[i],
        [&](std::uint32_t node) {
          ++looked_at;
          return keys[node];
        },
        [&](std::uint32_t node) { found += node == i; });
  CHECK(found == keys.size());
  CHECK(looked_at < 2 * keys.size());
}

TEST_CASE_FIXTURE(bare_leaves,
                  "a tree that shrinks and grows within one change can be rolled back to what it was") {
  auto tree = tree_of(9, {4, 5, 6, 7});
  tree.set_parent(node(15), make_parent());
  tree.set_parent(node(3), make_parent());
  const auto before = tree.encoded();
  const auto hash_before = tree.tree_hash();
  const auto change = [&] {
    tree.begin();
    REQUIRE(tree.remove(leaf(8)));
    REQUIRE(tree.leaf_count() == 4);
    for (int i = 0; i < 30; ++i)
      REQUIRE(tree.add(make()));
    REQUIRE(tree.leaf_count() == 64);
    (void)tree.tree_hash();
    REQUIRE(tree.remove(leaf(0)));
    tree.set_parent(node(31), make_parent());
  };
  change();
  tree.roll_back();
  CHECK(tree.encoded() == before);
  check_same(tree, *ratchet_tree::decoded(before));

  change();
  const auto after = tree.encoded();
  auto taken = tree.take();
  CHECK(tree.tree_hash() == hash_before);
  check_same(tree, *ratchet_tree::decoded(before));
  tree.apply(std::move(taken));
  check_same(tree, *ratchet_tree::decoded(after));
}

TEST_CASE_FIXTURE(bare_leaves, "any history of changes leaves what a fresh tree would compute") {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    random = seeded_random(seed);
    const auto below = [&](std::uint32_t n) {
      std::array<std::uint8_t, 4> r{};
      random(r);
      return (r[0] << 16 | r[1] << 8 | r[2]) % n;
    };
    auto tree = tree_of(1 + below(20));
    for (int commit = 0; commit < 12; ++commit) {
      const auto before = tree.encoded();
      tree.begin();
      for (auto steps = 1 + below(12); steps > 0; --steps) {
        const auto i = leaf(below(tree.leaf_count()));
        auto v = make();
        if (below(3) == 0)
          v.capabilities.extensions = {extension_type{7}};
        switch (below(6)) {
        case 0:
        case 1:
          REQUIRE(tree.add(v));
          break;
        case 2:
          (void)tree.update(i, v);
          break;
        case 3:
          if (tree.member_count() > 1)
            (void)tree.remove(i);
          break;
        case 4:
          if (tree.leaf_count() > 1)
            tree.set_parent(node(2 * below(tree.leaf_count() - 1) + 1), make_parent());
          break;
        default:
          (void)tree.tree_hash(node(below(node_count(tree.leaf_count()))));
        }
      }
      const auto after = tree.encoded();
      const auto same_as = [&](const bytes& in) {
        if (const auto fresh = *ratchet_tree::decoded(in); fresh.leaf_count() == tree.leaf_count())
          check_same(tree, fresh);
        else
          REQUIRE(tree.encoded() == in);
      };
      switch (below(3)) {
      case 0:
        tree.roll_back();
        same_as(before);
        break;
      case 1:
        tree.keep();
        same_as(after);
        break;
      default: {
        auto taken = tree.take();
        same_as(before);
        (void)tree.tree_hash();
        tree.apply(std::move(taken));
        same_as(after);
      }
      }
    }
  }
}

TEST_CASE_FIXTURE(bare_leaves, "a commit touches few nodes, and the store can write just those") {
  auto tree = tree_of(1000);
  (void)tree.tree_hash();
  tree.begin();
  REQUIRE(tree.update(leaf(700), make()));
  (void)tree.tree_hash();
  const auto touched = tree.keep();
  CHECK(touched.size() == 11); // the leaf and the ten nodes above it
}

// --- bytes -------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(bare_leaves, "12.4.3.3: a ratchet_tree extension that ends with a blank node is refused") {
  encoder nodes, e;
  nodes.put<std::uint8_t>(1).put<std::uint8_t>(1);
  encode(nodes, make());
  nodes.put<std::uint8_t>(0);
  e.opaque(nodes.out());
  CHECK(broken(ratchet_tree::decoded(e.out())) == rule::tree_blank_at_end);
  CHECK(broken(ratchet_tree::decoded(bytes{0})) == rule::tree_blank_at_end);
}

TEST_CASE_FIXTURE(bare_leaves, "12.4.3.3: a node of the other type than its place is refused") {
  const auto with = [&](bool leaf_first) {
    encoder nodes, e;
    if (!leaf_first)
      nodes.put<std::uint8_t>(0);
    nodes.put<std::uint8_t>(1).put<std::uint8_t>(leaf_first ? 2 : 1);
    if (leaf_first)
      encode(nodes, make_parent());
    else
      encode(nodes, make());
    e.opaque(nodes.out());
    return broken(ratchet_tree::decoded(e.out()));
  };
  CHECK(with(true) == rule::tree_wrong_node_type);
  CHECK(with(false) == rule::tree_wrong_node_type);
  auto tree = tree_of(2);
  CHECK(broken(tree.put_encoded_node(node(1), tree.encoded_node(node(0)))) == rule::tree_wrong_node_type);
}

TEST_CASE_FIXTURE(bare_leaves, "2.1: a ratchet_tree extension that is not well formed is refused") {
  auto tree = tree_of(3);
  tree.set_parent(node(1), make_parent());
  const auto in = tree.encoded();
  for (std::size_t n = 0; n < in.size(); ++n)
    CHECK(!ratchet_tree::decoded(bytes_view{in}.first(n)));
  auto trailing = in;
  trailing.push_back(0);
  CHECK(broken(ratchet_tree::decoded(trailing)) == rule::malformed);
  CHECK(broken(ratchet_tree::decoded(bytes{1, 2})) == rule::malformed);    // neither absent nor present
  CHECK(broken(ratchet_tree::decoded(bytes{2, 1, 3})) == rule::malformed); // there is no such node type
  auto p = make_parent();
  p.parent_hash.assign(31, 0);
  CHECK(broken(whole<parent_node>(encoded(p))) == rule::malformed);
}

TEST_CASE("a ratchet_tree extension with too many nodes is refused before they are kept") {
  encoder e;
  e.opaque(bytes(2 * ratchet_tree::leaf_count_max));
  CHECK(broken(ratchet_tree::decoded(e.out())) == rule::tree_too_large);
  CHECK(broken(ratchet_tree::blank(2 * ratchet_tree::leaf_count_max)) == rule::tree_too_large);
  CHECK(broken(ratchet_tree::blank(3)) == rule::malformed);
  CHECK(broken(ratchet_tree::blank(0)) == rule::malformed);
}

TEST_CASE_FIXTURE(bare_leaves, "a tree comes back from its extension, and from its nodes one by one") {
  auto tree = tree_of(11, {2, 9});
  tree.set_parent(node(3), make_parent({leaf(1), leaf(3)}));
  tree.set_parent(node(19), make_parent());
  const auto read = ratchet_tree::decoded(tree.encoded());
  REQUIRE(read);
  check_same(*read, tree);

  auto stored = *ratchet_tree::blank(tree.leaf_count());
  for (std::uint32_t x = 0; x < node_count(tree.leaf_count()); ++x)
    CHECK(stored.put_encoded_node(node(x), tree.encoded_node(node(x))));
  check_same(stored, tree);
  CHECK(broken(stored.put_encoded_node(node(31), {})) == rule::malformed);
  CHECK(broken(stored.put_encoded_node(node(0), bytes{1, 2, 3})) == rule::malformed);
}

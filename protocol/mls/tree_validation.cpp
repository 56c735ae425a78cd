#include "protocol/mls/tree_validation.hpp"

#include <algorithm>
#include <functional>

namespace parley::mls {

namespace {

template <class Check>
result<void> each_member(const ratchet_tree& tree, Check check) {
  for (std::uint32_t i = 0; i < tree.leaf_count(); ++i)
    if (tree.is_member(leaf_index{i}))
      if (result<void> ok = check(leaf_index{i}); !ok)
        return ok;
  return {};
}

template <class Check>
result<void> each_parent(const ratchet_tree& tree, Check check) {
  for (std::uint32_t x = 1; x < node_count(tree.leaf_count()); x += 2)
    if (!tree.is_blank(node_index{x}))
      if (result<void> ok = check(node_index{x}); !ok)
        return ok;
  return {};
}

/// The parent hash that a node carries; empty if it carries none.
bytes parent_hash_in(const ratchet_tree& tree, node_index d) {
  return is_leaf(d) ? tree.leaf(to_leaf(d)).parent_hash : to_bytes(tree.parent_hash(d));
}

/// Whether some node below `child` has a parent hash that is valid with respect to `p`. The resolution
/// of the child must consist of that node and the unmerged leaves of `p`, so there is at most one
/// candidate. check_unmerged_leaves has already shown that these leaves are in the resolution.
bool is_chained_to(const ratchet_tree& tree, node_index p, node_index child) {
  const auto range = leaves_below(child);
  const auto unmerged = tree.unmerged_leaves(p);
  const auto first = std::ranges::lower_bound(unmerged, leaf_index{range.first});
  const auto end = std::ranges::lower_bound(unmerged, leaf_index{range.end});
  const std::span<const leaf_index> here{first, end};

  std::vector<node_index> resolution;
  tree.resolution(child, resolution);
  std::erase_if(resolution,
                [&](node_index x) { return is_leaf(x) && std::ranges::binary_search(here, to_leaf(x)); });
  return resolution.size() == 1 &&
         equal(parent_hash_in(tree, resolution.front()), tree.parent_hash_of(p, sibling(child)));
}

} // namespace

result<void> check_unmerged_leaves(const ratchet_tree& tree) {
  return each_parent(tree, [&](node_index p) -> result<void> {
    const auto unmerged = tree.unmerged_leaves(p);
    if (std::ranges::adjacent_find(unmerged, std::greater_equal<>{}) != unmerged.end())
      return refuse(rule::unmerged_leaves_not_sorted);
    for (const auto i : unmerged) {
      if (!is_below(i, p) || !tree.is_member(i))
        return refuse(rule::unmerged_leaf_not_below);
      for (auto x = parent(to_node(i)); x != p; x = parent(x))
        if (!tree.is_blank(x) && !std::ranges::binary_search(tree.unmerged_leaves(x), i))
          return refuse(rule::unmerged_leaf_missing_between);
    }
    return {};
  });
}

result<void> check_unique_keys(const ratchet_tree& tree) {
  if (auto ok = each_member(tree, [&](leaf_index i) { return tree.check_unique(i); }); !ok)
    return ok;
  return each_parent(tree, [&](node_index p) -> result<void> {
    if (auto ok = check_encryption_key(tree.encryption_key(p)); !ok)
      return ok;
    return tree.check_unique(p);
  });
}

result<void> check_parent_hashes(const ratchet_tree& tree) {
  const auto top = tree.root();
  if (!is_leaf(top) && !tree.is_blank(top) && !tree.parent_hash(top).empty())
    return refuse(rule::parent_hash_invalid);
  return each_parent(tree, [&](node_index p) -> result<void> {
    if (is_chained_to(tree, p, left(p)) == is_chained_to(tree, p, right(p)))
      return refuse(rule::parent_hash_invalid);
    return {};
  });
}

result<void> verify_leaf_signatures(const ratchet_tree& tree, bytes_view group_id) {
  return each_member(tree, [&](leaf_index i) {
    return verify_encoded_leaf(tree.encoded_leaf(i), tree.signature_key(i), tree.source(i), {group_id, i});
  });
}

result<void> check_tree(const ratchet_tree& tree, const tree_rules& rules, const credential_policy& policy) {
  if (rules.tree_hash && !equal(*rules.tree_hash, tree.tree_hash()))
    return refuse(rule::tree_hash_mismatch);
  if (auto ok = check_unmerged_leaves(tree); !ok)
    return ok;
  if (auto ok = check_unique_keys(tree); !ok)
    return ok;
  leaf_rules of_leaf;
  of_leaf.group = rules.group;
  of_leaf.now = rules.now;
  of_leaf.lifetime = rules.lifetime;
  of_leaf.lifetime_max = rules.lifetime_max;
  auto leaves = each_member(tree, [&](leaf_index i) -> result<void> {
    const auto leaf = tree.leaf(i);
    if (auto ok = check_leaf(leaf, of_leaf); !ok)
      return ok;
    return tree.check_credential_types(leaf);
  });
  if (!leaves)
    return leaves;
  if (auto ok = check_parent_hashes(tree); !ok)
    return ok;
  if (auto ok = verify_leaf_signatures(tree, rules.group_id); !ok)
    return ok;
  return each_member(tree, [&](leaf_index i) {
    const auto leaf = tree.leaf(i);
    return policy.accept({leaf.credential, leaf.signature_key, credential_event::join, rules.now});
  });
}

} // namespace parley::mls

#pragma once
// Checks a tree from a Welcome or a GroupInfo before it is used (RFC 9420, section 12.4.3.1).
#include "protocol/mls/leaf_validation.hpp"
#include "protocol/mls/ratchet_tree.hpp"

namespace parley::mls {

struct tree_rules {
  bytes_view group_id;
  std::optional<bytes_view> tree_hash; ///< the hash in the GroupContext; empty: not checked
  const group_requirements* group = nullptr;
  std::uint64_t now = 0;
  /// Members stay in the group when the key package that they joined with expires.
  lifetime_check lifetime = lifetime_check::length_only;
  std::uint64_t lifetime_max = lifetime_seconds_max;
};

/// Checks everything, the expensive part last: each leaf's signature and each credential is verified once.
result<void> check_tree(const ratchet_tree& tree, const tree_rules& rules, const credential_policy& policy);

// The parts of `check_tree`.
/// 7.1 and 12.4.3.1: unmerged leaves are sorted, not blank, below their node, and listed by
/// every node in between.
result<void> check_unmerged_leaves(const ratchet_tree& tree);
/// 7.3 and 12.4.3.1: no key appears twice, and the keys of parents are valid.
result<void> check_unique_keys(const ratchet_tree& tree);
/// 7.9: the root has no parent hash. 7.9.2: each parent that is not blank is parent-hash valid with
/// respect to exactly one node below it.
result<void> check_parent_hashes(const ratchet_tree& tree);
result<void> verify_leaf_signatures(const ratchet_tree& tree, bytes_view group_id);

} // namespace parley::mls

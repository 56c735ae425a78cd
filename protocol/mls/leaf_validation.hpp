#pragma once
// Whether a leaf or a key package may be used (RFC 9420, sections 7.2, 7.3, 10.1 and 13.4).
//
// The checks have three parts, because they differ in cost and in the data that they need. `check_leaf` needs
// one leaf and the group's parameters. The signature and the credential policy cost one Ed25519 verification
// each. Uniqueness and credential types need the tree (ratchet_tree::check_unique, check_credential_types).
#include "protocol/mls/credential.hpp"

namespace parley::mls {

/// What a group requires of every leaf, read once from the extensions of its GroupContext.
struct group_requirements {
  std::vector<extension_type> extensions; ///< in use
  required_capabilities required;
};
result<group_requirements> requirements_of(const extension_list& group_extensions);

/// 7.3: the lifetime is compared with the clock when a leaf is sent, or received shortly after it was
/// created. A tree may hold leaves that were valid when their members joined.
enum class lifetime_check { current, length_only };

/// Three months, one day for clocks that are ahead, and one day of reserve.
inline constexpr std::uint64_t lifetime_seconds_max = 94u * 24 * 3600;
/// The limit for the parts of a leaf that members choose: identity, capabilities and extensions together.
inline constexpr std::size_t leaf_bytes_max = 16 * 1024;

struct leaf_rules {
  std::optional<leaf_node_source> source;    ///< empty: any source is accepted, as in a tree
  const group_requirements* group = nullptr; ///< null: the leaf is not for a group yet
  std::uint64_t now = 0;                     ///< seconds since the Unix epoch
  lifetime_check lifetime = lifetime_check::current;
  std::uint64_t lifetime_max = lifetime_seconds_max;
};

/// Checks everything in 7.3 that can be decided from one leaf alone, except its signature.
result<void> check_leaf(const leaf_node& leaf, const leaf_rules& rules);
/// 7.3: checks what the group requires of the leaf. This part of `check_leaf` is also used when a
/// group changes its extensions.
result<void> check_requirements(const leaf_node& leaf, const group_requirements& group);
/// 7.3: the leaf of an Update or of a path must have a new encryption key.
result<void> check_fresh_key(const leaf_node& old_one, const leaf_node& new_one);

/// 10.1: includes the signatures of package and leaf and the policy's decision on the credential.
/// `rules.source` is ignored: the source must be key_package.
result<void> check_key_package(const key_package& package, leaf_rules rules, const credential_policy& policy,
                               credential_event event = credential_event::key_package);

} // namespace parley::mls

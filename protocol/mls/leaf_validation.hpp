#pragma once
// Whether a leaf or a key package may be used (RFC 9420, sections 7.2, 7.3, 10.1 and 13.4).
//
// The checks are in three parts, because they cost differently and see different things: `check_leaf` sees
// one leaf and the group's parameters; the signature and the credential policy cost an Ed25519 verification
// each; uniqueness and credential types need the tree (ratchet_tree::check_unique, check_credential_types).
#include "protocol/mls/credential.hpp"

namespace parley::mls {

/// What a group asks of every leaf, read once from the extensions of its GroupContext.
struct group_requirements {
  std::vector<extension_type> extensions; ///< in use
  required_capabilities required;
};
result<group_requirements> requirements_of(const extension_list& group_extensions);

/// 7.3: whoever sends a leaf, or receives one that was just made, looks at the clock. A tree may hold leaves
/// that were right when their members joined.
enum class lifetime_check { current, length_only };

/// Three months, a day for clocks that go before, a day for the rest.
inline constexpr std::uint64_t lifetime_seconds_max = 94u * 24 * 3600;
/// Of what members may vary in a leaf: identity, capabilities and extensions together.
inline constexpr std::size_t leaf_bytes_max = 16 * 1024;

struct leaf_rules {
  std::optional<leaf_node_source> source;    ///< none: any, as in a tree
  const group_requirements* group = nullptr; ///< none: not for a group yet
  std::uint64_t now = 0;                     ///< seconds since the Unix epoch
  lifetime_check lifetime = lifetime_check::current;
  std::uint64_t lifetime_max = lifetime_seconds_max;
};

/// All of 7.3 that one leaf shows by itself, without its signature.
result<void> check_leaf(const leaf_node& leaf, const leaf_rules& rules);
/// 7.3: what the group requires of the leaf. A part of `check_leaf`, for a group that changes its extensions.
result<void> check_requirements(const leaf_node& leaf, const group_requirements& group);
/// 7.3: the leaf of an Update or of a path brings a key of its own.
result<void> check_fresh_key(const leaf_node& old_one, const leaf_node& new_one);

/// 10.1, with the signatures of package and leaf and the policy's word on the credential. `rules.source`
/// is not asked: it is key_package.
result<void> check_key_package(const key_package& package, leaf_rules rules, const credential_policy& policy,
                               credential_event event = credential_event::key_package);

} // namespace parley::mls

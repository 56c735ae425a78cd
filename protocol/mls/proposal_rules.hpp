#pragma once
// Which lists of proposals a commit may cover, and what they do to the tree (RFC 9420, sections 12.1-12.3).
//
// This is done in two steps, because they need different data: `plan_proposals` needs only the list and
// its committer; `apply_plan` works on a tree that is changing (`ratchet_tree::begin`). Rolling the
// tree back is left to the caller.
#include "protocol/mls/framing.hpp"
#include "protocol/mls/leaf_validation.hpp"
#include "protocol/mls/limits.hpp"
#include "protocol/mls/ratchet_tree.hpp"

#include <span>

namespace parley::mls {

/// A proposal and its sender. For a proposal inside the commit, the sender is the committer. Both
/// must outlive the plan.
struct sent_proposal {
  sender from;
  const proposal* what = nullptr;
  bool by_reference = false;
};

/// A valid list, sorted by effect.
struct proposal_plan {
  const group_context_extensions_proposal* extensions = nullptr;
  std::vector<std::pair<leaf_index, const leaf_node*>> updates;
  std::vector<leaf_index> removes;
  std::vector<const key_package*> adds; ///< in the order of the list
  std::vector<pre_shared_key_id> psks;  ///< in the order of the list
  const external_init_proposal* external_init = nullptr;
  const reinit_proposal* reinit = nullptr;
  bool requires_path = false; ///< 12.4
};

/// 12.2 applies to whole lists: returns whether other proposals in a list can resolve a refusal of a
/// proposal that is checked alone.
bool may_hold_beside_others(rule r);

/// 12.2, as far as the list alone can be checked. `committer` is a member, or a new member who commits.
result<proposal_plan> plan_proposals(std::span<const sent_proposal> list, const sender& committer);

/// 5.3.1: asks the policy about the external senders of `extensions` that are not in `before`.
result<void> check_external_senders(const extension_list& extensions, const extension_list& before,
                                    const credential_policy& policy, std::uint64_t now);

struct plan_rules {
  bytes_view group_id;
  const extension_list& extensions; ///< of the group before the commit
  const credential_policy& policy;
  std::uint64_t now = 0;
  std::uint64_t lifetime_max = lifetime_seconds_max;
};
/// 12.1 and 12.3, without the path. Returns the leaves of the added members, in the order of the Adds.
result<std::vector<leaf_index>> apply_plan(ratchet_tree& tree, const proposal_plan& plan,
                                           const plan_rules& rules);

} // namespace parley::mls

#pragma once
// Which lists of proposals a commit may cover, and what they do to the tree (RFC 9420, sections 12.1-12.3).
//
// In two steps, because they need different things: `plan_proposals` sees only the list and who commits it;
// `apply_plan` works on a tree that is changing (`ratchet_tree::begin`), and leaves going back to its caller.
#include "protocol/mls/framing.hpp"
#include "protocol/mls/leaf_validation.hpp"
#include "protocol/mls/limits.hpp"
#include "protocol/mls/ratchet_tree.hpp"

#include <span>

namespace parley::mls {

/// A proposal and who sent it; for one that is in the commit itself, the committer. Both outlive the plan.
struct sent_proposal {
  sender from;
  const proposal* what = nullptr;
  bool by_reference = false;
};

/// A valid list, sorted by what it does.
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

/// 12.2 judges lists: whether others in a list can mend what is refused of a proposal alone.
bool may_hold_beside_others(rule r);

/// 12.2, as far as the list shows it. `committer` is a member or a new member who commits.
result<proposal_plan> plan_proposals(std::span<const sent_proposal> list, const sender& committer);

/// 5.3.1: the policy's word on the external senders of `extensions` that `before` does not have.
result<void> check_external_senders(const extension_list& extensions, const extension_list& before,
                                    const credential_policy& policy, std::uint64_t now);

struct plan_rules {
  bytes_view group_id;
  const extension_list& extensions; ///< of the group before the commit
  const credential_policy& policy;
  std::uint64_t now = 0;
  std::uint64_t lifetime_max = lifetime_seconds_max;
};
/// 12.1 and 12.3, but for the path. Answers the leaves of those who were added, in their order.
result<std::vector<leaf_index>> apply_plan(ratchet_tree& tree, const proposal_plan& plan,
                                           const plan_rules& rules);

} // namespace parley::mls

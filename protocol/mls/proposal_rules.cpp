#include "protocol/mls/proposal_rules.hpp"

#include <algorithm>
#include <set>

namespace parley::mls {
namespace {

using planned = result<void>;

/// Checks the proposals of a list in order, each against those before it.
class planner {
public:
  explicit planner(const sender& committer) : committer_{committer} {}

  planned add(const sent_proposal& p) {
    plan.requires_path = plan.requires_path || requires_path(p.what->type());
    return std::visit([&](const auto& body) { return take(p, body); }, p.what->body);
  }

  proposal_plan plan;

private:
  bool is_external() const { return committer_.type == sender_type::new_member_commit; }

  planned take(const sent_proposal&, const add_proposal& p) {
    if (is_external())
      return refuse(rule::external_commit_with_other_proposal);
    if (!added_.insert(p.key_package.leaf_node.signature_key).second)
      return refuse(rule::client_added_twice);
    plan.adds.push_back(&p.key_package);
    return {};
  }
  planned take(const sent_proposal& by, const update_proposal& p) {
    if (is_external())
      return refuse(rule::external_commit_with_other_proposal);
    if (by.from.type != sender_type::member)
      return refuse(rule::update_not_from_member);
    if (by.from == committer_)
      return refuse(rule::update_of_committer);
    if (!touched_.insert(by.from.leaf()).second)
      return refuse(rule::leaf_changed_twice);
    plan.updates.emplace_back(by.from.leaf(), &p.leaf_node);
    return {};
  }
  planned take(const sent_proposal&, const remove_proposal& p) {
    if (is_external() && !plan.removes.empty())
      return refuse(rule::external_commit_removes_many);
    if (!is_external() && p.removed == committer_.leaf())
      return refuse(rule::remove_of_committer);
    if (!touched_.insert(p.removed).second)
      return refuse(rule::leaf_changed_twice);
    plan.removes.push_back(p.removed);
    return {};
  }
  planned take(const sent_proposal&, const psk_proposal& p) {
    if (p.psk.type == psk_type::resumption && p.psk.usage != resumption_usage::application)
      return refuse(rule::psk_usage_out_of_place);
    if (auto fits = check_nonce(p.psk); !fits)
      return fits;
    if (!psks_.insert(encoded(p.psk)).second)
      return refuse(rule::psk_twice);
    plan.psks.push_back(p.psk);
    return {};
  }
  planned take(const sent_proposal&, const reinit_proposal& p) {
    if (is_external())
      return refuse(rule::external_commit_with_other_proposal);
    if (p.version < mls10)
      return refuse(rule::reinit_to_older_version);
    if (auto once = check_no_duplicates(p.extensions); !once)
      return once;
    plan.reinit = &p;
    return {};
  }
  planned take(const sent_proposal&, const external_init_proposal& p) {
    if (!is_external())
      return refuse(rule::external_init_by_member);
    if (plan.external_init)
      return refuse(rule::external_init_not_one);
    plan.external_init = &p;
    return {};
  }
  planned take(const sent_proposal&, const group_context_extensions_proposal& p) {
    if (is_external())
      return refuse(rule::external_commit_with_other_proposal);
    if (plan.extensions)
      return refuse(rule::extensions_changed_twice);
    plan.extensions = &p;
    return {};
  }

  const sender& committer_;
  // These are sets because the sender of a list chooses its length.
  std::set<leaf_index> touched_;
  std::set<public_key> added_;
  std::set<bytes> psks_;
};

/// 12.1.7: all members support what the new extensions require.
result<void> check_members_support(const ratchet_tree& tree, const extension_list& extensions,
                                   const required_capabilities& required) {
  for (const auto& e : extensions)
    if (!is_default(e.type) && !tree.all_support(e.type))
      return refuse(rule::extensions_not_supported_by_all);
  const auto all = [&](const auto& types) {
    return std::ranges::all_of(types, [&](auto t) { return tree.all_support(t); });
  };
  if (!all(required.extensions) || !all(required.proposals) || !all(required.credentials))
    return refuse(rule::extensions_not_supported_by_all);
  return {};
}

/// 7.3: checks a leaf that the list adds to the tree, after the whole list has been applied.
result<void> check_in_place(const ratchet_tree& tree, leaf_index i, const leaf_node& leaf) {
  if (auto unique = tree.check_unique(i); !unique)
    return unique;
  return tree.check_credential_types(leaf);
}

result<void> apply_update(ratchet_tree& tree, leaf_index i, const leaf_node& leaf,
                          const group_requirements& group, const plan_rules& rules) {
  if (!tree.is_member(i))
    return refuse(rule::no_such_leaf);
  const auto before = tree.leaf(i);
  if (auto good = check_leaf(leaf, {leaf_node_source::update, &group, rules.now}); !good)
    return good;
  if (auto fresh = check_fresh_key(before, leaf); !fresh)
    return fresh;
  if (auto good = verify_signature(leaf, {rules.group_id, i}); !good)
    return good;
  if (auto welcome = check_replacement(rules.policy, before, leaf, credential_event::update, rules.now);
      !welcome)
    return welcome;
  return tree.update(i, leaf);
}

} // namespace

bool may_hold_beside_others(rule r) {
  switch (r) {
  case rule::duplicate_signature_key: // the list may remove the member that has the same key
  case rule::duplicate_encryption_key:
  case rule::tree_too_large:
  case rule::credential_not_supported_by_all: // an Update may add the type, or the member that lacks
                                              // it may be removed
  case rule::leaf_lacks_credential_in_use:
  case rule::extensions_not_supported_by_all:
  case rule::leaf_lacks_group_extension: // the group may stop requiring it
  case rule::leaf_lacks_required_extension:
  case rule::leaf_lacks_required_proposal:
  case rule::leaf_lacks_required_credential:
    return true;
  default:
    return false;
  }
}

result<proposal_plan> plan_proposals(std::span<const sent_proposal> list, const sender& committer) {
  planner p{committer};
  const bool is_external = committer.type == sender_type::new_member_commit;
  for (const auto& sent : list) {
    if (is_external && sent.by_reference)
      return refuse(rule::external_commit_with_reference);
    if (auto fits = p.add(sent); !fits)
      return tl::unexpected(fits.error());
  }
  if (p.plan.reinit && list.size() > 1)
    return refuse(rule::reinit_not_alone);
  if (is_external && !p.plan.external_init)
    return refuse(rule::external_init_not_one);
  p.plan.requires_path = p.plan.requires_path || list.empty() || is_external;
  return std::move(p.plan);
}

result<void> check_external_senders(const extension_list& extensions, const extension_list& before,
                                    const credential_policy& policy, std::uint64_t now) {
  const auto senders = external_senders_of(extensions), known = external_senders_of(before);
  if (!senders)
    return tl::unexpected(senders.error());
  for (const auto& e : *senders) {
    if (known && std::ranges::find(*known, e) != known->end())
      continue;
    if (auto may = policy.accept({e.credential, e.signature_key, credential_event::external_sender, now});
        !may)
      return may;
  }
  return {};
}

result<std::vector<leaf_index>> apply_plan(ratchet_tree& tree, const proposal_plan& plan,
                                           const plan_rules& rules) {
  const auto& extensions = plan.extensions ? plan.extensions->extensions : rules.extensions;
  const auto group = requirements_of(extensions);
  if (!group)
    return tl::unexpected(group.error());
  for (const auto& [i, leaf] : plan.updates)
    if (auto done = apply_update(tree, i, *leaf, *group, rules); !done)
      return tl::unexpected(done.error());
  for (const auto i : plan.removes)
    if (auto done = tree.remove(i); !done)
      return tl::unexpected(done.error());
  std::vector<leaf_index> added;
  const leaf_rules for_packages{leaf_node_source::key_package, &*group, rules.now, lifetime_check::current,
                                rules.lifetime_max};
  for (const auto* package : plan.adds) {
    if (auto good = check_key_package(*package, for_packages, rules.policy, credential_event::add); !good)
      return tl::unexpected(good.error());
    const auto at = tree.add(package->leaf_node);
    if (!at)
      return tl::unexpected(at.error());
    added.push_back(*at);
  }
  for (const auto& [i, leaf] : plan.updates)
    if (auto good = check_in_place(tree, i, *leaf); !good)
      return tl::unexpected(good.error());
  for (std::size_t n = 0; n < added.size(); ++n)
    if (auto good = check_in_place(tree, added[n], plan.adds[n]->leaf_node); !good)
      return tl::unexpected(good.error());
  if (plan.extensions) {
    if (auto good = check_members_support(tree, extensions, group->required); !good)
      return tl::unexpected(good.error());
    if (auto good = check_external_senders(extensions, rules.extensions, rules.policy, rules.now); !good)
      return tl::unexpected(good.error());
  }
  return added;
}

} // namespace parley::mls

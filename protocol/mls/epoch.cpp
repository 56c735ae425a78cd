#include "protocol/mls/epoch.hpp"

#include "protocol/mls/tree_validation.hpp"

#include <algorithm>
#include <map>

namespace parley::mls {
namespace {

/// 5.3.1 and 12.2: in an external commit the new leaf replaces another one like an Update of that leaf,
/// but its sender is nevertheless new to the group.
result<void> check_path_credential(const std::optional<leaf_node>& before, const leaf_node& leaf,
                                   bool is_external, const surroundings& s) {
  if (before && !is_external)
    return check_replacement(s.policy, *before, leaf, credential_event::commit, s.now);
  if (before)
    if (auto may = s.policy.accept_successor(before->credential, leaf.credential); !may)
      return may;
  return s.policy.accept({leaf.credential, leaf.signature_key, credential_event::commit, s.now});
}

plan_rules rules_for(const public_epoch& epoch, const surroundings& s) {
  return {epoch.context.group_id, epoch.context.extensions, s.policy, s.now, s.lifetime_max};
}

result<ratchet_tree> tree_of(const group_info& info, const std::optional<bytes_view>& apart) {
  if (const auto* inside = find_extension(info.extensions, extension_type::ratchet_tree))
    return ratchet_tree::decoded(*inside);
  if (!apart)
    return refuse(rule::ratchet_tree_missing);
  return ratchet_tree::decoded(*apart);
}

} // namespace

result<ratchet_tree> checked_tree(const group_info& info, const std::optional<bytes_view>& apart,
                                  const surroundings& s) {
  if (info.context.version != mls10)
    return refuse(rule::wrong_version);
  if (info.context.cipher_suite != cipher_suite_1)
    return refuse(rule::wrong_cipher_suite);
  if (auto once = check_no_duplicates(info.extensions); !once)
    return tl::unexpected(once.error());
  auto tree = tree_of(info, apart);
  if (!tree)
    return tree;
  const auto group = requirements_of(info.context.extensions);
  if (!group)
    return tl::unexpected(group.error());
  if (!tree->is_member(info.signer))
    return refuse(rule::group_info_bad_signature);
  if (auto good = verify_signature(info, tree->signature_key(info.signer)); !good)
    return tl::unexpected(good.error());
  const tree_rules rules{info.context.group_id,       info.context.tree_hash, &*group, s.now,
                         lifetime_check::length_only, s.lifetime_max};
  if (auto good = check_tree(*tree, rules, s.policy); !good)
    return tl::unexpected(good.error());
  if (auto good = check_external_senders(info.context.extensions, {}, s.policy, s.now); !good)
    return tl::unexpected(good.error());
  return tree;
}

epoch_view public_epoch::view() const {
  return {context, encoded_context, [this](const sender& from) -> const public_key* {
            if (from.type == sender_type::member)
              return tree.is_member(from.leaf()) ? &tree.signature_key(from.leaf()) : nullptr;
            if (from.type != sender_type::external || from.index >= external_keys.size())
              return nullptr;
            return &external_keys[from.index];
          }};
}

std::vector<member> public_epoch::members() const {
  std::vector<member> out;
  for (std::uint32_t i = 0; i < tree.leaf_count(); ++i)
    if (const leaf_index at{i}; tree.is_member(at))
      out.push_back({at, tree.signature_key(at), tree.leaf(at).credential});
  return out;
}

result<void> public_epoch::enter(group_context next, bytes encoded, bytes_view confirmation_tag) {
  const auto external = external_senders_of(next.extensions);
  if (!external)
    return tl::unexpected(external.error());
  external_keys.clear();
  for (const auto& e : *external)
    external_keys.push_back(e.signature_key);
  interim_hash = interim_transcript_hash(next.confirmed_transcript_hash, confirmation_tag);
  context = std::move(next);
  encoded_context = std::move(encoded);
  proposals.clear();
  return {};
}

result<std::vector<sent_proposal>> public_epoch::resolve(const commit& c, const sender& committer) const {
  std::map<bytes_view, const received_proposal*,
           decltype([](bytes_view a, bytes_view b) { return std::ranges::lexicographical_compare(a, b); })>
      by_ref;
  for (const auto& p : proposals)
    by_ref.emplace(p.ref.hash, &p);
  std::vector<sent_proposal> list;
  for (const auto& item : c.proposals) {
    if (const auto* by_value = std::get_if<proposal>(&item.body)) {
      list.push_back({committer, by_value, false});
      continue;
    }
    const auto known = by_ref.find(std::get<proposal_ref>(item.body).hash);
    if (known == by_ref.end())
      return refuse(rule::unknown_proposal);
    list.push_back({known->second->from, &known->second->proposal, true});
  }
  return list;
}

bool public_epoch::wants_commit() const {
  return std::ranges::any_of(proposals, &received_proposal::stands_alone);
}

result<proposal_ref> public_epoch::take_proposal(const authenticated_content& content, const surroundings& s,
                                                 std::size_t proposals_max, whose by) {
  auto ref = make_proposal_ref(content);
  if (std::ranges::find(proposals, ref, &received_proposal::ref) != proposals.end())
    return ref;
  if (proposals.size() >= proposals_max)
    return refuse(rule::too_many_proposals);
  const auto& p = *content.content.as<proposal>();
  if (encoded(p).size() > proposal_bytes_max)
    return refuse(rule::too_large);
  if (const auto* r = p.as<remove_proposal>(); r && !tree.is_member(r->removed))
    return refuse(rule::no_such_leaf);
  const auto alone = check_alone({content.content.sender, &p, true}, s);
  if (!alone && (by == whose::ours || !may_hold_beside_others(alone.error().broken)))
    return tl::unexpected(alone.error());
  proposals.push_back({ref, content.content.sender, p, alone.has_value()});
  return ref;
}

result<void> public_epoch::check_alone(const sent_proposal& p, const surroundings& s) {
  // As far as the list shows, it may be committed by a sender that is not a member.
  const auto plan = plan_proposals({&p, 1}, {sender_type::member, ~0u});
  if (!plan)
    return tl::unexpected(plan.error());
  changing_tree trial{tree};
  if (auto good = apply_plan(tree, *plan, rules_for(*this, s)); !good)
    return tl::unexpected(good.error());
  return {};
}

result<applied_list> apply_list(public_epoch& epoch, std::span<const sent_proposal> list,
                                const sender& committer, const surroundings& s) {
  auto plan = plan_proposals(list, committer);
  if (!plan)
    return tl::unexpected(plan.error());
  auto added = apply_plan(epoch.tree, *plan, rules_for(epoch, s));
  if (!added)
    return tl::unexpected(added.error());
  applied_list out;
  auto& effects = out.staged.effects;
  effects.is_external = committer.type == sender_type::new_member_commit;
  if (effects.is_external) {
    const auto at = epoch.tree.leaf_for_joiner();
    if (!at)
      return tl::unexpected(at.error());
    out.committer = *at;
  } else {
    out.committer = committer.leaf();
  }
  effects.committer = out.committer;
  effects.added = *added;
  if (effects.is_external)
    effects.added.push_back(out.committer);
  effects.removed = plan->removes;
  for (const auto& [leaf, unused] : plan->updates)
    effects.updated.push_back(leaf);
  effects.changes_extensions = plan->extensions != nullptr;
  if (plan->reinit)
    effects.reinit = *plan->reinit;
  out.staged.new_leaves = *added;
  std::ranges::sort(out.staged.new_leaves);
  out.staged.psks = plan->psks;
  if (plan->external_init)
    out.staged.kem_output = plan->external_init->kem_output;
  out.added = std::move(*added);
  out.plan = std::move(*plan);
  return out;
}

const extension_list& extensions_after(const public_epoch& epoch, const proposal_plan& plan) {
  return plan.extensions ? plan.extensions->extensions : epoch.context.extensions;
}

std::optional<leaf_node> replaced_leaf(const ratchet_tree& tree, std::span<const sent_proposal> list,
                                       const sender& committer) {
  const auto leaf_at = [&](leaf_index i) {
    return tree.is_member(i) ? std::optional{tree.leaf(i)} : std::nullopt;
  };
  if (committer.type != sender_type::new_member_commit)
    return leaf_at(committer.leaf());
  for (const auto& p : list)
    if (const auto* r = p.what->as<remove_proposal>())
      return leaf_at(r->removed);
  return std::nullopt;
}

result<void> check_path_leaf(const public_epoch& epoch, const applied_list& list,
                             const std::optional<leaf_node>& before, const leaf_node& leaf,
                             const surroundings& s) {
  const auto group = requirements_of(extensions_after(epoch, list.plan));
  if (!group)
    return tl::unexpected(group.error());
  if (auto good = check_leaf(leaf, {leaf_node_source::commit, &*group, s.now}); !good)
    return good;
  return check_path_credential(before, leaf, list.staged.effects.is_external, s);
}

group_context provisional_context(const public_epoch& epoch, const proposal_plan& plan) {
  auto next = epoch.context;
  ++next.epoch;
  next.extensions = extensions_after(epoch, plan);
  next.tree_hash = to_bytes(epoch.tree.tree_hash());
  return next;
}

void finish_context(staged_epoch& staged, group_context provisional, bytes_view interim_hash,
                    const authenticated_content& content) {
  staged.context = std::move(provisional);
  staged.context.confirmed_transcript_hash = confirmed_transcript_hash(interim_hash, content);
  staged.encoded_context = encoded(staged.context);
}

result<staged_epoch> stage_commit(public_epoch& epoch, const authenticated_content& content,
                                  const surroundings& s) {
  const auto& c = *content.content.as<commit>();
  const auto& committer = content.content.sender;
  const auto list = epoch.resolve(c, committer);
  if (!list)
    return tl::unexpected(list.error());
  const auto before = replaced_leaf(epoch.tree, *list, committer);
  changing_tree guard{epoch.tree};
  auto applied = apply_list(epoch, *list, committer, s);
  if (!applied)
    return tl::unexpected(applied.error());
  if (applied->plan.requires_path && !c.path)
    return refuse(rule::commit_without_path);
  if (c.path) {
    const auto& leaf = c.path->leaf_node;
    if (auto good = verify_signature(leaf, {epoch.context.group_id, applied->committer}); !good)
      return tl::unexpected(good.error());
    if (before)
      if (auto fresh = check_fresh_key(*before, leaf); !fresh)
        return tl::unexpected(fresh.error());
    if (auto good = check_path_leaf(epoch, *applied, before, leaf, s); !good)
      return tl::unexpected(good.error());
    if (auto good = merge_path(epoch.tree, applied->committer, *c.path, applied->staged.new_leaves); !good)
      return tl::unexpected(good.error());
    if (auto good = epoch.tree.check_unique(applied->committer); !good)
      return tl::unexpected(good.error());
    if (auto good = epoch.tree.check_credential_types(c.path->leaf_node); !good)
      return tl::unexpected(good.error());
  }
  auto next = provisional_context(epoch, applied->plan);
  applied->staged.provisional_context = encoded(next);
  finish_context(applied->staged, std::move(next), epoch.interim_hash, content);
  guard.settled();
  return std::move(applied->staged);
}

} // namespace parley::mls

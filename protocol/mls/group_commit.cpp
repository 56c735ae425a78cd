// Creates commits: our own, and those by which this client joins.
#include "protocol/mls/group_state.hpp"

#include <algorithm>

namespace parley::mls {
namespace {

/// Decides whether a proposal can still be covered together with those selected before it.
class selection {
public:
  selection(leaf_index self, const std::vector<proposal>& ours) : self_{self} {
    for (const auto& p : ours)
      note(sender::member(self), p);
  }
  bool admits(const sender& from, const proposal& p) {
    if (const auto* r = p.as<remove_proposal>(); r && (r->removed == self_ || is_touched(r->removed)))
      return false;
    if (p.as<update_proposal>() && (from.leaf() == self_ || is_touched(from.leaf())))
      return false;
    if (const auto* a = p.as<add_proposal>();
        a && std::ranges::find(added_, a->key_package.leaf_node.signature_key) != added_.end())
      return false;
    if (const auto* key = brought_key(p); key && std::ranges::find(keys_, *key) != keys_.end())
      return false;
    if (const auto* k = p.as<psk_proposal>(); k && std::ranges::find(psks_, k->psk) != psks_.end())
      return false;
    if (p.as<group_context_extensions_proposal>() && has_extensions_)
      return false;
    if (p.as<reinit_proposal>())
      return false; // a ReInit must be alone (12.2): to commit it, pass it by value
    note(from, p);
    return true;
  }

private:
  /// The encryption key of the leaf that the proposal adds to the tree.
  static const public_key* brought_key(const proposal& p) {
    if (const auto* a = p.as<add_proposal>())
      return &a->key_package.leaf_node.encryption_key;
    const auto* u = p.as<update_proposal>();
    return u ? &u->leaf_node.encryption_key : nullptr;
  }
  void note(const sender& from, const proposal& p) {
    if (const auto* key = brought_key(p))
      keys_.push_back(*key);
    if (const auto* r = p.as<remove_proposal>())
      touched_.push_back(r->removed);
    else if (p.as<update_proposal>())
      touched_.push_back(from.leaf());
    else if (const auto* a = p.as<add_proposal>())
      added_.push_back(a->key_package.leaf_node.signature_key);
    else if (const auto* k = p.as<psk_proposal>())
      psks_.push_back(k->psk);
    else if (p.as<group_context_extensions_proposal>())
      has_extensions_ = true;
  }
  bool is_touched(leaf_index i) const { return std::ranges::find(touched_, i) != touched_.end(); }

  leaf_index self_;
  std::vector<leaf_index> touched_;
  std::vector<public_key> added_, keys_;
  std::vector<pre_shared_key_id> psks_;
  bool has_extensions_ = false;
};

commit commit_of(std::span<const sent_proposal> list, const public_epoch& epoch) {
  commit out;
  for (const auto& p : list) {
    if (!p.by_reference) {
      out.proposals.push_back({*p.what});
      continue;
    }
    const auto known =
        std::ranges::find_if(epoch.proposals, [&](const auto& r) { return &r.proposal == p.what; });
    out.proposals.push_back({known->ref});
  }
  return out;
}

/// Creates one Welcome for each added member.
result<std::vector<bytes>> make_welcomes(const applied_list& list, const std::optional<new_path>& path,
                                         const secret& joiner, const bytes& encrypted_group_info,
                                         const mls_limits& limits, const random_source& random) {
  std::vector<bytes> out;
  for (std::size_t n = 0; n < list.added.size(); ++n) {
    const auto& package = *list.plan.adds[n];
    const invited whom{key_package_ref(package), package.init_key,
                       path ? path->path_secret_for(list.added[n]) : nullptr};
    auto sealed = seal_group_secrets(whom, joiner, list.staged.psks, encrypted_group_info, random);
    if (!sealed)
      return tl::unexpected(sealed.error());
    auto message =
        write_message({welcome{cipher_suite_1, {std::move(*sealed)}, encrypted_group_info}}, limits);
    if (!message)
      return tl::unexpected(message.error());
    out.push_back(std::move(*message));
  }
  return out;
}

bool covers_reinit(const commit_options& options) {
  return std::ranges::any_of(options.proposals,
                             [](const auto& p) { return p.template as<reinit_proposal>(); });
}

} // namespace

/// Selects Removes first, then the newest Update of each leaf, as 12.2 recommends.
std::vector<sent_proposal> group_state::covered(const commit_options& options, const surroundings& s) const {
  std::vector<sent_proposal> list;
  for (const auto& p : options.proposals)
    list.push_back({as_sender(), &p, false});
  if (!options.cover_received || covers_reinit(options))
    return list;
  selection chosen{self(), options.proposals};
  const auto rank = [](const received_proposal& r) {
    return r.proposal.as<remove_proposal>()   ? 0
           : r.proposal.as<update_proposal>() ? 1
           : r.proposal.as<psk_proposal>()    ? 3
                                              : 2;
  };
  std::vector<const received_proposal*> by_rank;
  for (const auto& r : now.proposals)
    by_rank.push_back(&r);
  // Sort Updates from the newest to the oldest.
  std::ranges::stable_sort(by_rank, [&](auto* a, auto* b) {
    return rank(*a) != rank(*b) ? rank(*a) < rank(*b) : rank(*a) == 1 && a > b;
  });
  for (const auto* r : by_rank) {
    if (const auto* k = r->proposal.as<psk_proposal>(); k && !is_held_by_all(k->psk, list, s))
      continue;
    if (chosen.admits(r->from, r->proposal))
      list.push_back({r->from, &r->proposal, true});
  }
  return list;
}

/// A received proposal must not prevent us from committing by naming a key that we do not hold. It must not
/// prevent other members from following either: members who joined after the epoch of a resumption key, or
/// who join with this commit, cannot hold it. A caller who knows more lists such a proposal itself.
bool group_state::is_held_by_all(const pre_shared_key_id& id, std::span<const sent_proposal> list,
                                 const surroundings& s) const {
  const auto is_add = [](const auto& p) { return p.what->template as<add_proposal>(); };
  if (id.type == psk_type::resumption && (id.epoch != now.context.epoch || std::ranges::any_of(list, is_add)))
    return false;
  return psk_secret_of({id}, s).has_value();
}

result<made_commit> group_state::make_commit(const commit_options& options, const surroundings& s) {
  auto list = covered(options, s);
  const auto build = [&] {
    return build_commit({list, as_sender(), options.always_path, options.tree, options.authenticated_data},
                        secrets.init, s);
  };
  auto made = build();
  // If the received proposals are not valid together, drop them in stages so that Removes are kept
  // longest. Trying every combination would let other members consume our CPU time.
  const auto needs_others = [&](const sent_proposal& p) {
    return std::ranges::any_of(now.proposals,
                               [&](const auto& r) { return &r.proposal == p.what && !r.stands_alone; });
  };
  const std::function<bool(const sent_proposal&)> dispensable[]{
      needs_others,
      [](const auto& p) {
        return p.what->template as<add_proposal>() ||
               p.what->template as<group_context_extensions_proposal>();
      },
      [](const auto& p) { return !p.what->template as<remove_proposal>(); },
      [](const auto&) { return true; },
  };
  for (const auto& goes : dispensable)
    if (!made && std::erase_if(list, [&](const auto& p) { return p.by_reference && goes(p); }) > 0)
      made = build();
  return made;
}

result<made_commit> group_state::build_commit(const commit_order& order, const secret& init_secret,
                                              const surroundings& s) {
  const auto before = replaced_leaf(now.tree, order.list, order.by);
  changing_tree changing{now.tree};
  auto applied = apply_list(now, order.list, order.by, s);
  if (!applied)
    return tl::unexpected(applied.error());
  auto& staged = applied->staged;
  const auto psk = psk_secret_of(staged.psks, s);
  if (!psk)
    return tl::unexpected(psk.error());

  auto c = commit_of(order.list, now);
  private_tree keys = private_keys.copy();
  auto commit_secret = secret::zeros(hash_bytes);
  std::optional<new_path> path;
  if (applied->plan.requires_path || order.always_path) {
    path = start_path(now.tree, applied->committer, leaf_content(), identity.signer, now.context.group_id,
                      keys, s.random);
    if (auto good = now.tree.check_unique(applied->committer); !good)
      return tl::unexpected(good.error());
    const auto& leaf = path->path.leaf_node;
    if (auto good = now.tree.check_credential_types(leaf); !good)
      return tl::unexpected(good.error());
    if (auto good = check_path_leaf(now, *applied, before, leaf, s); !good)
      return tl::unexpected(good.error());
  }
  auto next = provisional_context(now, applied->plan);
  staged.provisional_context = encoded(next);
  if (path) {
    if (auto done = encrypt_path(now.tree, *path, staged.new_leaves, staged.provisional_context, s.random);
        !done)
      return tl::unexpected(done.error());
    c.path = std::move(path->path);
    commit_secret = std::move(path->commit_secret);
    keys = std::move(path->keys);
  }

  auto content = sign_content(
      wire_format::public_message,
      {now.context.group_id, now.context.epoch, order.by, order.authenticated_data, std::move(c)},
      identity.signer, now.encoded_context);
  finish_context(staged, std::move(next), now.interim_hash, content);
  const auto joiner = derive_joiner_secret(init_secret, commit_secret, staged.encoded_context);

  made_commit out;
  auto& pending = out.pending;
  pending.secrets_ = derive_epoch(joiner, *psk, staged.encoded_context);
  pending.confirmation_tag_ =
      confirmation_tag(pending.secrets_.confirmation_key, staged.context.confirmed_transcript_hash);
  content.auth.confirmation_tag = pending.confirmation_tag_;
  auto sealed_commit = protect_public(std::move(content), secrets.membership_key, now.encoded_context);
  if (!sealed_commit)
    return tl::unexpected(sealed_commit.error());
  auto message = write_message({std::move(*sealed_commit)}, settings.limits);
  if (!message)
    return tl::unexpected(message.error());
  out.commit = std::move(*message);

  const auto info = signed_group_info(staged.context, pending.secrets_, pending.confirmation_tag_,
                                      applied->committer, order.tree);
  auto welcomes =
      make_welcomes(*applied, path, joiner, seal_group_info(info, derive_welcome_secret(joiner, *psk)),
                    settings.limits, s.random);
  if (!welcomes)
    return tl::unexpected(welcomes.error());
  out.welcomes = std::move(*welcomes);
  auto info_message = write_message({info}, settings.limits);
  if (!info_message)
    return tl::unexpected(info_message.error());
  out.group_info = std::move(*info_message);
  if (order.tree == tree_delivery::apart)
    out.ratchet_tree = now.tree.encoded();

  pending.effects_ = std::move(staged.effects);
  pending.context_ = std::move(staged.context);
  pending.encoded_context_ = std::move(staged.encoded_context);
  pending.keys_ = std::move(keys);
  pending.after_ = now.interim_hash;
  pending.tree_ = now.tree.take();
  changing.settled();
  return out;
}

} // namespace parley::mls

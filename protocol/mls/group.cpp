#include "protocol/mls/group.hpp"

#include "protocol/mls/group_state.hpp"

#include <algorithm>

namespace parley::mls {
namespace {

/// A past epoch with the signature keys that its members had then.
epoch_view view_of(const past_epoch& past, const ratchet_tree& tree) {
  return {past.context, past.encoded_context, [&](const sender& from) -> const public_key* {
            if (from.type != sender_type::member)
              return nullptr;
            if (const auto then = past.signers_then.find(from.leaf()); then != past.signers_then.end())
              return then->second ? &*then->second : nullptr;
            return tree.is_member(from.leaf()) ? &tree.signature_key(from.leaf()) : nullptr;
          }};
}

bytes put_extension_key(bytes_view key) {
  encoder e;
  e.opaque(key);
  return std::move(e).out();
}

/// What a leaf of ours states (7.2): the types of its extensions are listed, and no default type is. Others
/// refuse a leaf that breaks the first, so a key package would be published in vain. Credential types are
/// left as they are: which ones this client can verify does not follow from the one that it has.
mls::capabilities stated_by(const client_identity& who) {
  auto c = who.capabilities;
  std::erase_if(c.extensions, [](auto t) { return is_default(t); });
  std::erase_if(c.proposals, [](auto t) { return is_default(t); });
  for (const auto& x : who.leaf_extensions)
    if (!c.supports(x.type))
      c.extensions.push_back(x.type);
  return c;
}

} // namespace

client_identity client_identity::copy() const {
  return {{signer.private_key.copy(), signer.public_key}, credential, capabilities, leaf_extensions};
}

own_key_package make_key_package(const client_identity& who, const lifetime& valid,
                                 const random_source& random) {
  own_key_package out{{}, make_hpke_key(random), make_hpke_key(random)};
  auto& leaf = out.package.leaf_node;
  leaf.encryption_key = public_key_of(out.leaf_key.public_key);
  leaf.signature_key = public_key_of(who.signer.public_key);
  leaf.credential = who.credential;
  leaf.capabilities = stated_by(who);
  leaf.extensions = who.leaf_extensions;
  leaf.source = leaf_node_source::key_package;
  leaf.lifetime = valid;
  sign(leaf, who.signer, {});
  out.package.init_key = public_key_of(out.init_key.public_key);
  sign(out.package, who.signer);
  return out;
}

// --- the state ---------------------------------------------------------------------------------------------

leaf_node group_state::leaf_content() const {
  leaf_node leaf;
  leaf.signature_key = public_key_of(identity.signer.public_key);
  leaf.credential = identity.credential;
  leaf.capabilities = stated_by(identity);
  leaf.extensions = identity.leaf_extensions;
  return leaf;
}

group_info group_state::signed_group_info(const group_context& context, const epoch_secrets& of,
                                          bytes confirmation_tag, leaf_index signer,
                                          tree_delivery tree) const {
  mls::group_info info;
  info.context = context;
  info.extensions.push_back(
      {extension_type::external_pub, put_extension_key(external_key_pair(of.external).public_key)});
  if (tree == tree_delivery::in_group_info)
    info.extensions.push_back({extension_type::ratchet_tree, now.tree.encoded()});
  info.confirmation_tag = std::move(confirmation_tag);
  info.signer = signer;
  sign(info, identity.signer);
  return info;
}

result<secret> group_state::psk_secret_of(const std::vector<pre_shared_key_id>& ids,
                                          const surroundings& s) const {
  std::vector<pre_shared_key> found;
  for (const auto& id : ids) {
    const bool is_ours = id.type == psk_type::resumption && equal(id.group_id, now.context.group_id);
    const auto then = past.find(id.epoch);
    if (is_ours && id.epoch == now.context.epoch && !secrets.resumption_psk.empty())
      found.push_back({id, secrets.resumption_psk.copy()});
    else if (is_ours && then != past.end())
      found.push_back({id, then->second.resumption_psk.copy()});
    else if (auto outside = s.find_psk ? s.find_psk(id) : std::nullopt)
      found.push_back({id, std::move(*outside)});
    else
      return refuse(rule::psk_unknown);
  }
  return psk_secret(found);
}

result<application_message> group_state::open_application(const private_message& message) {
  const auto taken = [](result<unprotected_private> opened, secret_tree& by) -> result<application_message> {
    if (!opened)
      return tl::unexpected(opened.error());
    by.consume(std::move(opened->key));
    auto& c = opened->content.content;
    auto& data = std::get<application_data>(c.body).data;
    application_message out{c.sender.leaf(), c.epoch, std::move(c.authenticated_data), secret{data}};
    wipe(data.data(), data.size());
    return out;
  };
  if (message.epoch == now.context.epoch) {
    if (!keys)
      return refuse(rule::group_over);
    return taken(unprotect_private(message, secrets.sender_data, *keys, now.view()), *keys);
  }
  if (message.epoch > now.context.epoch)
    return refuse(rule::epoch_ahead);
  const auto then = past.find(message.epoch);
  if (then == past.end())
    return refuse(rule::epoch_gone);
  auto& p = then->second;
  return taken(unprotect_private(message, p.sender_data, p.keys, view_of(p, now.tree)), p.keys);
}

result<opened_handshake> group_state::open(const mls_message& message) {
  if (over)
    return refuse(rule::group_over);
  if (const auto* plain = message.as<public_message>()) {
    auto content = unprotect_public(*plain, secrets.membership_key, now.view());
    if (!content)
      return tl::unexpected(content.error());
    return opened_handshake{std::move(*content), {}};
  }
  if (const auto* sealed = message.as<private_message>()) {
    auto opened = unprotect_private(*sealed, secrets.sender_data, *keys, now.view());
    if (!opened)
      return tl::unexpected(opened.error());
    return opened_handshake{std::move(opened->content), std::move(opened->key)};
  }
  return refuse(rule::unexpected_message);
}

result<pending_commit> group_state::process(const authenticated_content& content, const surroundings& s) {
  if (content.content.sender == as_sender())
    return refuse(rule::own_commit);
  auto staged = stage_commit(now, content, s);
  if (!staged)
    return tl::unexpected(staged.error());
  changing_tree changing{now.tree, changing_tree::from::already};
  auto pending = process_secrets(content, *staged, s);
  if (!pending)
    return pending;
  pending->effects_ = std::move(staged->effects);
  pending->context_ = std::move(staged->context);
  pending->encoded_context_ = std::move(staged->encoded_context);
  pending->confirmation_tag_ = *content.auth.confirmation_tag;
  pending->after_ = now.interim_hash;
  pending->tree_ = now.tree.take();
  changing.settled();
  return pending;
}

result<pending_commit> group_state::process_secrets(const authenticated_content& content,
                                                    staged_epoch& staged, const surroundings& s) {
  pending_commit out;
  // A removed member learns no secret of the new epoch, so it cannot check the confirmation tag either.
  if (std::ranges::find(staged.effects.removed, self()) != staged.effects.removed.end()) {
    out.removes_self_ = true;
    return out;
  }
  const auto& c = *content.content.as<mls::commit>();
  auto ours = private_keys.copy();
  for (const auto& item : c.proposals)
    if (const auto* ref = std::get_if<proposal_ref>(&item.body))
      for (const auto& update : own_updates)
        if (update.ref == *ref)
          ours.keys[to_node(self())] = update.key.private_key.copy();
  auto commit_secret = secret::zeros(hash_bytes);
  if (c.path) {
    auto opened = open_path(now.tree, staged.effects.committer, *c.path, staged.new_leaves, ours,
                            staged.provisional_context);
    if (!opened)
      return tl::unexpected(opened.error());
    commit_secret = std::move(opened->commit_secret);
    ours = std::move(opened->keys);
  }
  auto init = secrets.init.copy();
  if (staged.kem_output) {
    auto external = open_external_init(external_key_pair(secrets.external), *staged.kem_output);
    if (!external)
      return tl::unexpected(external.error());
    init = std::move(*external);
  }
  const auto psk = psk_secret_of(staged.psks, s);
  if (!psk)
    return tl::unexpected(psk.error());
  out.secrets_ = derive_epoch(derive_joiner_secret(init, commit_secret, staged.encoded_context), *psk,
                              staged.encoded_context);
  if (auto same =
          check_confirmation_tag(out.secrets_.confirmation_key, staged.context.confirmed_transcript_hash,
                                 *content.auth.confirmation_tag);
      !same)
    return tl::unexpected(same.error());
  out.keys_ = std::move(ours);
  return out;
}

/// Keeps what is needed to read late messages of the epoch; all its other secrets are wiped.
void group_state::end_epoch() {
  if (keys) {
    past_epoch old{now.context,
                   now.encoded_context,
                   std::move(secrets.sender_data),
                   std::move(secrets.resumption_psk),
                   std::move(*keys),
                   {}};
    past.emplace(now.context.epoch, std::move(old));
    keys.reset();
  }
  while (past.size() > settings.past_epochs_max) {
    ended_epochs.push_back(past.begin()->first);
    past.erase(past.begin());
  }
  secrets = {};
  own_updates.clear();
}

void group_state::confirm(pending_commit pending) {
  if (pending.sealed_with_)
    keys->consume(std::move(*pending.sealed_with_));
  end_epoch();
  for (const auto x : pending.tree_.touched()) {
    if (!is_leaf(x))
      continue;
    const auto leaf = to_leaf(x);
    const auto signer = now.tree.is_member(leaf) ? std::optional{now.tree.signature_key(leaf)} : std::nullopt;
    for (auto& [epoch, old] : past)
      old.is_changed |= old.signers_then.emplace(leaf, signer).second;
  }
  const auto touched = now.tree.apply(std::move(pending.tree_));
  changed_nodes.insert(changed_nodes.end(), touched.begin(), touched.end());
  // This cannot fail: the extensions were decoded when the commit was staged.
  [[maybe_unused]] const auto entered =
      now.enter(std::move(pending.context_), std::move(pending.encoded_context_), pending.confirmation_tag_);
  over = pending.removes_self_ || pending.effects_.reinit.has_value();
  if (pending.removes_self_) {
    private_keys.keys.clear();
    return;
  }
  secrets = std::move(pending.secrets_);
  private_keys = std::move(pending.keys_);
  private_keys.prune(now.tree);
  keys.emplace(std::move(secrets.encryption), now.tree.leaf_count(), settings.limits);
}

// --- the public interface ----------------------------------------------------------------------------------

group::group(std::unique_ptr<group_state> state) : state_{std::move(state)} {}
group::group(group&&) noexcept = default;
group& group::operator=(group&&) noexcept = default;
group::~group() = default;

bytes_view group::id() const {
  return state_->now.context.group_id;
}
std::uint64_t group::epoch() const {
  return state_->now.context.epoch;
}
leaf_index group::own_leaf() const {
  return state_->self();
}
bool group::is_over() const {
  return state_->over;
}
const extension_list& group::extensions() const {
  return state_->now.context.extensions;
}
std::size_t group::member_count() const {
  return state_->now.tree.member_count();
}
std::vector<member> group::members() const {
  return state_->now.members();
}
bytes_view group::epoch_authenticator() const {
  return state_->secrets.epoch_authenticator.view();
}
result<secret> group::export_secret(std::string_view label, bytes_view context, std::size_t size) const {
  if (state_->over)
    return refuse(rule::group_over);
  return mls::export_secret(state_->secrets.exporter, label, context, size);
}
bytes group::ratchet_tree() const {
  return state_->now.tree.encoded();
}
result<bytes> group::group_info(tree_delivery tree) const {
  const auto& st = *state_;
  if (st.over)
    return refuse(rule::group_over);
  auto tag = confirmation_tag(st.secrets.confirmation_key, st.now.context.confirmed_transcript_hash);
  return write_message({st.signed_group_info(st.now.context, st.secrets, std::move(tag), st.self(), tree)},
                       st.settings.limits);
}

result<bytes> group::send(bytes_view data, bytes_view authenticated_data, const surroundings& s) {
  auto& st = *state_;
  if (st.over)
    return refuse(rule::group_over);
  if (st.now.wants_commit())
    return refuse(rule::commit_wanted_first);
  if (data.size() + authenticated_data.size() > st.settings.limits.message_bytes_max)
    return refuse(rule::too_large); // before a key is used
  framed_content content{st.now.context.group_id, st.now.context.epoch, st.as_sender(),
                         to_bytes(authenticated_data), application_data{to_bytes(data)}};
  auto signed_content = sign_content(wire_format::private_message, std::move(content), st.identity.signer,
                                     st.now.encoded_context);
  auto sealed = protect_private(signed_content, st.secrets.sender_data, *st.keys, st.settings.pad, s.random);
  auto& plain = std::get<application_data>(signed_content.content.body).data;
  wipe(plain.data(), plain.size());
  if (!sealed)
    return tl::unexpected(sealed.error());
  return write_message({std::move(*sealed)}, st.settings.limits);
}

result<bytes> group::propose(const proposal& p, const surroundings& s) {
  auto& st = *state_;
  if (st.over)
    return refuse(rule::group_over);
  auto content = sign_content(wire_format::public_message,
                              {st.now.context.group_id, st.now.context.epoch, st.as_sender(), {}, p},
                              st.identity.signer, st.now.encoded_context);
  auto sealed = protect_public(content, st.secrets.membership_key, st.now.encoded_context);
  if (!sealed)
    return tl::unexpected(sealed.error());
  auto message = write_message({std::move(*sealed)}, st.settings.limits);
  if (!message)
    return message;
  if (auto kept = st.now.take_proposal(content, s, st.settings.proposals_max, public_epoch::whose::ours);
      !kept)
    return tl::unexpected(kept.error());
  return message;
}

result<bytes> group::propose_update(const surroundings& s) {
  auto& st = *state_;
  auto key = make_hpke_key(s.random);
  auto leaf = st.leaf_content();
  leaf.encryption_key = public_key_of(key.public_key);
  leaf.source = leaf_node_source::update;
  sign(leaf, st.identity.signer, {st.now.context.group_id, st.self()});
  auto message = propose({update_proposal{std::move(leaf)}}, s);
  if (message)
    st.own_updates.push_back({st.now.proposals.back().ref, std::move(key)});
  return message;
}

result<made_commit> group::commit(const commit_options& options, const surroundings& s) {
  if (state_->over)
    return refuse(rule::group_over);
  return state_->make_commit(options, s);
}

result<void> group::confirm(pending_commit pending) {
  auto& st = *state_;
  // The hash distinguishes groups and epochs. `fits` checks that this tree object is the one that the
  // commit was created from.
  if (!equal(pending.after_, st.now.interim_hash) || !st.now.tree.fits(pending.tree_))
    return refuse(rule::pending_out_of_date);
  st.confirm(std::move(pending));
  return {};
}

void group::use_credential(credential newer) {
  state_->identity.credential = std::move(newer);
}

result<received_message> group::receive(bytes_view message, const surroundings& s) {
  auto& st = *state_;
  const auto read = read_message(message, st.settings.limits);
  if (!read)
    return tl::unexpected(read.error());
  if (const auto* sealed = read->as<private_message>(); sealed && sealed->type == content_type::application) {
    if (!equal(sealed->group_id, id()))
      return refuse(rule::wrong_group);
    auto opened = st.open_application(*sealed);
    if (!opened)
      return tl::unexpected(opened.error());
    return received_message{std::move(*opened)};
  }
  auto opened = st.open(*read);
  if (!opened)
    return tl::unexpected(opened.error());
  const auto& content = opened->content;
  if (content.content.as<proposal>()) {
    auto ref = st.now.take_proposal(content, s, st.settings.proposals_max);
    if (!ref)
      return tl::unexpected(ref.error());
    if (opened->key)
      st.keys->consume(std::move(*opened->key));
    return received_message{std::move(*ref)};
  }
  auto pending = st.process(content, s);
  if (!pending)
    return tl::unexpected(pending.error());
  pending->sealed_with_ = std::move(opened->key);
  return received_message{std::move(*pending)};
}

} // namespace parley::mls

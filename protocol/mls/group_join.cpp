// Creates a group in memory: alone, from a Welcome, or by an external commit.
#include "protocol/mls/group_state.hpp"

#include <algorithm>

namespace parley::mls {
namespace {

result<void> check_identity(const client_identity& who) {
  if (who.signer.public_key.size() != signature_bytes / 2 ||
      who.signer.private_key.size() != signature_bytes / 2)
    return refuse(rule::identity_mismatch);
  return {};
}

/// Section 12.4.3.2.
result<bytes> external_key_of(const group_info& info) {
  const auto* data = find_extension(info.extensions, extension_type::external_pub);
  if (!data)
    return refuse(rule::external_pub_missing);
  decoder d{*data};
  auto key = d.opaque();
  if (!d.done())
    return refuse(rule::malformed);
  return key;
}

} // namespace

result<group> group::create(bytes group_id, client_identity who, extension_list extensions,
                            const surroundings& s, const group_settings& settings) {
  if (auto good = check_identity(who); !good)
    return tl::unexpected(good.error());
  auto st = std::make_unique<group_state>(std::move(who), settings);
  const auto key = make_hpke_key(s.random);
  auto leaf = st->leaf_content();
  leaf.encryption_key = public_key_of(key.public_key);
  leaf.source = leaf_node_source::key_package;
  leaf.lifetime = {s.now < 3600 ? 0 : s.now - 3600, s.now + 28 * 24 * 3600};
  sign(leaf, st->identity.signer, {});
  const auto group = requirements_of(extensions);
  if (!group)
    return tl::unexpected(group.error());
  if (auto good = check_leaf(leaf, {leaf_node_source::key_package, &*group, s.now}); !good)
    return tl::unexpected(good.error());
  if (auto good = check_external_senders(extensions, {}, s.policy, s.now); !good)
    return tl::unexpected(good.error());
  st->now.tree.set_leaf(leaf_index{0}, leaf);
  st->private_keys.self = leaf_index{0};
  st->private_keys.keys[to_node(leaf_index{0})] = key.private_key.copy();

  group_context context;
  context.group_id = std::move(group_id);
  context.tree_hash = to_bytes(st->now.tree.tree_hash());
  context.extensions = std::move(extensions);
  auto epoch_secret = secret::zeros(hash_bytes);
  s.random(epoch_secret.mutable_view());
  st->secrets = derive_from_epoch_secret(epoch_secret);
  const auto tag = confirmation_tag(st->secrets.confirmation_key, context.confirmed_transcript_hash);
  auto text = encoded(context);
  if (auto entered = st->now.enter(std::move(context), std::move(text), tag); !entered)
    return tl::unexpected(entered.error());
  st->keys.emplace(std::move(st->secrets.encryption), st->now.tree.leaf_count(), settings.limits);
  return mls::group{std::move(st)};
}

result<group> group::join(bytes_view welcome_message, const own_key_package& package, client_identity who,
                          std::optional<bytes_view> tree_apart, const surroundings& s,
                          const std::function<bool(bytes_view group_id)>& is_known,
                          const group_settings& settings) {
  const auto read = read_message(welcome_message, settings.limits);
  if (!read)
    return tl::unexpected(read.error());
  const auto* w = read->as<welcome>();
  if (!w)
    return refuse(rule::unexpected_message);
  if (auto good = check_identity(who); !good)
    return tl::unexpected(good.error());
  auto st = std::make_unique<group_state>(std::move(who), settings);

  const auto told = open_group_secrets(*w, key_package_ref(package.package), package.init_key);
  if (!told)
    return tl::unexpected(told.error());
  // A Welcome to a re-initialized or branched group would have to be compared with the old group.
  for (const auto& id : told->psks)
    if (id.type == psk_type::resumption && id.usage != resumption_usage::application)
      return refuse(rule::psk_usage_out_of_place);
  const auto psk = st->psk_secret_of(told->psks, s);
  if (!psk)
    return tl::unexpected(psk.error());
  auto info = open_group_info(w->encrypted_group_info, derive_welcome_secret(told->joiner_secret, *psk));
  if (!info)
    return tl::unexpected(info.error());
  auto tree = checked_tree(*info, tree_apart, s);
  if (!tree)
    return tl::unexpected(tree.error());
  if (is_known && is_known(info->context.group_id))
    return refuse(rule::group_exists);

  const auto self = tree->find_signature_key(package.package.leaf_node.signature_key);
  if (!self || tree->leaf(*self) != package.package.leaf_node)
    return refuse(rule::own_leaf_missing);
  if (!equal(st->identity.signer.public_key, package.package.leaf_node.signature_key))
    return refuse(rule::identity_mismatch);
  auto keys = keys_from_welcome(*tree, *self, package.leaf_key, info->signer,
                                told->path_secret ? &*told->path_secret : nullptr);
  if (!keys)
    return tl::unexpected(keys.error());
  auto text = encoded(info->context);
  st->secrets = derive_epoch(told->joiner_secret, *psk, text);
  if (auto same = check_confirmation_tag(st->secrets.confirmation_key,
                                         info->context.confirmed_transcript_hash, info->confirmation_tag);
      !same)
    return tl::unexpected(same.error());
  st->private_keys = std::move(*keys);
  st->now.tree = std::move(*tree);
  if (auto entered = st->now.enter(std::move(info->context), std::move(text), info->confirmation_tag);
      !entered)
    return tl::unexpected(entered.error());
  st->keys.emplace(std::move(st->secrets.encryption), st->now.tree.leaf_count(), settings.limits);
  return mls::group{std::move(st)};
}

result<external_join> join_externally(bytes_view group_info_message, std::optional<bytes_view> tree_apart,
                                      client_identity who, std::optional<leaf_index> replaces,
                                      const surroundings& s, const group_settings& settings,
                                      const std::function<bool(bytes_view group_id)>& is_known) {
  const auto read = read_message(group_info_message, settings.limits);
  if (!read)
    return tl::unexpected(read.error());
  const auto* info = read->as<group_info>();
  if (!info)
    return refuse(rule::unexpected_message);
  if (auto good = check_identity(who); !good)
    return tl::unexpected(good.error());
  auto tree = checked_tree(*info, tree_apart, s);
  if (!tree)
    return tl::unexpected(tree.error());
  // A client that replaces an earlier membership of its own may already be in the group.
  if (!replaces && is_known && is_known(info->context.group_id))
    return refuse(rule::group_exists);
  const auto key = external_key_of(*info);
  if (!key)
    return tl::unexpected(key.error());
  auto init = make_external_init(*key, s.random);
  if (!init)
    return tl::unexpected(init.error());

  auto st = std::make_unique<group_state>(std::move(who), settings);
  st->now.tree = std::move(*tree);
  if (auto entered = st->now.enter(info->context, encoded(info->context), info->confirmation_tag); !entered)
    return tl::unexpected(entered.error());
  std::vector<proposal> proposals{{external_init_proposal{std::move(init->kem_output)}}};
  if (replaces)
    proposals.push_back({remove_proposal{*replaces}});
  const sender joiner{sender_type::new_member_commit, 0};
  std::vector<sent_proposal> list;
  for (const auto& p : proposals)
    list.push_back({joiner, &p, false});
  auto made = st->build_commit({list, joiner, true, tree_delivery::apart, {}}, init->init_secret, s);
  if (!made)
    return tl::unexpected(made.error());
  st->confirm(std::move(made->pending));
  return external_join{std::move(made->commit), group{std::move(st)}};
}

} // namespace parley::mls

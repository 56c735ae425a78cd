#include "protocol/mls/tree_kem.hpp"

#include <algorithm>

namespace parley::mls {

namespace {

constexpr std::string_view path_label = "UpdatePathNode";

secret next_path_secret(const secret& path_secret) {
  return derive_secret(path_secret.view(), "path");
}

/// 7.5, step 3: works from the root down, because each hash includes the one above it. Writes the nodes
/// of the path and returns the parent hash of the leaf.
bytes write_path(ratchet_tree& tree, leaf_index sender, std::span<const ratchet_tree::path_step> steps,
                 std::span<const public_key> keys) {
  tree.blank_direct_path(sender);
  bytes above;
  for (auto i = steps.size(); i-- > 0;) {
    tree.set_parent(steps[i].node, {keys[i], std::move(above), {}});
    const auto h = tree.parent_hash_of(steps[i].node, steps[i].copath);
    above.assign(h.begin(), h.end());
  }
  return above;
}

/// 12.4.2: no key of the path is in the tree, and none appears twice in the path.
result<void> check_new_keys(const ratchet_tree& tree, leaf_index sender, const update_path& path) {
  const auto& leaf_key = path.leaf_node.encryption_key;
  if (tree.is_member(sender) && tree.encryption_key(to_node(sender)) == leaf_key)
    return refuse(rule::leaf_key_not_fresh);
  std::vector<public_key> keys{leaf_key};
  for (const auto& node : path.nodes) {
    if (auto ok = check_encryption_key(node.encryption_key); !ok)
      return ok;
    keys.push_back(node.encryption_key);
  }
  if (std::ranges::any_of(keys, [&](const auto& k) { return tree.find_encryption_key(k).has_value(); }))
    return refuse(rule::path_key_in_use);
  std::ranges::sort(keys);
  if (std::ranges::adjacent_find(keys) != keys.end())
    return refuse(rule::path_key_in_use);
  return {};
}

/// The keys of a path, from the node of `first_secret` up to the root.
class path_keys {
public:
  explicit path_keys(secret first_secret) : path_secret_{std::move(first_secret)} {}
  /// Returns the private key of this node, which must belong to `expected`, and moves on to the next node.
  result<secret> take(const public_key& expected, rule otherwise) {
    auto pair = key_of_path_secret(path_secret_);
    if (!equal(pair.public_key, expected))
      return refuse(otherwise);
    path_secret_ = next_path_secret(path_secret_);
    return std::move(pair.private_key);
  }
  secret commit_secret() && { return std::move(path_secret_); } ///< only after the last node

private:
  secret path_secret_;
};

} // namespace

hpke_key_pair key_of_path_secret(const secret& path_secret) {
  return derive_key_pair(derive_secret(path_secret.view(), "node").view());
}

// --- private keys ------------------------------------------------------------------------------------------

private_tree private_tree::copy() const {
  private_tree out;
  out.self = self;
  for (const auto& [node, key] : keys)
    out.keys.emplace(node, key.copy());
  return out;
}

void private_tree::prune(const ratchet_tree& tree) {
  std::erase_if(keys, [&](const auto& item) { return tree.is_blank(item.first); });
}

result<void> private_tree::check(const ratchet_tree& tree) const {
  for (const auto& [node, key] : keys) {
    if (tree.is_blank(node))
      return refuse(rule::private_key_mismatch);
    const auto pair = hpke_key_from_private(key.view());
    if (!pair || !equal(pair->public_key, tree.encryption_key(node)))
      return refuse(rule::private_key_mismatch);
  }
  return {};
}

// --- making a path -----------------------------------------------------------------------------------------

const secret* new_path::path_secret_for(leaf_index new_member) const {
  const auto node = common_ancestor(keys.self, new_member);
  const auto i = std::ranges::find(path_secrets, node, &path_secret_of_node::node);
  return i == path_secrets.end() ? nullptr : &i->path_secret;
}

new_path start_path(ratchet_tree& tree, leaf_index sender, leaf_node content,
                    const signature_key_pair& signer, bytes_view group_id, const private_tree& keys,
                    const random_source& random) {
  const auto steps = tree.filtered_direct_path(sender);
  auto leaf_key = make_hpke_key(random);
  new_path made;
  made.keys = keys.copy();
  made.keys.self = sender;
  made.keys.keys.insert_or_assign(to_node(sender), std::move(leaf_key.private_key));

  auto path_secret = secret::zeros(hash_bytes);
  random(path_secret.mutable_view());
  std::vector<public_key> public_keys;
  for (const auto& step : steps) {
    auto pair = key_of_path_secret(path_secret);
    public_keys.push_back(public_key_of(pair.public_key));
    made.path.nodes.push_back({public_keys.back(), {}});
    made.keys.keys.insert_or_assign(step.node, std::move(pair.private_key));
    auto next = next_path_secret(path_secret);
    made.path_secrets.push_back({step.node, std::move(path_secret)});
    path_secret = std::move(next);
  }
  made.commit_secret = std::move(path_secret);

  content.encryption_key = public_key_of(leaf_key.public_key);
  content.source = leaf_node_source::commit;
  content.lifetime = {}; // the leaf of a commit has no lifetime
  content.parent_hash = write_path(tree, sender, steps, public_keys);
  sign(content, signer, {group_id, sender});
  tree.set_leaf(sender, content);
  made.keys.prune(tree);
  made.path.leaf_node = std::move(content);
  return made;
}

result<void> encrypt_path(const ratchet_tree& tree, new_path& made, std::span<const leaf_index> new_leaves,
                          bytes_view group_context, const random_source& random) {
  const auto steps = tree.filtered_direct_path(made.keys.self);
  std::vector<node_index> receivers;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    receivers.clear();
    tree.resolution(steps[i].copath, receivers, new_leaves);
    auto& out = made.path.nodes[i].encrypted_path_secret;
    out.clear();
    out.reserve(receivers.size());
    for (const auto x : receivers) {
      auto sealed = encrypt_with_label(tree.encryption_key(x), path_label, group_context,
                                       made.path_secrets[i].path_secret.view(), random);
      if (!sealed)
        return tl::unexpected(sealed.error());
      out.push_back(std::move(*sealed));
    }
  }
  return {};
}

// --- receiving a path --------------------------------------------------------------------------------------

result<void> merge_path(ratchet_tree& tree, leaf_index sender, const update_path& path,
                        std::span<const leaf_index> new_leaves) {
  if (path.leaf_node.source != leaf_node_source::commit)
    return refuse(rule::leaf_wrong_source);
  const auto steps = tree.filtered_direct_path(sender);
  if (path.nodes.size() != steps.size())
    return refuse(rule::path_wrong_length);
  std::vector<node_index> receivers;
  std::vector<public_key> keys;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    receivers.clear();
    tree.resolution(steps[i].copath, receivers, new_leaves);
    if (path.nodes[i].encrypted_path_secret.size() != receivers.size())
      return refuse(rule::path_wrong_ciphertexts);
    keys.push_back(path.nodes[i].encryption_key);
  }
  if (auto ok = check_new_keys(tree, sender, path); !ok)
    return ok;
  if (!equal(write_path(tree, sender, steps, keys), path.leaf_node.parent_hash))
    return refuse(rule::path_wrong_parent_hash);
  tree.set_leaf(sender, path.leaf_node);
  return {};
}

result<opened_path> open_path(const ratchet_tree& tree, leaf_index sender, const update_path& path,
                              std::span<const leaf_index> new_leaves, const private_tree& keys,
                              bytes_view group_context) {
  const auto steps = tree.filtered_direct_path(sender);
  const auto meeting = common_ancestor(sender, keys.self);
  const auto first = std::ranges::find(steps, meeting, &ratchet_tree::path_step::node);
  if (sender == keys.self || first == steps.end())
    return refuse(rule::path_not_for_us);
  auto at = static_cast<std::size_t>(first - steps.begin());

  std::vector<node_index> receivers;
  tree.resolution(first->copath, receivers, new_leaves);
  const auto ours = std::ranges::find_if(receivers, [&](node_index x) { return keys.keys.contains(x); });
  const auto which = static_cast<std::size_t>(ours - receivers.begin());
  if (ours == receivers.end() || which >= path.nodes[at].encrypted_path_secret.size())
    return refuse(rule::path_not_for_us);
  const hpke_key_pair key{keys.keys.at(*ours).copy(), to_bytes(tree.encryption_key(*ours))};
  auto path_secret =
      decrypt_with_label(key, path_label, group_context, path.nodes[at].encrypted_path_secret[which]);
  if (!path_secret)
    return tl::unexpected(path_secret.error());

  opened_path out;
  out.keys = keys.copy();
  out.keys.prune(tree);
  path_keys above{std::move(*path_secret)};
  for (; at < steps.size(); ++at) {
    auto private_key = above.take(path.nodes[at].encryption_key, rule::path_key_mismatch);
    if (!private_key)
      return tl::unexpected(private_key.error());
    out.keys.keys.insert_or_assign(steps[at].node, std::move(*private_key));
  }
  out.commit_secret = std::move(above).commit_secret();
  return out;
}

result<private_tree> keys_from_welcome(const ratchet_tree& tree, leaf_index self,
                                       const hpke_key_pair& leaf_key, leaf_index signer,
                                       const secret* path_secret) {
  if (!tree.is_member(self) || !tree.is_member(signer))
    return refuse(rule::no_such_leaf);
  if (!equal(leaf_key.public_key, tree.encryption_key(to_node(self))))
    return refuse(rule::private_key_mismatch);
  private_tree out;
  out.self = self;
  out.keys.emplace(to_node(self), leaf_key.private_key.copy());
  if (!path_secret)
    return out;
  // Each node of the filtered direct path has a path secret. After the signer's commit these nodes are
  // exactly those on its direct path that are not blank.
  auto x = common_ancestor(self, signer);
  if (self == signer || tree.is_blank(x))
    return refuse(rule::path_secret_mismatch);
  path_keys above{path_secret->copy()};
  for (;; x = parent(x)) {
    if (!tree.is_blank(x)) {
      auto private_key = above.take(tree.encryption_key(x), rule::path_secret_mismatch);
      if (!private_key)
        return tl::unexpected(private_key.error());
      out.keys.emplace(x, std::move(*private_key));
    }
    if (x == tree.root())
      return out;
  }
}

// --- codec -------------------------------------------------------------------------------------------------

void encode(encoder& e, const update_path_node& v) {
  put_key(e, v.encryption_key);
  e.vector(v.encrypted_path_secret);
}
void decode(decoder& d, update_path_node& v) {
  v.encryption_key = get_key(d);
  v.encrypted_path_secret = d.vector<hpke_ciphertext>();
}

void encode(encoder& e, const update_path& v) {
  encode(e, v.leaf_node);
  e.vector(v.nodes);
}
void decode(decoder& d, update_path& v) {
  decode(d, v.leaf_node);
  v.nodes = d.vector<update_path_node>(path_nodes_max);
}

} // namespace parley::mls

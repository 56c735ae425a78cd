#pragma once
// Devices, leaves and trees for tests. A seed determines everything.
#include "protocol/mls/leaf_validation.hpp"
#include "protocol/mls/tree_kem.hpp"
#include "protocol/mls/tree_validation.hpp"

#include <algorithm>
#include <string>

namespace parley::mls::test {

inline constexpr std::uint64_t now = 1'800'000'000, day = 24 * 3600;

/// Different bytes at each call, and the same bytes in every run.
inline random_source seeded_random(std::uint64_t seed) {
  return [seed, call = std::uint64_t{0}](std::span<std::uint8_t> out) mutable {
    encoder e;
    e.put(seed).put(++call);
    std::ranges::copy(kdf_expand(hash(e.out()), {}, out.size()).view(), out.begin());
  };
}

inline leaf_index leaf(std::uint32_t i) {
  return leaf_index{i};
}
inline node_index node(std::uint32_t i) {
  return node_index{i};
}

template <class T>
rule broken(const result<T>& r) {
  return r ? rule::none : r.error().broken;
}

/// Accepts everyone and counts the calls. For tests that are not about credentials.
struct counting_policy : credential_policy {
  mutable int asked = 0;
  rule answer = rule::none;
  result<void> accept(const presented_credential&) const override {
    ++asked;
    if (answer != rule::none)
      return refuse(answer);
    return {};
  }
  result<void> accept_successor(const mls::credential&, const mls::credential&) const override { return {}; }
};

struct device {
  signature_key_pair signer;
  hpke_key_pair init_key, leaf_key;
  key_package package;
};

inline void sign_all(device& d) {
  sign(d.package.leaf_node, d.signer, {});
  sign(d.package, d.signer);
}

inline device make_device(const random_source& random, std::string_view name = "device") {
  device d;
  d.signer = make_signature_key(random);
  d.init_key = make_hpke_key(random);
  d.leaf_key = make_hpke_key(random);
  d.package.init_key = public_key_of(d.init_key.public_key);
  auto& leaf = d.package.leaf_node;
  leaf.encryption_key = public_key_of(d.leaf_key.public_key);
  leaf.signature_key = public_key_of(d.signer.public_key);
  leaf.credential.identity = to_bytes(view_of(name));
  leaf.capabilities = own_capabilities();
  leaf.lifetime = {now - day, now + 90 * day};
  sign_all(d);
  return d;
}

/// The part of a group that concerns its tree: one public tree, because all members have the same, and
/// every member's private keys. The tree hash takes the place of the GroupContext.
struct tree_group {
  struct member {
    signature_key_pair signer;
    private_tree keys;
  };
  random_source random;
  bytes group_id = to_bytes(view_of("a group"));
  ratchet_tree tree;
  std::map<leaf_index, member> members;

  explicit tree_group(std::uint64_t seed = 1) : random{seeded_random(seed)} {
    admit(make_device(random), leaf_index{0});
  }

  void admit(device d, leaf_index i) {
    if (!tree.is_member(i))
      (void)tree.add(d.package.leaf_node);
    private_tree keys;
    keys.self = i;
    keys.keys.emplace(to_node(i), std::move(d.leaf_key.private_key));
    members.insert_or_assign(i, member{std::move(d.signer), std::move(keys)});
  }

  struct made {
    new_path path;
    std::vector<leaf_index> added;
    std::vector<device> devices;
    tree_changes changes;
    bytes context;
  };

  /// Creates what `sender` would send; the tree is left unchanged.
  made make_commit(leaf_index sender, std::size_t adds = 0, std::vector<leaf_index> removes = {}) {
    made out;
    tree.begin();
    for (const auto i : removes)
      (void)tree.remove(i);
    for (std::size_t n = 0; n < adds; ++n) {
      out.devices.push_back(make_device(random, "device " + std::to_string(n)));
      out.added.push_back(*tree.add(out.devices.back().package.leaf_node));
    }
    const auto& m = members.at(sender);
    out.path = start_path(tree, sender, tree.leaf(sender), m.signer, group_id, m.keys, random);
    out.context = to_bytes(tree.tree_hash());
    (void)encrypt_path(tree, out.path, out.added, out.context, random);
    out.changes = tree.take();
    return out;
  }

  /// Confirms the commit: each member in `readers` (all members, if empty) opens the path
  /// as a receiver would.
  rule confirm(made commit, const std::vector<leaf_index>& readers = {}) {
    const auto sender = commit.path.keys.self;
    tree.apply(std::move(commit.changes));
    std::erase_if(members, [&](const auto& m) { return !tree.is_member(m.first); });
    rule seen = rule::none;
    for (auto& [i, m] : members) {
      const bool reads = readers.empty() || std::ranges::find(readers, i) != readers.end();
      if (i == sender || !reads || std::ranges::binary_search(commit.added, i))
        continue;
      auto opened = open_path(tree, sender, commit.path.path, commit.added, m.keys, commit.context);
      if (!opened)
        seen = opened.error().broken;
      else if (!(opened->commit_secret == commit.path.commit_secret))
        seen = rule::path_key_mismatch;
      else
        m.keys = std::move(opened->keys);
    }
    members.at(sender).keys = commit.path.keys.copy();
    for (std::size_t n = 0; n < commit.added.size(); ++n) {
      const auto i = commit.added[n];
      const bool reads = readers.empty() || std::ranges::find(readers, i) != readers.end();
      auto keys = keys_from_welcome(tree, i, commit.devices[n].leaf_key, sender,
                                    reads ? commit.path.path_secret_for(i) : nullptr);
      if (!keys)
        seen = keys.error().broken;
      admit(std::move(commit.devices[n]), i);
      if (keys)
        members.at(i).keys = std::move(*keys);
    }
    return seen;
  }

  rule commit(leaf_index sender, std::size_t adds = 0, std::vector<leaf_index> removes = {}) {
    return confirm(make_commit(sender, adds, std::move(removes)));
  }

  result<void> check() const {
    counting_policy all;
    return check_tree(tree, {.group_id = group_id, .now = now}, all);
  }
};

} // namespace parley::mls::test

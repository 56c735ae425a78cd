#pragma once
// TreeKEM: new keys along a path, for all members that stay (RFC 9420, sections 7.4-7.6 and 12.4).
//
// A committer: begin, proposals, start_path ─► the GroupContext with the new tree hash ─► encrypt_path, take.
// A member:    begin, proposals, merge_path ─► the GroupContext with the new tree hash ─► open_path, keep.
// A server that only follows the public tree calls merge_path and nothing else.
#include "protocol/mls/hpke.hpp"
#include "protocol/mls/limits.hpp"
#include "protocol/mls/ratchet_tree.hpp"

#include <map>

namespace parley::mls {

struct update_path_node {
  public_key encryption_key{};
  std::vector<hpke_ciphertext> encrypted_path_secret;
  friend bool operator==(const update_path_node&, const update_path_node&) = default;
};
struct update_path {
  mls::leaf_node leaf_node;
  std::vector<update_path_node> nodes; ///< of the filtered direct path, from the bottom up
  friend bool operator==(const update_path&, const update_path&) = default;
};
void encode(encoder& e, const update_path_node& v);
void decode(decoder& d, update_path_node& v);
void encode(encoder& e, const update_path& v);
void decode(decoder& d, update_path& v);

/// The private keys that one member holds: the key of its leaf, and those of the nodes above
/// that it has learned.
///
/// Holds: at most one key for each level of the tree, and no path secrets, because 7.5 requires their
/// deletion. It is small enough to be copied for each pending commit, and it is a map of nodes so that
/// a store can write only what differs.
struct private_tree {
  leaf_index self{};
  std::map<node_index, secret> keys; ///< HPKE private keys

  private_tree copy() const;
  /// Deletes the keys of nodes that are blank or no longer exist.
  void prune(const ratchet_tree& tree);
  /// 7.5: checks that each key belongs to its node. Costs one X25519 multiplication per key.
  result<void> check(const ratchet_tree& tree) const;
};

struct path_secret_of_node {
  node_index node;
  secret path_secret;
};

/// A path that is being created. The tree already contains what it replaces.
struct new_path {
  update_path path;
  secret commit_secret;
  private_tree keys;                             ///< of the committer, in the new epoch
  std::vector<path_secret_of_node> path_secrets; ///< for Welcomes and `encrypt_path`, then dropped

  /// The path secret that a Welcome contains for a member whom the commit adds (12.4.3.1).
  const secret* path_secret_for(leaf_index new_member) const;
};

/// Creates new keys for the leaf `sender` and its filtered direct path, signs `content` as the new leaf
/// (its key, source, parent hash and signature are set here) and writes all of it into the tree. The
/// leaf may be blank: this is the case for an external commit.
new_path start_path(ratchet_tree& tree, leaf_index sender, leaf_node content,
                    const signature_key_pair& signer, bytes_view group_id, const private_tree& keys,
                    const random_source& random);
/// Encrypts the path secrets to all members except `new_leaves` (sorted), which learn them from a
/// Welcome. `group_context` is the provisional context (12.4.1).
result<void> encrypt_path(const ratchet_tree& tree, new_path& made, std::span<const leaf_index> new_leaves,
                          bytes_view group_context, const random_source& random);

/// Checks the shape of a path, that its keys are new to the tree (12.4.2) and that its parent hashes
/// are valid (7.9.2), and writes the path into the tree. The leaf itself is checked by check_leaf.
/// After a refusal the tree may be half-written: roll back.
result<void> merge_path(ratchet_tree& tree, leaf_index sender, const update_path& path,
                        std::span<const leaf_index> new_leaves);

struct opened_path {
  secret commit_secret;
  private_tree keys; ///< of the receiver, in the new epoch
};
/// What a member learns from a merged path. `keys` are those of the old epoch, with the new key of the
/// own leaf if the commit covers an Update of ours.
result<opened_path> open_path(const ratchet_tree& tree, leaf_index sender, const update_path& path,
                              std::span<const leaf_index> new_leaves, const private_tree& keys,
                              bytes_view group_context);

/// 12.4.3.1: the keys of a member that a commit by `signer` added at the leaf `self`. `path_secret` is
/// null if the commit had no path.
result<private_tree> keys_from_welcome(const ratchet_tree& tree, leaf_index self,
                                       const hpke_key_pair& leaf_key, leaf_index signer,
                                       const secret* path_secret);

/// 7.4: the key pair of the node with this path secret.
hpke_key_pair key_of_path_secret(const secret& path_secret);

} // namespace parley::mls

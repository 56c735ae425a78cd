#pragma once
// The public ratchet tree (RFC 9420, sections 4, 7.1-7.9 and 12.4.3.3).
#include "protocol/mls/key_index.hpp"
#include "protocol/mls/tree_math.hpp"

#include <functional>
#include <map>
#include <optional>

namespace parley::mls {

using tree_digest = std::array<std::uint8_t, hash_bytes>;

/// What a node begins with where it is hashed (7.8) or sent (12.4.3.3).
enum class node_type : std::uint8_t { leaf = 1, parent = 2 };

/// 7.1, in its encoded form. `parent_hash` is empty at the root, otherwise a hash.
struct parent_node {
  public_key encryption_key{};
  bytes parent_hash;
  std::vector<leaf_index> unmerged_leaves;
  friend bool operator==(const parent_node&, const parent_node&) = default;
};
void encode(encoder& e, const parent_node& v);
void decode(decoder& d, parent_node& v);

namespace tree_parts {
/// A leaf is stored encoded, in one block, because that form is hashed, signed and sent. Only its keys
/// are needed for every message, so they are also stored decoded.
struct leaf_slot {
  public_key encryption_key{}, signature_key{};
  tree_digest hash{};
  bytes encoded; ///< empty: blank
  leaf_node_source source{};
  bool has_hash = false;
  bool is_logged = false;
};
struct parent_slot {
  public_key encryption_key{};
  tree_digest parent_hash{}, hash{};
  std::vector<leaf_index> unmerged_leaves;
  bool is_set = false;
  bool has_parent_hash = false;
  bool has_hash = false;
  bool is_logged = false;
};
/// How many members list a type as supported, and how many use it.
struct member_counts {
  std::uint32_t members = 0;
  std::map<extension_type, std::uint32_t> extensions;
  std::map<proposal_type, std::uint32_t> proposals;
  std::map<credential_type, std::uint32_t> credentials, credentials_in_use;
  void add(const leaf_node& leaf);
  void take_away(const leaf_node& leaf);
};
} // namespace tree_parts

/// What a commit does to a tree: the new contents of the touched nodes, and the new size. It is
/// move-only, because it is valid for one tree only.
class tree_changes {
public:
  tree_changes() = default;
  tree_changes(tree_changes&&) = default;
  tree_changes& operator=(tree_changes&&) = default;

  /// The nodes that differ, in no particular order. Some may be beyond the end of the smaller tree.
  std::vector<node_index> touched() const;

private:
  friend class ratchet_tree;
  std::vector<std::pair<std::uint32_t, tree_parts::leaf_slot>> leaves_;
  std::vector<std::pair<std::uint32_t, tree_parts::parent_slot>> parents_;
  std::uint32_t leaf_count_ = 0;
  std::uint64_t version_ = 0; ///< of the tree that the changes were made from
};

/// The tree that all members of a group share.
///
/// Owns:    nodes, their hashes, an index of their keys, counts of what members support.
/// Thread:  its owner's, also for reading: hashes are computed when they are requested.
/// Holds:   a cached hash is valid. Writing a node invalidates the hashes from it up to the root and no
///          others, so the next root hash costs the height of the tree.
///
/// Changes. A group has one tree. To create or to process a commit it calls `begin`, modifies the tree
/// in place, and then calls one of
///   keep       the new contents stay (a valid commit of another member);
///   roll_back  the old contents return (an invalid commit);
///   take       the old contents return, and the new ones become a value: the pending commit. While it
///              waits, the tree serves the old epoch. `apply` installs the changes when the commit is
///              confirmed; dropping the value drops the commit.
/// From `begin` on, each node is saved before it is first written. Rolling back and applying exchange
/// the saved slots with those of the tree, so they cost as much as the commit touched. This is correct
/// only on the tree that the changes were made from, which is why the group drops a pending commit when
/// another commit is kept; `fits` checks this and `apply` asserts it.
class ratchet_tree {
public:
  static constexpr std::uint32_t leaf_count_max = 1u << 16; ///< bounds the cost of a hostile tree

  ratchet_tree(); ///< creates one blank leaf

  // --- reading
  std::uint32_t leaf_count() const { return static_cast<std::uint32_t>(leaves_.size()); } ///< with blanks
  std::uint32_t member_count() const { return counts_.members; }
  node_index root() const { return mls::root(leaf_count()); }
  bool contains(node_index x) const { return number(x) < node_count(leaf_count()); }
  bool is_blank(node_index x) const;
  bool is_member(leaf_index i) const { ///< also false beyond the end
    return number(i) < leaf_count() && !leaves_[number(i)].encoded.empty();
  }
  leaf_node leaf(leaf_index i) const; ///< decoded; only for a member
  bytes_view encoded_leaf(leaf_index i) const { return leaves_[number(i)].encoded; }
  leaf_node_source source(leaf_index i) const { return leaves_[number(i)].source; }
  const public_key& signature_key(leaf_index i) const { return leaves_[number(i)].signature_key; }
  const public_key& encryption_key(node_index x) const; ///< only for a node that is not blank
  std::span<const leaf_index> unmerged_leaves(node_index x) const;
  bytes_view parent_hash(node_index x) const; ///< only for a parent that is not blank

  /// 4.1.1: the resolution, from left to right. The leaves in `without` (sorted) are left out; they are
  /// the leaves that a commit adds (7.5).
  void resolution(node_index x, std::vector<node_index>& out, std::span<const leaf_index> without = {}) const;
  bool has_resolution(node_index x) const; ///< whether the resolution is not empty
  struct path_step {
    node_index node, copath; ///< a node, and the child of it that is not on the path
  };
  std::vector<path_step> filtered_direct_path(leaf_index i) const; ///< 4.1.2, from the bottom up

  std::optional<leaf_index> find_signature_key(const public_key& key) const;
  std::optional<node_index> find_encryption_key(const public_key& key) const;
  /// 7.3: checks that no other member has one of this member's keys, and that no parent
  /// has its encryption key.
  result<void> check_unique(leaf_index i) const;
  /// 12.4.3.1: checks that no other node has the encryption key of this parent.
  result<void> check_unique(node_index x) const;
  /// 7.3: checks that all members support the type of the leaf's credential and that the leaf supports
  /// all types in use. The leaf must be in the tree.
  result<void> check_credential_types(const leaf_node& leaf) const;
  bool all_support(extension_type t) const;
  bool all_support(proposal_type t) const;
  bool all_support(credential_type t) const;

  // --- hashes (7.8, 7.9)
  const tree_digest& tree_hash(node_index x) const;
  const tree_digest& tree_hash() const { return tree_hash(root()); }
  /// The tree hash of `x` without the leaves in `unmerged` (sorted), as it was before they joined.
  /// Computes only what differs and takes the rest from cached hashes.
  tree_digest original_tree_hash(node_index x, std::span<const leaf_index> unmerged) const;
  /// The parent hash of `x`, where `sibling` is the child that is not on the path.
  tree_digest parent_hash_of(node_index x, node_index sibling) const;

  // --- writing (12.1.1-12.1.3)
  result<leaf_index> add(const leaf_node& leaf);
  result<void> update(leaf_index i, const leaf_node& leaf);
  result<void> remove(leaf_index i);
  /// Returns the leftmost blank leaf, for an external commit. The tree grows if there is none.
  result<leaf_index> leaf_for_joiner();
  void blank_direct_path(leaf_index i);
  void set_parent(node_index x, parent_node v);
  void set_leaf(leaf_index i, const leaf_node& leaf); ///< does not change the nodes above it

  // --- changes
  void begin();
  std::vector<node_index> keep(); ///< returns the nodes that were touched
  void roll_back();
  tree_changes take();
  bool fits(const tree_changes& changes) const { return changes.version_ == version_; }
  std::vector<node_index> apply(tree_changes changes); ///< returns the nodes that were touched

  // --- bytes (12.4.3.3)
  bytes encoded() const; ///< the content of the ratchet_tree extension
  static result<ratchet_tree> decoded(bytes_view in);
  /// Encodes one node for the store; empty if the node is blank.
  bytes encoded_node(node_index x) const;
  /// Creates a tree of `leaf_count` leaves in which all nodes are blank, to be filled by `put_encoded_node`.
  static result<ratchet_tree> blank(std::uint32_t leaf_count);
  result<void> put_encoded_node(node_index x, bytes_view in);
  /// Encodes changes that were taken from this tree and have not been applied.
  bytes encoded_changes(const tree_changes& changes) const;
  /// Decodes such changes, for a tree with the same content. Refuses them if `is_wanted` rejects the
  /// tree that they lead to.
  result<tree_changes> decoded_changes(bytes_view in,
                                       const std::function<bool(const ratchet_tree&)>& is_wanted);

private:
  using leaf_slot = tree_parts::leaf_slot;
  using parent_slot = tree_parts::parent_slot;
  static std::uint32_t parent_number(node_index x) { return number(x) / 2; }

  void index(const leaf_slot& s, std::uint32_t i);
  void unindex(const leaf_slot& s, std::uint32_t i);
  void index(const parent_slot& s, std::uint32_t i);
  void unindex(const parent_slot& s, std::uint32_t i);
  leaf_slot& touch_leaf(std::uint32_t i);     ///< saves the slot first
  parent_slot& touch_parent(std::uint32_t i); ///< saves the slot first
  void forget_hashes_above(node_index x);
  void make_blank(node_index x);
  void write_leaf(std::uint32_t i, leaf_slot fresh);
  static leaf_slot slot_of(const leaf_node& leaf);
  void resize(std::uint32_t leaf_count);
  void truncate();
  void exchange(tree_changes& other);
  void close_log();
  tree_digest hash_of_leaf(std::uint32_t i, bool as_blank) const;
  tree_digest hash_of_parent(const parent_slot& s, std::span<const leaf_index> without, const tree_digest& l,
                             const tree_digest& r) const;

  mutable std::vector<leaf_slot> leaves_;
  mutable std::vector<parent_slot> parents_;
  key_index encryption_keys_, signature_keys_;
  tree_parts::member_counts counts_;
  std::uint32_t maybe_blank_from_ = 0; ///< no leaf before this one is blank
  std::uint64_t version_ = 1;          ///< rises when the state that `begin` starts from changes
  bool is_changing_ = false;
  tree_changes log_;
};

} // namespace parley::mls

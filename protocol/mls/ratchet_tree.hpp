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

/// 7.1, as it is encoded. `parent_hash` is empty at the root, else a hash.
struct parent_node {
  public_key encryption_key{};
  bytes parent_hash;
  std::vector<leaf_index> unmerged_leaves;
  friend bool operator==(const parent_node&, const parent_node&) = default;
};
void encode(encoder& e, const parent_node& v);
void decode(decoder& d, parent_node& v);

namespace tree_parts {
/// A leaf stays encoded, in one block: that is what is hashed, signed and sent. Only its keys are asked for
/// at every message, and they stand beside it.
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
/// How many members say that they support a type, and how many use it.
struct member_counts {
  std::uint32_t members = 0;
  std::map<extension_type, std::uint32_t> extensions;
  std::map<proposal_type, std::uint32_t> proposals;
  std::map<credential_type, std::uint32_t> credentials, credentials_in_use;
  void add(const leaf_node& leaf);
  void take_away(const leaf_node& leaf);
};
} // namespace tree_parts

/// What a commit does to a tree: the other contents of the touched nodes, and the other size. Move-only, as
/// there is one tree that it fits.
class tree_changes {
public:
  tree_changes() = default;
  tree_changes(tree_changes&&) = default;
  tree_changes& operator=(tree_changes&&) = default;

  /// The nodes that differ, in no order; some of them may be beyond the end of the smaller tree.
  std::vector<node_index> touched() const;

private:
  friend class ratchet_tree;
  std::vector<std::pair<std::uint32_t, tree_parts::leaf_slot>> leaves_;
  std::vector<std::pair<std::uint32_t, tree_parts::parent_slot>> parents_;
  std::uint32_t leaf_count_ = 0;
  std::uint64_t version_ = 0; ///< of the tree that they were made from
};

/// The tree that all members of a group share.
///
/// Owns:    nodes, their hashes, an index of their keys, counts of what members support.
/// Thread:  its owner's, reading too: hashes are computed when they are asked for.
/// Holds:   a hash that is kept is right. Writing a node forgets the hashes from it up to the root and no
///          others, so the next root hash costs the height of the tree.
///
/// Changes. A group has one tree. To make or to process a commit it calls `begin`, works on the tree in
/// place, and then one of
///   keep       the new contents stay (a commit of another member, found valid);
///   roll_back  the old ones return (found invalid);
///   take       the old ones return, and the new ones come as a value: the pending commit. While it waits
///              the tree serves the old epoch. `apply` puts it in when it is confirmed; dropping the value
///              drops the commit.
/// From `begin` on, each node is saved before it is first written. Going back, and applying, is an exchange
/// of the saved slots with those of the tree, so it costs as much as the commit touched. It is right only
/// on the tree that the changes were made from, which is why the group drops a pending commit when another
/// one is kept; `fits` tells, and `apply` asserts it.
class ratchet_tree {
public:
  static constexpr std::uint32_t leaf_count_max = 1u << 16; ///< a bound on what a hostile tree may cost

  ratchet_tree(); ///< one blank leaf

  // --- reading
  std::uint32_t leaf_count() const { return static_cast<std::uint32_t>(leaves_.size()); } ///< with blanks
  std::uint32_t member_count() const { return counts_.members; }
  node_index root() const { return mls::root(leaf_count()); }
  bool contains(node_index x) const { return number(x) < node_count(leaf_count()); }
  bool is_blank(node_index x) const;
  bool is_member(leaf_index i) const { ///< false beyond the end, too
    return number(i) < leaf_count() && !leaves_[number(i)].encoded.empty();
  }
  leaf_node leaf(leaf_index i) const; ///< decoded; of a member
  bytes_view encoded_leaf(leaf_index i) const { return leaves_[number(i)].encoded; }
  leaf_node_source source(leaf_index i) const { return leaves_[number(i)].source; }
  const public_key& signature_key(leaf_index i) const { return leaves_[number(i)].signature_key; }
  const public_key& encryption_key(node_index x) const; ///< of a node that is not blank
  std::span<const leaf_index> unmerged_leaves(node_index x) const;
  bytes_view parent_hash(node_index x) const; ///< of a parent that is not blank

  /// 4.1.1, from the left. Leaves of `without` (sorted) are left out: those that a commit adds (7.5).
  void resolution(node_index x, std::vector<node_index>& out, std::span<const leaf_index> without = {}) const;
  bool has_resolution(node_index x) const; ///< that is not empty
  struct path_step {
    node_index node, copath; ///< a node, and its child that is not on the path
  };
  std::vector<path_step> filtered_direct_path(leaf_index i) const; ///< 4.1.2, from below

  std::optional<leaf_index> find_signature_key(const public_key& key) const;
  std::optional<node_index> find_encryption_key(const public_key& key) const;
  /// 7.3: no other member has a key of this one, and no parent has its encryption key.
  result<void> check_unique(leaf_index i) const;
  /// 12.4.3.1: no other node has the encryption key of this parent.
  result<void> check_unique(node_index x) const;
  /// 7.3: the type of the leaf's credential is supported by all members, and the leaf supports all types in
  /// use. For a leaf that is in the tree.
  result<void> check_credential_types(const leaf_node& leaf) const;
  bool all_support(extension_type t) const;
  bool all_support(proposal_type t) const;
  bool all_support(credential_type t) const;

  // --- hashes (7.8, 7.9)
  const tree_digest& tree_hash(node_index x) const;
  const tree_digest& tree_hash() const { return tree_hash(root()); }
  /// The tree hash of `x` as it was before `unmerged` joined: without these leaves (sorted). Computes what
  /// is different and takes the rest from the kept hashes.
  tree_digest original_tree_hash(node_index x, std::span<const leaf_index> unmerged) const;
  /// The parent hash of `x`, with `sibling` the child that is not on the path.
  tree_digest parent_hash_of(node_index x, node_index sibling) const;

  // --- writing (12.1.1-12.1.3)
  result<leaf_index> add(const leaf_node& leaf);
  result<void> update(leaf_index i, const leaf_node& leaf);
  result<void> remove(leaf_index i);
  /// The leftmost blank leaf, for an external commit; the tree grows if there is none.
  result<leaf_index> leaf_for_joiner();
  void blank_direct_path(leaf_index i);
  void set_parent(node_index x, parent_node v);
  void set_leaf(leaf_index i, const leaf_node& leaf); ///< and nothing above it

  // --- changes
  void begin();
  std::vector<node_index> keep(); ///< the nodes that were touched
  void roll_back();
  tree_changes take();
  bool fits(const tree_changes& changes) const { return changes.version_ == version_; }
  std::vector<node_index> apply(tree_changes changes); ///< the nodes that were touched

  // --- bytes (12.4.3.3)
  bytes encoded() const; ///< the content of the ratchet_tree extension
  static result<ratchet_tree> decoded(bytes_view in);
  /// One node for the store: empty if it is blank.
  bytes encoded_node(node_index x) const;
  /// The same back: of a tree of `leaf_count` leaves, blank but for the nodes that are put.
  static result<ratchet_tree> blank(std::uint32_t leaf_count);
  result<void> put_encoded_node(node_index x, bytes_view in);
  /// Changes that were taken from this tree, and have not been applied.
  bytes encoded_changes(const tree_changes& changes) const;
  /// The same back, for a tree of the same content, if they lead to a tree that is wanted.
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
  leaf_slot& touch_leaf(std::uint32_t i);     ///< saved
  parent_slot& touch_parent(std::uint32_t i); ///< saved
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
  std::uint32_t maybe_blank_from_ = 0; ///< no leaf before it is blank
  std::uint64_t version_ = 1;          ///< rises when what `begin` starts from becomes another
  bool is_changing_ = false;
  tree_changes log_;
};

} // namespace parley::mls

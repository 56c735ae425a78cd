// The ratchet_tree extension (RFC 9420, section 12.4.3.3), and single nodes for the store.
#include "protocol/mls/ratchet_tree.hpp"

#include <algorithm>
#include <cassert>

namespace parley::mls {

void encode(encoder& e, const parent_node& v) {
  put_key(e, v.encryption_key);
  e.opaque(v.parent_hash).vector(v.unmerged_leaves);
}

void decode(decoder& d, parent_node& v) {
  v.encryption_key = get_key(d);
  v.parent_hash = d.opaque();
  v.unmerged_leaves = d.vector<leaf_index>();
  if (!v.parent_hash.empty() && v.parent_hash.size() != hash_bytes)
    d.fail();
}

bytes ratchet_tree::encoded_node(node_index x) const {
  if (is_blank(x))
    return {};
  encoder e;
  if (mls::is_leaf(x)) {
    e.put(node_type::leaf).raw(encoded_leaf(to_leaf(x)));
  } else {
    const auto& s = parents_[parent_number(x)];
    e.reserve(80 + 4 * s.unmerged_leaves.size());
    e.put(node_type::parent);
    put_key(e, s.encryption_key);
    e.opaque(parent_hash(x)).vector(s.unmerged_leaves);
  }
  return std::move(e).out();
}

bytes ratchet_tree::encoded_changes(const tree_changes& changes) const {
  const auto size = std::max(leaf_count(), changes.leaf_count_);
  encoder e;
  e.put(changes.leaf_count_);
  // A blank node is encoded as an empty one. Nodes that were created and removed within the change are
  // in neither tree and are skipped.
  for (const auto& [i, s] : changes.leaves_) {
    if (i >= size)
      continue;
    encoder node;
    if (!s.encoded.empty())
      node.put(node_type::leaf).raw(s.encoded);
    e.put(2 * i).opaque(node.out());
  }
  for (const auto& [i, s] : changes.parents_) {
    if (i >= size - 1)
      continue;
    encoder node;
    if (s.is_set) {
      node.put(node_type::parent);
      put_key(node, s.encryption_key);
      node.opaque(s.has_parent_hash ? bytes_view{s.parent_hash} : bytes_view{}).vector(s.unmerged_leaves);
    }
    e.put(2 * i + 1).opaque(node.out());
  }
  return std::move(e).out();
}

result<tree_changes>
ratchet_tree::decoded_changes(bytes_view in, const std::function<bool(const ratchet_tree&)>& is_wanted) {
  decoder d{in};
  const auto size = d.get<std::uint32_t>();
  if (!std::has_single_bit(size) || size > leaf_count_max)
    return refuse(rule::malformed);
  begin();
  if (size > leaf_count())
    resize(size);
  bool good = true;
  while (good && d.ok() && !d.rest().empty()) {
    const auto x = d.get<node_index>();
    const auto node = d.opaque_view();
    good = d.ok() && put_encoded_node(x, node).has_value();
  }
  if (size < leaf_count())
    truncate();
  if (!good || !d.done() || leaf_count() != size || !is_wanted(*this)) {
    roll_back();
    return refuse(rule::malformed);
  }
  return take();
}

bytes ratchet_tree::encoded() const {
  auto end = node_count(leaf_count());
  while (end > 0 && is_blank(node_index{end - 1}))
    --end;
  encoder nodes;
  for (std::uint32_t x = 0; x < end; ++x) {
    const auto node = encoded_node(node_index{x});
    nodes.put(static_cast<std::uint8_t>(!node.empty())).raw(node);
  }
  encoder e;
  e.reserve(nodes.out().size() + 4);
  e.opaque(nodes.out());
  return std::move(e).out();
}

result<ratchet_tree> ratchet_tree::blank(std::uint32_t leaf_count) {
  if (!std::has_single_bit(leaf_count))
    return refuse(rule::malformed);
  if (leaf_count > leaf_count_max)
    return refuse(rule::tree_too_large);
  ratchet_tree tree;
  tree.resize(leaf_count);
  return tree;
}

namespace {

/// Reads one node and remembers its bytes, so that the tree is built only once its size is known.
struct read_node {
  node_type type{};
  bytes_view content; ///< of the leaf or parent
};

bool read(decoder& d, read_node& out) {
  out.type = d.get<node_type>();
  const auto before = d.rest();
  if (out.type == node_type::leaf)
    d.decode_one<leaf_node>();
  else if (out.type == node_type::parent)
    d.decode_one<parent_node>();
  else
    d.fail();
  if (!d.ok())
    return false;
  out.content = before.first(before.size() - d.rest().size());
  return true;
}

} // namespace

result<void> ratchet_tree::put_encoded_node(node_index x, bytes_view in) {
  if (!contains(x))
    return refuse(rule::malformed);
  if (in.empty()) {
    make_blank(x);
    return {};
  }
  decoder d{in};
  const auto type = d.get<node_type>();
  if (type != (mls::is_leaf(x) ? node_type::leaf : node_type::parent))
    return refuse(rule::tree_wrong_node_type);
  if (mls::is_leaf(x)) {
    const auto leaf = whole<leaf_node>(d.rest());
    if (!leaf)
      return refuse(rule::malformed);
    set_leaf(to_leaf(x), *leaf);
  } else {
    auto node = whole<parent_node>(d.rest());
    if (!node)
      return refuse(rule::malformed);
    set_parent(x, std::move(*node));
  }
  return {};
}

result<ratchet_tree> ratchet_tree::decoded(bytes_view in) {
  decoder outer{in};
  decoder d{outer.opaque_view()};
  if (!outer.done())
    return refuse(rule::malformed);
  struct found {
    std::uint32_t x;
    read_node node;
  };
  std::vector<found> nodes;
  std::uint32_t count = 0;
  bool ends_blank = true;
  for (; !d.rest().empty(); ++count) {
    if (count == node_count(leaf_count_max))
      return refuse(rule::tree_too_large);
    const auto present = d.get<std::uint8_t>();
    if (present > 1)
      return refuse(rule::malformed);
    ends_blank = present == 0;
    if (ends_blank)
      continue;
    read_node node;
    if (!read(d, node))
      return refuse(rule::malformed);
    nodes.push_back({count, node});
  }
  if (ends_blank)
    return refuse(rule::tree_blank_at_end);
  // The last node is at index `count - 1`: it is a leaf L at 2L, or a parent that has leaves to its right.
  auto tree = blank(leaves_for(count / 2 + 1));
  if (!tree)
    return tree;
  for (const auto& [x, node] : nodes) {
    encoder e;
    e.put(node.type).raw(node.content);
    if (auto put = tree->put_encoded_node(node_index{x}, e.out()); !put)
      return tl::unexpected(put.error());
  }
  return tree;
}

} // namespace parley::mls

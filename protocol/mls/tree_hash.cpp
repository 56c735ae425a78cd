// Tree hashes (RFC 9420, section 7.8) and parent hashes (7.9).
#include "protocol/mls/ratchet_tree.hpp"

#include <algorithm>

namespace parley::mls {

namespace {

tree_digest digest_of(const encoder& e) {
  const auto h = hash(e.out());
  tree_digest d;
  std::ranges::copy(h, d.begin());
  return d;
}

/// Returns the leaves of a sorted list that are below a node.
std::span<const leaf_index> those_below(std::span<const leaf_index> sorted, node_index x) {
  const auto range = leaves_below(x);
  const auto first = std::ranges::lower_bound(sorted, leaf_index{range.first});
  const auto end = std::ranges::lower_bound(sorted, leaf_index{range.end});
  return {first, end};
}

} // namespace

tree_digest ratchet_tree::hash_of_leaf(std::uint32_t i, bool as_blank) const {
  const auto& s = leaves_[i];
  const bool present = !as_blank && !s.encoded.empty();
  encoder e;
  e.reserve(8 + s.encoded.size());
  e.put(node_type::leaf).put(i).put(static_cast<std::uint8_t>(present));
  if (present)
    e.raw(s.encoded);
  return digest_of(e);
}

tree_digest ratchet_tree::hash_of_parent(const parent_slot& s, std::span<const leaf_index> without,
                                         const tree_digest& l, const tree_digest& r) const {
  encoder e;
  e.reserve(160 + 4 * s.unmerged_leaves.size());
  e.put(node_type::parent).put(static_cast<std::uint8_t>(s.is_set));
  if (s.is_set) {
    put_key(e, s.encryption_key);
    e.opaque(s.has_parent_hash ? bytes_view{s.parent_hash} : bytes_view{});
    if (without.empty()) {
      e.vector(s.unmerged_leaves);
    } else {
      std::vector<leaf_index> left_over;
      std::ranges::set_difference(s.unmerged_leaves, without, std::back_inserter(left_over));
      e.vector(left_over);
    }
  }
  e.opaque(l).opaque(r);
  return digest_of(e);
}

const tree_digest& ratchet_tree::tree_hash(node_index x) const {
  if (mls::is_leaf(x)) {
    const auto i = number(to_leaf(x));
    auto& s = leaves_[i];
    if (!s.has_hash) {
      s.hash = hash_of_leaf(i, false);
      s.has_hash = true;
    }
    return s.hash;
  }
  auto& s = parents_[parent_number(x)];
  if (!s.has_hash) {
    s.hash = hash_of_parent(s, {}, tree_hash(left(x)), tree_hash(right(x)));
    s.has_hash = true;
  }
  return s.hash;
}

tree_digest ratchet_tree::original_tree_hash(node_index x, std::span<const leaf_index> unmerged) const {
  const auto here = those_below(unmerged, x);
  if (here.empty())
    return tree_hash(x);
  if (mls::is_leaf(x))
    return hash_of_leaf(number(to_leaf(x)), true);
  return hash_of_parent(parents_[parent_number(x)], here, original_tree_hash(left(x), here),
                        original_tree_hash(right(x), here));
}

tree_digest ratchet_tree::parent_hash_of(node_index x, node_index sibling) const {
  const auto& s = parents_[parent_number(x)];
  encoder e;
  e.reserve(100);
  put_key(e, s.encryption_key);
  e.opaque(s.has_parent_hash ? bytes_view{s.parent_hash} : bytes_view{});
  e.opaque(original_tree_hash(sibling, s.unmerged_leaves));
  return digest_of(e);
}

} // namespace parley::mls

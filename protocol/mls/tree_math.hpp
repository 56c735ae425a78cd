#pragma once
// The positions of the nodes of a perfect binary tree in an array (RFC 9420, appendix C): leaf L is
// at 2L, and the parents are at the odd positions in between. A tree has 2^d leaves; only `root`
// depends on their number.
#include "protocol/mls/leaf_node.hpp"

#include <bit>
#include <vector>

namespace parley::mls {

enum class node_index : std::uint32_t {};
constexpr std::uint32_t number(node_index i) {
  return static_cast<std::uint32_t>(i);
}
constexpr bool is_leaf(node_index x) {
  return (number(x) & 1) == 0;
}
constexpr node_index to_node(leaf_index i) {
  return node_index{2 * number(i)};
}
constexpr leaf_index to_leaf(node_index x) {
  return leaf_index{number(x) / 2};
}

/// The smallest power of two that is at least `n`; trees have no other sizes.
constexpr std::uint32_t leaves_for(std::uint32_t n) {
  return std::bit_ceil(n);
}
constexpr std::uint32_t node_count(std::uint32_t leaf_count) {
  return leaf_count == 0 ? 0 : 2 * leaf_count - 1;
}
constexpr node_index root(std::uint32_t leaf_count) {
  return node_index{leaf_count - 1};
}

/// The level is 0 at the leaves.
constexpr std::uint32_t level(node_index x) {
  return static_cast<std::uint32_t>(std::countr_one(number(x)));
}
constexpr node_index left(node_index x) { ///< only for a parent
  return node_index{number(x) ^ (1u << (level(x) - 1))};
}
constexpr node_index right(node_index x) { ///< only for a parent
  return node_index{number(x) ^ (3u << (level(x) - 1))};
}
constexpr node_index parent(node_index x) { ///< not for the root
  const auto k = level(x);
  return node_index{(number(x) | 1u << k) & ~(1u << (k + 1))};
}
constexpr node_index sibling(node_index x) { ///< not for the root
  const auto p = parent(x);
  return number(x) < number(p) ? right(p) : left(p);
}

/// The leaves below a node, or the leaf itself, as the range [first, end).
struct leaf_range {
  std::uint32_t first = 0, end = 0;
  constexpr bool contains(leaf_index i) const { return first <= number(i) && number(i) < end; }
};
constexpr leaf_range leaves_below(node_index x) {
  const auto width = 1u << level(x);
  const auto first = (number(x) & ~(width - 1)) / 2;
  return {first, first + width};
}
constexpr bool is_below(leaf_index i, node_index x) {
  return leaves_below(x).contains(i);
}

/// The lowest node above both leaves; the leaf itself if they are the same.
constexpr node_index common_ancestor(leaf_index a, leaf_index b) {
  const auto k = static_cast<std::uint32_t>(std::bit_width(number(a) ^ number(b)));
  return node_index{(number(a) >> k << (k + 1)) + (1u << k) - 1};
}

/// 4.1.2: from the leaf upwards, without the leaf itself.
std::vector<node_index> direct_path(leaf_index i, std::uint32_t leaf_count);
/// The siblings of the leaf and of the nodes on its direct path, from the bottom up.
std::vector<node_index> copath(leaf_index i, std::uint32_t leaf_count);

} // namespace parley::mls

#include "protocol/mls/tree_math.hpp"

namespace parley::mls {

std::vector<node_index> direct_path(leaf_index i, std::uint32_t leaf_count) {
  std::vector<node_index> path;
  const auto top = root(leaf_count);
  for (auto x = to_node(i); x != top;) {
    x = parent(x);
    path.push_back(x);
  }
  return path;
}

std::vector<node_index> copath(leaf_index i, std::uint32_t leaf_count) {
  std::vector<node_index> path;
  const auto top = root(leaf_count);
  for (auto x = to_node(i); x != top; x = parent(x))
    path.push_back(sibling(x));
  return path;
}

} // namespace parley::mls

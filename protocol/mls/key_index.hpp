#pragma once
// Finds the nodes that hold a public key without walking the tree.
#include "protocol/mls/leaf_node.hpp"

#include <array>
#include <cstring>
#include <vector>

namespace parley::mls {

/// Owns:   the node number for each inserted key. The key itself stays in the tree and is read through
///         `key_of(node)`.
/// Holds:  each entry takes eight bytes, and at most half of the table is used. Keys are chosen by their
///         owners, and an attacker would choose keys that collide, so the position of an entry depends on
///         random numbers that only this process knows.
class key_index {
public:
  void insert(const public_key& key, std::uint32_t node) {
    if (2 * (used_ + 1) > table_.size())
      grow();
    place({tag_of(key), node});
    ++used_;
  }

  /// Removes exactly this pair, which must have been inserted before.
  void erase(const public_key& key, std::uint32_t node) {
    const entry gone{tag_of(key), node};
    for (auto i = home(gone.tag); table_[i].node != none; i = next(i)) {
      if (table_[i].tag == gone.tag && table_[i].node == gone.node) {
        close_gap(i);
        --used_;
        return;
      }
    }
  }

  /// Calls `seen(node)` for each node that holds the key.
  template <class KeyOf, class Seen>
  void for_each(const public_key& key, KeyOf key_of, Seen seen) const {
    if (table_.empty())
      return;
    const auto tag = tag_of(key);
    for (auto i = home(tag); table_[i].node != none; i = next(i)) {
      if (table_[i].tag == tag && key_of(table_[i].node) == key)
        seen(table_[i].node);
    }
  }

private:
  static constexpr std::uint32_t none = 0xffffffff;
  struct entry {
    std::uint32_t tag = 0, node = none;
  };

  /// Multilinear hashing (Carter and Wegman, 1979).
  static std::uint32_t tag_of(const public_key& key) {
    static const auto secret_factors = [] {
      std::array<std::uint64_t, sizeof key / 4 + 1> out;
      system_random()({reinterpret_cast<std::uint8_t*>(out.data()), sizeof out});
      return out;
    }();
    auto sum = secret_factors.back();
    for (std::size_t i = 0; i < sizeof key / 4; ++i) {
      std::uint32_t word = 0;
      std::memcpy(&word, key.data() + 4 * i, sizeof word);
      sum += secret_factors[i] * word;
    }
    return static_cast<std::uint32_t>(sum >> 32);
  }
  std::size_t home(std::uint32_t tag) const { return tag & (table_.size() - 1); }
  std::size_t next(std::size_t i) const { return (i + 1) & (table_.size() - 1); }

  void place(entry e) {
    auto i = home(e.tag);
    while (table_[i].node != none)
      i = next(i);
    table_[i] = e;
  }

  void grow() {
    std::vector<entry> old(table_.empty() ? 16 : 2 * table_.size());
    old.swap(table_);
    for (const auto& e : old)
      if (e.node != none)
        place(e);
  }

  /// Moves entries that probing had pushed past the gap back into it, so that no
  /// lookup stops too early.
  void close_gap(std::size_t gap) {
    const auto mask = table_.size() - 1;
    for (auto i = next(gap); table_[i].node != none; i = next(i)) {
      if (((i - home(table_[i].tag)) & mask) >= ((i - gap) & mask)) {
        table_[gap] = table_[i];
        gap = i;
      }
    }
    table_[gap] = {};
  }

  std::vector<entry> table_; ///< the size is a power of two
  std::size_t used_ = 0;
};

} // namespace parley::mls

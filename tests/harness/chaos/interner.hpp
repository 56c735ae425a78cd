#pragma once
// Numbers keys 0, 1, 2 … in the order of their first appearance, so that data about them can
// be stored in vectors.
#include <cstdint>
#include <functional>
#include <vector>

namespace parley::chaos {

template <class Key, class Hash = std::hash<Key>>
class interner {
public:
  static constexpr std::uint32_t none = 0xffffffff;

  std::uint32_t find(const Key& key) const {
    if (slots_.empty())
      return none;
    for (auto at = Hash{}(key)&mask();; at = (at + 1) & mask()) {
      if (slots_[at] == none || keys_[slots_[at]] == key)
        return slots_[at];
    }
  }
  /// Returns the key's number. The number of a new key is the size before the call.
  std::uint32_t of(const Key& key) {
    if (2 * (keys_.size() + 1) > slots_.size())
      grow();
    for (auto at = Hash{}(key)&mask();; at = (at + 1) & mask()) {
      if (slots_[at] == none) {
        slots_[at] = static_cast<std::uint32_t>(keys_.size());
        keys_.push_back(key);
        return slots_[at];
      }
      if (keys_[slots_[at]] == key)
        return slots_[at];
    }
  }
  std::size_t size() const { return keys_.size(); }
  const Key& key(std::uint32_t number) const { return keys_[number]; }

private:
  std::size_t mask() const { return slots_.size() - 1; }
  void grow() {
    slots_.assign(slots_.empty() ? 64 : 2 * slots_.size(), none);
    for (std::uint32_t i = 0; i < keys_.size(); ++i) {
      auto at = Hash{}(keys_[i]) & mask();
      while (slots_[at] != none)
        at = (at + 1) & mask();
      slots_[at] = i;
    }
  }
  std::vector<std::uint32_t> slots_; ///< the size is a power of two; at most half of it is used
  std::vector<Key> keys_;
};

} // namespace parley::chaos

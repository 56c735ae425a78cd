#pragma once
// Small values for keys that strangers or many users choose, in bounded memory.
#include <cstddef>
#include <unordered_map>
#include <utility>

namespace parley::core {

/// Owns at most `keys_max` values. When half that many keys are new, those that were not looked for since the
/// last such moment are forgotten, so a value must mean little once nobody asks for it any more.
template <class Key, class Value>
class recently_seen {
public:
  explicit recently_seen(std::size_t keys_max) : half_{keys_max / 2} {}

  /// The value of `key`, or `fresh` if it is not remembered. Valid until the next call.
  Value& find(const Key& key, const Value& fresh) {
    if (auto i = recent_.find(key); i != recent_.end())
      return i->second;
    if (recent_.size() >= half_) {
      older_ = std::move(recent_);
      recent_.clear();
    }
    const auto i = older_.find(key);
    return recent_.emplace(key, i == older_.end() ? fresh : i->second).first->second;
  }

  /// Forgets the keys that were not looked for since the last call, and gives their memory back.
  void age() {
    older_ = std::exchange(recent_, {}); // `clear` would keep the buckets
  }
  std::size_t size() const { return recent_.size() + older_.size(); }

private:
  std::size_t half_;
  std::unordered_map<Key, Value> recent_;
  std::unordered_map<Key, Value> older_;
};

} // namespace parley::core

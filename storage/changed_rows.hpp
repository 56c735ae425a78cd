#pragma once
// What of a shard's rows has changed since readers saw them last, by how keys begin: one bit for each beginning, as in a
// Bloom filter with one hash (Bloom, 1970). It may take something for changed that is not, and never the other way round.
#include "protocol/values/types.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace parley::storage {

/// Owns:   128 KiB. `rows_max` of a publish (journal_config) sets a twentieth of its bits.
/// Thread: the environment's writer.
class changed_rows {
public:
  /// Which beginnings can be asked for, in bytes behind shard and slot: a letter, and an id of 8 or 16 bytes.
  static constexpr std::array<std::size_t, 2> lengths{9, 17};

  /// `key`: as it stands in `table::state`, with shard and slot. Both slots of a shard count as one.
  void note(std::string_view key) {
    for (const auto n : lengths)
      if (key.size() >= prefix_bytes + n)
        set(hash_of(key, n));
  }
  /// Of keys in [from, to), any: all that begin as both of them do, as far as they do so for one of the lengths.
  void note_range(std::string_view from, std::string_view to) {
    const auto common = static_cast<std::size_t>(std::ranges::mismatch(from, to).in1 - from.begin());
    note(from.substr(0, common));
    if (common < prefix_bytes + 1)
      all_ = any_ = true;
    else if (common < prefix_bytes + lengths[0])
      set(hash_of(from, 1, many));
    else if (common < prefix_bytes + lengths[1])
      set(hash_of(from, lengths[0], many));
  }
  /// `beginning`: without shard and slot. True of one that is not of the lengths.
  bool may_have(shard_id shard, std::string_view beginning) const {
    if (!any_)
      return false;
    if (all_ || std::ranges::find(lengths, beginning.size()) == lengths.end())
      return true;
    std::string key(prefix_bytes, '\0');
    key[0] = static_cast<char>(number(shard) >> 8);
    key[1] = static_cast<char>(number(shard) & 0xff);
    key += beginning;
    return has(hash_of(key, beginning.size())) || has(hash_of(key, 1, many)) ||
           (beginning.size() > lengths[0] && has(hash_of(key, lengths[0], many)));
  }
  void clear() {
    if (std::exchange(any_, false))
      std::ranges::fill(bits_, 0);
    all_ = false;
  }

private:
  static constexpr std::size_t prefix_bytes = 3, slot_at = 2;
  static constexpr std::string_view many{"*"};
  static constexpr std::size_t words = 1 << 14;

  /// Of the shard and the `n` bytes behind the slot; `many`: of all keys that begin so.
  static std::size_t hash_of(std::string_view key, std::size_t n, std::string_view of = {}) {
    std::array<char, slot_at + lengths.back() + many.size()> bytes{};
    auto* end = std::copy_n(key.data(), slot_at, bytes.data());
    end = std::copy_n(key.data() + prefix_bytes, n, end);
    end = std::ranges::copy(of, end).out;
    return std::hash<std::string_view>{}({bytes.data(), end});
  }
  void set(std::size_t hash) {
    any_ = true;
    bits_[hash / 64 % words] |= std::uint64_t{1} << (hash % 64);
  }
  bool has(std::size_t hash) const { return (bits_[hash / 64 % words] >> (hash % 64) & 1) != 0; }

  std::vector<std::uint64_t> bits_ = std::vector<std::uint64_t>(words);
  bool any_ = false, all_ = false;
};

} // namespace parley::storage

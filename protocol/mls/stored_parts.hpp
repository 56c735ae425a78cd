#pragma once
// The stored parts of a group, and one checksum over all of them. Only group_store.cpp includes this.
//
// A ratchet that is missing, or that comes from an older state, would lead to a key that is used
// twice. So a part named "sum" holds the exclusive or of the hashes of all other parts, each hashed
// with its name. Writing a part removes the hash of the old value from the sum and adds the hash of
// the new one; this costs reading the old value and writing 32 more bytes. Loading computes the sum
// again. The sum detects damage and mistakes. It does not detect deliberate changes by an attacker
// who can write to the store.
#include "protocol/mls/group_store.hpp"
#include "protocol/mls/ratchet_tree.hpp"

#include <map>

namespace parley::mls {

/// Adds a part to a sum, or removes it.
void toggle(tree_digest& sum, std::string_view name, bytes_view value);

class part_writer {
public:
  part_writer(part_store& to, tree_digest& sum) : to_{to}, sum_{sum}, before_{sum} {}

  result<void> put(std::string_view name, bytes_view value);
  result<void> erase(std::string_view name);
  result<void> erase_all(std::string_view prefix);
  result<void> start_anew(); ///< deletes all existing parts
  result<void> finish();     ///< must be called last; writes the sum

private:
  result<void> take_out(std::string_view name, bool& was_there);
  part_store& to_;
  tree_digest& sum_;
  const tree_digest before_;
};

/// All parts of a group, read once.
class read_parts {
public:
  /// Refuses with state_damaged if the parts are not those that the sum was computed over.
  static result<read_parts> of(const part_store& from);

  /// Returns an empty optional if there is no such part.
  std::optional<bytes_view> get(std::string_view name) const;
  struct found {
    std::string_view name;
    bytes_view value;
  };
  std::vector<found> all(std::string_view prefix) const;
  const tree_digest& sum() const { return sum_; }

private:
  std::map<std::string, secret, std::less<>> parts_;
  tree_digest sum_{};
};

} // namespace parley::mls

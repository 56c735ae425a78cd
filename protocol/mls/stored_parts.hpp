#pragma once
// The parts of a group, and one sum over all of them. Only group_store.cpp includes this.
//
// A ratchet that were missing, or came from an older state, would lead to a key that is used twice. So a part
// "sum" holds the exclusive or of the hashes of all others, each with its name. Writing a part takes the hash
// of the old one out and the new one's in, which costs the reading of the old one and 32 bytes more; loading
// computes it anew. It tells damage and mistakes, not somebody who can write into the store and means it.
#include "protocol/mls/group_store.hpp"
#include "protocol/mls/ratchet_tree.hpp"

#include <map>

namespace parley::mls {

/// Adds a part to a sum, or takes it out.
void toggle(tree_digest& sum, std::string_view name, bytes_view value);

class part_writer {
public:
  part_writer(part_store& to, tree_digest& sum) : to_{to}, sum_{sum}, before_{sum} {}

  result<void> put(std::string_view name, bytes_view value);
  result<void> erase(std::string_view name);
  result<void> erase_all(std::string_view prefix);
  result<void> start_anew(); ///< whatever is there goes
  result<void> finish();     ///< last: the sum

private:
  result<void> take_out(std::string_view name, bool& was_there);
  part_store& to_;
  tree_digest& sum_;
  const tree_digest before_;
};

/// All parts, read once.
class read_parts {
public:
  /// state_damaged: they are not those of which the sum was written.
  static result<read_parts> of(const part_store& from);

  /// Nothing: there is none.
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

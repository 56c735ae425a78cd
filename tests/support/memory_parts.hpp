#pragma once
// A store of MLS parts in memory, for tests and benches.
#include "protocol/mls/stored_parts.hpp"

#include <map>
#include <string>

namespace parley::mls::test {

struct memory_parts : part_store {
  std::map<std::string, bytes, std::less<>> parts;

  /// Computes the checksum again, as the writer of these parts would have done.
  void sum_again() {
    tree_digest sum{};
    for (const auto& [name, value] : parts)
      if (name != "sum")
        toggle(sum, name, value);
    parts["sum"] = to_bytes(sum);
  }

  result<void> put(std::string_view name, bytes_view value) override {
    parts.insert_or_assign(std::string{name}, to_bytes(value));
    return {};
  }
  result<void> erase(std::string_view name) override {
    parts.erase(std::string{name});
    return {};
  }
  result<std::optional<secret>> get(std::string_view name) const override {
    const auto at = parts.find(name);
    return at == parts.end() ? std::nullopt : std::optional{secret{at->second}};
  }
  result<std::vector<std::string>> names(std::string_view prefix) const override {
    std::vector<std::string> out;
    for (auto at = parts.lower_bound(prefix); at != parts.end() && at->first.starts_with(prefix); ++at)
      out.push_back(at->first);
    return out;
  }
};

} // namespace parley::mls::test

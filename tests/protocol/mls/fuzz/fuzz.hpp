#pragma once
// What the fuzz targets share: what a target is, laws, and a store in memory.
//
// A target is one function of the input. Its laws throw `broken_law`, which ends the fuzzer and fails the
// test that replays inputs; crashes are the sanitizers'.
#include "protocol/mls/group_state.hpp"
#include "protocol/mls/group_store.hpp"

#include <algorithm>
#include <map>
#include <stdexcept>
#include <string>

namespace parley::mls::fuzz {

struct broken_law : std::logic_error {
  using std::logic_error::logic_error;
};
inline void law(bool holds, const std::string& what) {
  if (!holds)
    throw broken_law{what};
}

/// The value of what the scenario or a law needs to be accepted.
template <class T>
T taken(result<T> r, const std::string& what) {
  if (!r)
    throw broken_law{what + " was refused: " + std::string{describe(r.error().broken).sentence}};
  if constexpr (!std::is_void_v<T>)
    return std::move(*r);
}

/// Changes bytes in place, which may grow up to `size_max`, and answers the new size (LLVMFuzzerMutate).
using byte_mutator = std::size_t (*)(std::uint8_t* data, std::size_t size, std::size_t size_max);
/// Takes one input to start from.
using seed_sink = std::function<void(bytes)>;

struct target {
  std::string_view name;
  void (*run)(bytes_view input);
  /// `vectors`: every byte string of the official vectors.
  void (*seeds)(const std::vector<bytes>& vectors, const seed_sink& to);
  /// Changes an input as a structure; null: bytes are all there is to change.
  bytes (*mutate)(bytes_view input, std::uint32_t seed, byte_mutator mutate_bytes) = nullptr;
};
extern const target structures, trees, crypto, store, joins, groups;
inline const std::vector<const target*>& all_targets() {
  static const std::vector<const target*> all{&structures, &trees, &crypto, &store, &joins, &groups};
  return all;
}

/// What was asked of the heap so far. Counted where somebody counts: in the fuzzers.
extern std::size_t allocated_bytes;

/// The parts of a group, in memory.
struct parts : part_store {
  std::map<std::string, bytes, std::less<>> all;

  result<void> put(std::string_view name, bytes_view value) override {
    all.insert_or_assign(std::string{name}, to_bytes(value));
    return {};
  }
  result<void> erase(std::string_view name) override {
    all.erase(std::string{name});
    return {};
  }
  result<std::optional<secret>> get(std::string_view name) const override {
    const auto at = all.find(name);
    return at == all.end() ? std::nullopt : std::optional{secret{at->second}};
  }
  result<std::vector<std::string>> names(std::string_view prefix) const override {
    std::vector<std::string> out;
    for (auto at = all.lower_bound(prefix); at != all.end() && at->first.starts_with(prefix); ++at)
      out.push_back(at->first);
    return out;
  }
};

/// The back door: what a group holds, as nobody outside of the engine may see it.
group_state& state_of(group& g);
template <std::unique_ptr<group_state> group::*Member>
struct opened_group {
  friend group_state& state_of(group& g) { return *(g.*Member); }
};
template struct opened_group<&group::state_>;

/// All that a group holds in memory but the keys of single messages, whose tree may split when it is asked.
std::map<std::string, bytes, std::less<>> fingerprint(group& g);

} // namespace parley::mls::fuzz

#pragma once
// What the fuzz targets share: the definition of a target, and laws.
//
// A target is a function of its input. Its laws throw `broken_law`, which ends the fuzzer and fails the
// test that replays inputs; sanitizers detect crashes.
#include "tests/protocol/mls/group_back_door.hpp"
#include "tests/support/memory_parts.hpp"

#include <algorithm>
#include <map>
#include <stdexcept>
#include <string>

namespace parley::mls::fuzz {

using test::memory_parts;
using test::state_of;

struct broken_law : std::logic_error {
  using std::logic_error::logic_error;
};
inline void law(bool holds, const std::string& what) {
  if (!holds)
    throw broken_law{what};
}

/// The value of a result that the scenario or a law needs to be accepted.
template <class T>
T taken(result<T> r, const std::string& what) {
  if (!r)
    throw broken_law{what + " was refused: " + std::string{describe(r.error().broken).sentence}};
  if constexpr (!std::is_void_v<T>)
    return std::move(*r);
}

/// Changes bytes in place, which may grow up to `size_max`, and returns the new size (LLVMFuzzerMutate).
using byte_mutator = std::size_t (*)(std::uint8_t* data, std::size_t size, std::size_t size_max);
/// Receives one initial input.
using seed_sink = std::function<void(bytes)>;

struct target {
  std::string_view name;
  void (*run)(bytes_view input);
  /// `vectors` is every byte string of the official vectors.
  void (*seeds)(const std::vector<bytes>& vectors, const seed_sink& to);
  /// Changes an input according to its structure; null: inputs are only changed as bytes.
  bytes (*mutate)(bytes_view input, std::uint32_t seed, byte_mutator mutate_bytes) = nullptr;
};
extern const target structures, trees, crypto, store, joins, groups;
inline const std::vector<const target*>& all_targets() {
  static const std::vector<const target*> all{&structures, &trees, &crypto, &store, &joins, &groups};
  return all;
}

/// The bytes allocated from the heap so far. Only the fuzzers count them.
extern std::size_t allocated_bytes;

/// Everything that a group holds in memory except the message keys, whose tree may split when it is read.
std::map<std::string, bytes, std::less<>> fingerprint(group& g);

} // namespace parley::mls::fuzz

#pragma once
// The official test vectors: their kinds, and helpers for checking a case. Each group of kinds has a
// file vectors_<group>.cpp and a line in the table of vectors_main.cpp.
#include "protocol/mls/bytes.hpp"
#include "protocol/mls/error.hpp"
#include "protocol/mls/hpke.hpp"

#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

namespace parley::mls::vectors {

using json = nlohmann::json;

/// Thrown when a case has an unexpected result, and when a field that is needed is missing.
struct wrong : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// A file belongs to a kind if its first case has all of `keys`, whatever its name is. `check` throws on
/// failure; it is not called for cases of other cipher suites.
struct kind {
  std::string name;
  std::vector<std::string> keys;
  void (*check)(const json& one);
  /// Whether a case is about something that we do not support. May be null.
  bool (*skips)(const json& one) = nullptr;
};

std::vector<kind> crypto_kinds();  ///< crypto-basics, hpke, deserialization
std::vector<kind> keys_kinds();    ///< key-schedule, psk_secret, secret-tree
std::vector<kind> message_kinds(); ///< message-protection, messages, transcript-hashes, welcome
std::vector<kind> tree_kinds();    ///< tree-math, tree-operations, tree-validation, treekem
std::vector<kind> group_kinds();   ///< passive clients

bytes from_hex(const std::string& hex);
/// Returns the field `key` of a case as bytes; `text` is for vectors with plain text.
bytes hex(const json& one, const char* key);
std::string text(const json& one, const char* key);

void expect(bool holds, const std::string& what);
void expect_equal(bytes_view got, bytes_view wanted, const std::string& what);
/// Returns the value of a result that must have one.
template <class T>
T taken(result<T> r, const std::string& what) {
  if (!r)
    throw wrong{what + " was refused: " + std::string{describe(r.error().broken).sentence}};
  if constexpr (!std::is_void_v<T>)
    return std::move(*r);
}

/// Returns the same bytes at each call.
random_source fixed_random(bytes v);
/// Returns bytes that differ from call to call and are the same in every run.
random_source counting_random(std::uint64_t seed = 1);

} // namespace parley::mls::vectors

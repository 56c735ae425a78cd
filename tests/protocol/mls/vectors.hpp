#pragma once
// The official test vectors: what one kind of them is, and help for checking a case. Each group of kinds has
// a file vectors_<group>.cpp and a line in the table of vectors_main.cpp.
#include "protocol/mls/bytes.hpp"
#include "protocol/mls/error.hpp"
#include "protocol/mls/hpke.hpp"

#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

namespace parley::mls::vectors {

using json = nlohmann::json;

/// A case that does not come out as it should. Thrown by checks, and by reading a case that lacks something.
struct wrong : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Known by a file name that begins with `name`, else by a first case that has all of `keys`. `check` throws;
/// a case of another cipher suite never comes to it.
struct kind {
  std::string name;
  std::vector<std::string> keys;
  void (*check)(const json& one);
  /// Says whether a case is about something that we leave out. May be null.
  bool (*skips)(const json& one) = nullptr;
};

std::vector<kind> crypto_kinds();  ///< crypto-basics, hpke, deserialization
std::vector<kind> keys_kinds();    ///< key-schedule, psk_secret, secret-tree
std::vector<kind> message_kinds(); ///< message-protection, messages, transcript-hashes, welcome
std::vector<kind> tree_kinds();    ///< tree-math, tree-operations, tree-validation, treekem
std::vector<kind> group_kinds();   ///< passive clients

bytes from_hex(const std::string& hex);
/// The field `key` of a case, as bytes; `text` where the vector has plain text.
bytes hex(const json& one, const char* key);
std::string text(const json& one, const char* key);

void expect(bool holds, const std::string& what);
void expect_equal(bytes_view got, bytes_view wanted, const std::string& what);
/// The value of a result that must be there.
template <class T>
T taken(result<T> r, const std::string& what) {
  if (!r)
    throw wrong{what + " was refused: " + std::string{describe(r.error().broken).sentence}};
  if constexpr (!std::is_void_v<T>)
    return std::move(*r);
}

/// Gives the same bytes each time it is asked.
random_source fixed_random(bytes v);
/// Bytes that differ from call to call, and are the same in every run.
random_source counting_random(std::uint64_t seed = 1);

} // namespace parley::mls::vectors

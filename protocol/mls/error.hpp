#pragma once
// Why something was refused: the rule that was broken, with the section of RFC 9420 that states it.
#include <cstdint>
#include <string_view>
#include <tl/expected.hpp>

namespace parley::mls {

/// Numbers are stable: append within a band, never renumber. The table with sections and sentences is in
/// error.cpp; a test checks that every rule has its row.
enum class rule : std::uint16_t {
  none = 0,
  // 1-99: bytes (sections 2 and 6).
  malformed = 1,     ///< truncated, trailing bytes, a length that is not minimal, an unknown discriminator
  too_large = 2,     ///< above a limit of ours, not of the RFC's
  wrong_version = 3, ///< not mls10
  wrong_cipher_suite = 4,
  // 100-199: framing and message protection (6).
  // 200-299: keys: HPKE, key schedule, secret tree (5.1, 8, 9).
  bad_signature = 200,
  cannot_open = 201,   ///< HPKE or AEAD
  bad_key = 202,       ///< a public or private key that is none
  crypto_failed = 203, ///< OpenSSL refused what it never should
  // 300-399: leaves, trees and paths (7).
  // 400-499: key packages, proposals and commits (10, 12).
  // 500-599: groups: creating, joining, leaving (11, 12.4.3).
  // 600-699: the caller's side: states, policies, the store.
};

struct error {
  rule broken = rule::none;
  friend bool operator==(error, error) = default;
};

/// The section of RFC 9420 ("7.3"), empty where the rule is ours, and one sentence.
struct rule_text {
  std::string_view section, sentence;
};
rule_text describe(rule r);

template <class T>
using result = tl::expected<T, error>;
inline tl::unexpected<error> refuse(rule r) {
  return tl::unexpected(error{r});
}

} // namespace parley::mls

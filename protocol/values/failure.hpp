#pragma once
#include "protocol/values/errors.hpp"

#include <chrono>
#include <string>

namespace parley {

/// Why a call failed: what its caller gets.
struct failure {
  ec code = ec::internal;
  std::string sentence;                     ///< for a person: what happened, what it means, what to do next
  std::chrono::milliseconds retry_after{0}; ///< 0: no advice
  // What the table says of `code`. Of a code that this program does not know: what the cluster said.
  bool retryable = describe(code).retryable;
  was_stored stored = describe(code).stored;
  bool operator==(const failure&) const = default;
};

/// A failure with the table's own words.
inline failure failure_of(ec code, std::chrono::milliseconds retry_after = {}) {
  return {code, std::string{describe(code).sentence}, retry_after};
}

} // namespace parley

#pragma once
#include "protocol/values/errors.hpp"

#include <string>

namespace parley::storage {

/// Why something on this disk cannot be used. `what` is a sentence for the operator: what happened, and
/// what to do next.
struct disk_fault {
  ec code{};
  std::string what;
};

} // namespace parley::storage

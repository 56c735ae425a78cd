#pragma once
#include <optional>
#include <string_view>

namespace parley {

/// The setting that a part of the program cannot run with.
struct config_fault {
  std::string_view field; ///< its name in the settings' struct: a literal
};

/// What `validate(config)` answers; nothing if `config` can be run with.
using config_check = std::optional<config_fault>;

} // namespace parley

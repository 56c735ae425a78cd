#pragma once
#include "protocol/values/types.hpp"

#include <initializer_list>
#include <string_view>

namespace parley {

/// Of the parts one after the other. A process that has no memory left for it stops: a wrong hash would
/// turn a retry into a conflict.
body_hash sha256(std::initializer_list<std::string_view> parts);
inline body_hash sha256(std::string_view bytes) {
  return sha256({bytes});
}

} // namespace parley

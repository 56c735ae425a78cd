#pragma once
#include "protocol/values/types.hpp"

#include <algorithm>

namespace parley::core {

/// How far a member has got in a conversation. Both numbers only rise, and `read` is never above `delivered`.
struct progress {
  seq_no delivered{};
  seq_no read{};
  template <class F>
  auto fields(F&& f) {
    return f(delivered, read);
  }
  bool operator==(const progress&) const = default;
};

/// `has`, raised by `told`, never beyond `last`. Equal to `has` if there is nothing new.
inline progress raise(const progress& has, const progress& told, seq_no last) {
  progress p;
  p.read = std::max(has.read, std::min(told.read, last));
  p.delivered = std::max({has.delivered, std::min(told.delivered, last), p.read});
  return p;
}

/// As above, where the last message is not known: whoever sent `told` has bounded it already.
inline progress raise(const progress& has, const progress& told) {
  return raise(has, told, std::max(told.delivered, told.read));
}

} // namespace parley::core

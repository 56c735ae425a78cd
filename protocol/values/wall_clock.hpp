#pragma once
#include "protocol/values/types.hpp"

#include <chrono>

namespace parley {

/// The time of day with which messages are stamped. A test sets its clock by hand. Deadlines use the loop's
/// timer instead.
class wall_clock {
public:
  virtual ~wall_clock() = default;
  virtual unix_ms now() const = 0;
};

class system_wall_clock final : public wall_clock {
public:
  unix_ms now() const override {
    const auto since = std::chrono::system_clock::now().time_since_epoch();
    return unix_ms{std::chrono::duration_cast<std::chrono::milliseconds>(since).count()};
  }
};

inline const system_wall_clock system_time_of_day;

} // namespace parley

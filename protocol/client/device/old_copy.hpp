#pragma once
#include "protocol/client/device/observer.hpp"

namespace parley::client {

/// What a device notices of its profile's age: a profile that was put back from a copy has forgotten what it
/// did after the copy was made, and the cluster has not.
///
/// Owns:   whether the program has been told.
/// Thread: the device's.
class old_copy {
public:
  explicit old_copy(observer& events) : observer_{events} {}
  /// Something shows that the profile is an old copy. The program is told once in a device's life.
  void noticed() {
    if (std::exchange(told_, true))
      return;
    observer_.on_old_copy();
  }

private:
  observer& observer_;
  bool told_ = false;
};

} // namespace parley::client

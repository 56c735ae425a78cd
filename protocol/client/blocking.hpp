#pragma once
#include "protocol/client/device/device.hpp"
#include "protocol/client/store/sqlite_store.hpp"

#include <kj/async-io.h>

#include <filesystem>
#include <string>

namespace parley::client {

/// One device on a loop of its own, for programs that do one thing after another.
///
/// Owns:   the loop, the profile and the device. One per thread.
/// Holds:  messages are sent and deliveries applied only during a `wait`. How long the program does something
///         else between two of them does not count: each `limit` is for its own wait.
class blocking_device {
public:
  /// `key_file`: see sqlite_store. Throws store_error, or std::invalid_argument with a sentence for a person.
  blocking_device(const std::filesystem::path& profile, const std::string& ca_file, config settings,
                  observer& events, const std::filesystem::path& key_file = {});

  device& it() { return device_; }
  const device& it() const { return device_; }
  client_store& store() { return store_; }
  kj::AsyncIoContext& io() { return io_; }
  kj::Timer& timer() { return io_.provider->getTimer(); }

  template <class T>
  T wait(kj::Promise<T>&& promise) {
    return promise.wait(io_.waitScope);
  }
  /// Gives up with `timed_out` when the loop has waited for `limit`. What the store has kept stays there.
  template <class T>
  result<T> wait(kj::Promise<result<T>>&& promise, std::chrono::milliseconds limit) {
    io_.waitScope.poll(); // the timer stood still while the program did something else
    return timer()
        .afterDelay(limit.count() * kj::MILLISECONDS)
        .then([]() -> result<T> { return tl::unexpected{refuse(ec::timed_out)}; })
        .exclusiveJoin(kj::mv(promise))
        .wait(io_.waitScope);
  }

private:
  kj::AsyncIoContext io_;
  sqlite_store store_;
  tls_dialer dialer_;
  device device_;
};

} // namespace parley::client

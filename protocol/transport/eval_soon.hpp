#pragma once
#include <kj/async.h>

namespace parley::transport {

/// Runs `body` after everything that is ready now, and what that makes ready, so that what these write or ask leaves
/// together. `kj::evalLast` waits until nothing is ready at all: as long as one client sends without a pause, something
/// always is, and nobody would be answered.
template <class Body>
kj::Promise<void> eval_soon(Body&& body) {
  return kj::evalLater([] {}).then(
      [body = kj::fwd<Body>(body)]() mutable { return kj::evalLater(kj::mv(body)); });
}

} // namespace parley::transport

#pragma once
// When that leaves which a turn of the loop has collected: the answers to one peer, the calls to another thread.
#include <kj/async.h>
#include <kj/timer.h>

namespace parley::transport {

/// Resolves when everything else that is ready has been done, so that what this turn collects leaves together; or after a
/// millisecond. Events of `kj::evalLast` stand behind all others, also behind those that are queued later: on a loop that
/// somebody keeps busy their turn never comes.
/// Thread: that of the timer's loop. It fires timers while it is busy only if it looks at its sockets then
///         (`kj::WaitScope::setBusyPollInterval`).
inline kj::Promise<void> turn_end(kj::Timer& timer) {
  constexpr auto collected_for_max = 1 * kj::MILLISECONDS;
  return kj::evalLast([] {}).exclusiveJoin(timer.afterDelay(collected_for_max));
}

} // namespace parley::transport

#pragma once
// When that leaves which a turn of the loop has collected: the answers to one peer, the calls to another thread.
#include <kj/async.h>
#include <kj/timer.h>

namespace parley::transport {

/// How long is collected what leaves together.
inline constexpr kj::Duration collected_for_max = 1 * kj::MILLISECONDS;

/// Resolves when everything else that is ready has been done, or after `at_most`. Events of `kj::evalLast` stand behind all
/// others, also behind those that are queued later: on a loop that somebody keeps busy their turn never comes.
/// Thread: that of the timer's loop. It fires timers while it is busy only if it looks at its sockets then
///         (`kj::WaitScope::setBusyPollInterval`).
inline kj::Promise<void> turn_end(kj::Timer& timer, kj::Duration at_most = collected_for_max) {
  return kj::evalLast([] {}).exclusiveJoin(timer.afterDelay(at_most));
}

} // namespace parley::transport

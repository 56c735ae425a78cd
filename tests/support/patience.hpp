#pragma once
// How long a test waits for an expected event. Programs built with sanitizers run several times slower:
// their builds define PARLEY_SLOWNESS, and every deadline of the tests is multiplied by it. Durations
// that are the subject of a test are not multiplied.

#ifndef PARLEY_SLOWNESS
#define PARLEY_SLOWNESS 1
#endif

namespace parley::test {

/// A deadline adapted to this build: `usual` is the deadline for an optimised build.
template <class Duration>
constexpr Duration patient(Duration usual) {
  return usual * PARLEY_SLOWNESS;
}

/// Whether the memory use of the process is meaningful. Sanitizers keep freed memory for a while
/// and use shadow memory.
inline constexpr bool memory_is_telling = PARLEY_SLOWNESS == 1;

} // namespace parley::test

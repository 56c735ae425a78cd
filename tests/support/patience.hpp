#pragma once
// How long a test waits for what must happen. Sanitized programs run several times slower: their builds
// define PARLEY_SLOWNESS, and every deadline of the tests grows by it. Times that are the subject of a test
// do not.

#ifndef PARLEY_SLOWNESS
#define PARLEY_SLOWNESS 1
#endif

namespace parley::test {

/// A deadline as it should be in this build: `usual` is what an optimised one may take.
template <class Duration>
constexpr Duration patient(Duration usual) {
  return usual * PARLEY_SLOWNESS;
}

/// Sanitizers keep freed memory for a while, and shadows of it: how much the process has then says nothing.
inline constexpr bool memory_is_telling = PARLEY_SLOWNESS == 1;

} // namespace parley::test

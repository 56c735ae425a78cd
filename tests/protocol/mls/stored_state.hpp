#pragma once
// A member's state with something of every kind in it.
#include "tests/protocol/mls/group_fixture.hpp"

namespace parley::mls::test {

inline client_identity identity_of(group& g) {
  return state_of(g).identity.copy();
}

/// Leaves something of every kind in the state of member 0: past epochs, keys that were jumped over,
/// proposals of others, an Update of its own.
inline void full_state(room& r) {
  const auto lost = r.say(1, "lost");
  CHECK(words_in(r[0].receive(r.say(1, "later"), r.s)) == "later");
  r.concluded(2);
  CHECK(words_in(r[0].receive(r.say(3, "hello"), r.s)) == "hello");
  r.proposed(1, taken(r[1].propose_update(r.s)));
  r.proposed(0, taken(r[0].propose_update(r.s)));
  // For who speaks while proposals wait, see commit_wanted_first.
  state_of(r[2]).now.proposals.clear();
}

} // namespace parley::mls::test

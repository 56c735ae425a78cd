#pragma once
// A member's state that contains something of every kind.
#include "tests/protocol/mls/group_fixture.hpp"

namespace parley::mls::test {

inline client_identity identity_of(group& g) {
  return state_of(g).identity.copy();
}

/// Adds something of every kind to the state of member 0: past epochs, keys of skipped messages,
/// proposals of others, an Update of its own.
inline void full_state(room& r) {
  const auto lost = r.say(1, "lost");
  CHECK(words_in(r[0].receive(r.say(1, "later"), r.s)) == "later");
  r.concluded(2);
  CHECK(words_in(r[0].receive(r.say(3, "hello"), r.s)) == "hello");
  r.proposed(1, taken(r[1].propose_update(r.s)));
  r.proposed(0, taken(r[0].propose_update(r.s)));
  // The engine refuses to send while proposals wait (commit_wanted_first), so the sender's are cleared.
  state_of(r[2]).now.proposals.clear();
}

} // namespace parley::mls::test

#pragma once
// Access to the private state of a group, which no code outside the engine has.
#include "protocol/mls/group_state.hpp"

namespace parley::mls::test {

group_state& state_of(group& g);
template <std::unique_ptr<group_state> group::*Member>
struct opened_group {
  friend group_state& state_of(group& g) { return *(g.*Member); }
};
template struct opened_group<&group::state_>;

} // namespace parley::mls::test

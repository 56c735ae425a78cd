#pragma once
#include "actors/interfaces.hpp"

namespace parley::test {

/// A router for tests: passes calls and deliveries to the test and ignores everything else.
template <class OnCalls, class OnDeliveries>
router_actor::behavior_type router_behavior(OnCalls on_calls, OnDeliveries on_deliveries) {
  return {
      std::move(on_calls),        [](answer_batch&) {}, std::move(on_deliveries), [](peer_payloads&) {},
      [](peer_lost&) {},          [](peer_begun&) {},   [](leadership_news&) {},  [](const session_here&) {},
      [](const session_gone&) {}, [](atom::sweep) {},
  };
}

} // namespace parley::test

#pragma once
// The bounds at which actors and their seam to the gateway refuse a call without asking further. The gateway has its
// own (protocol/gateway/metrics.hpp); `/metrics` shows both as one.
#include "protocol/values/counters.hpp"

namespace parley {

/// Calls that were refused, by the bound. Thread: any.
struct refused_calls {
  counter rate_of_user{0};      ///< `user_rates`: sends, or all calls
  counter calls_of_session{0};  ///< session_config::calls_max
  counter calls_to_nodes{0};    ///< router_config::forwarded_max
  counter calls_of_nodes{0};    ///< router_config::hosted_max
  counter residents{0};         ///< shard_config::residents_max
  counter calls_of_resident{0}; ///< resident_config::waiting_calls_max
};

/// One more at `which`; `all` may be null.
inline void count(refused_calls* all, counter refused_calls::*which) {
  if (all != nullptr)
    add(all->*which);
}

} // namespace parley

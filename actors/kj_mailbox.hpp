#pragma once
// The one place where KJ and CAF meet: the gateway's backend, over session actors.
//
//   KJ → CAF: the calls of one turn of the loop leave as one message per connection.
//   CAF → KJ: one queue and one eventfd per KJ thread, written on the empty → non-empty edge. Promises never
//             cross threads, so a loop that ends cannot abort the process.
#include "actors/session.hpp"
#include "protocol/gateway/backend.hpp"

#include <kj/async-unix.h>

#include <memory>

namespace parley {

struct kj_backend_config {
  node_id node{};
  std::uint64_t process = 0; ///< as the router's
  session_config session;
  delivery_totals* queues = nullptr; ///< of all delivery queues; outlives the backend
};

/// A gateway::backend for one KJ thread. Construct and destroy on that thread, inside its event loop's life.
/// `numbers`: where connection numbers come from; shared by all gateways of the process.
kj::Own<gateway::backend> make_kj_backend(caf::actor_system& sys, router_actor router,
                                          kj_backend_config config,
                                          std::shared_ptr<std::atomic<std::uint64_t>> numbers,
                                          kj::UnixEventPort& port);

} // namespace parley

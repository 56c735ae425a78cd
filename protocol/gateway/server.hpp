#pragma once
// The gateway of one KJ thread: listens, admits, keeps deadlines, drains. A process runs one per thread, all
// on the same address; the kernel spreads connections over them.
#include "protocol/gateway/backend.hpp"
#include "protocol/gateway/closed_sessions.hpp"
#include "protocol/gateway/code_limits.hpp"
#include "protocol/gateway/codes/code_sender.hpp"
#include "protocol/gateway/config.hpp"
#include "protocol/gateway/lookup_limits.hpp"
#include "protocol/gateway/metrics.hpp"
#include "protocol/gateway/node_addresses.hpp"
#include "protocol/gateway/pulse.hpp"
#include "protocol/transport/tls.hpp"
#include "protocol/values/chance.hpp"
#include "protocol/values/wall_clock.hpp"

#include <kj/async-unix.h>
#include <tl/expected.hpp>

#include <string>

namespace parley::gateway {

/// What the servers of a process share. Thread: any.
struct gateway_shared {
  gateway_metrics metrics;
  closed_sessions closed{100'000};
  lookup_limits lookups;
  shared_code_limits code_asks;
  shared_code_limits registrations;
  node_addresses nodes;
  gateway::pulses pulses;
};

struct server_fault {
  ec code{};          ///< bad_config
  std::string detail; ///< the setting, or the address that cannot be listened on
};

/// Owns:   the listening socket and all its connections.
/// Thread: the one whose event port it is given; make and destroy it there. `cluster`, `codes`, `clock`,
///         `shared` and `dice` outlive it.
/// Holds:  one timer for all deadlines; everything a peer can make it keep is bounded by the config.
class gateway_server {
public:
  virtual ~gateway_server() noexcept(false) = default;
  /// The port that is listened on: another one than the config's if that says 0.
  virtual std::uint16_t port() const = 0;
  virtual std::size_t connections() const = 0;
  /// Stops listening, and tells every client when to reconnect to another node: some time within the config's
  /// `drain_spread`, so that not all come at once.
  virtual void drain() = 0;
  /// Resolves once every connection is gone after `drain`.
  virtual kj::Promise<void> drained() = 0;
};

/// What `tls` holds when a connection is accepted is used for it.
tl::expected<kj::Own<gateway_server>, server_fault>
make_gateway_server(kj::UnixEventPort& port, const gateway_config& config, transport::renewable_tls tls,
                    backend& cluster, code_sender& codes, const wall_clock& clock, gateway_shared& shared,
                    chance& dice = system_chance());

} // namespace parley::gateway

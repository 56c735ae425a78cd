#pragma once
// CAF's connections between nodes, over our TLS instead of CAF's own (caf_openssl). The reasons:
//
// - caf_openssl does not empty OpenSSL's error queue: one connection that fails makes others fail.
// - It allocates what a frame announces, up to 4 GiB, before a byte of it has arrived (caf_frames.hpp).
// - At a hundred messages a second it made two thirds of all system calls of a node: six around each call of
//   OpenSSL to suppress SIGPIPE, three reads for each record, and before and after each write a change of the
//   events that epoll reports. Here a record costs one read and one write.
//
//   middleman actor ── connect, open ──► scribe (a connection), doorman (a port) ──► CAF's broker (format)
//                                            │ owns
//                                        peer_stream: CAF's buffers and reading policies, peer_tls_session
#include "cluster/links/peer_tls.hpp"

#include <caf/io/middleman_actor.hpp>

#include <chrono>
#include <cstddef>
#include <functional>

namespace parley::cluster {

/// What a port grants connections before their TLS handshake is complete: anybody can open one.
struct newcomer_limits {
  /// Afterwards it is closed, at the next `close_late_newcomers`.
  std::chrono::milliseconds handshake_within{5'000};
  /// Of one port. The oldest gives way to a new one, so that a node can connect while strangers hold the
  /// rest.
  std::size_t at_once_max = 256;
};

struct tls_transport {
  /// Publishes, connects and closes as CAF's own middleman actor does, over TLS. The owner ends it before the
  /// system ends. It may block while it connects, so it has its own thread.
  caf::io::middleman_actor middleman;
  /// Call it about once a second, from any thread, until the system ends.
  std::function<void()> close_late_newcomers;
};

/// Needs the middleman module.
tls_transport spawn_tls_transport(caf::actor_system& system, peer_tls_context context,
                                  newcomer_limits limits = {});

} // namespace parley::cluster

#pragma once
// CAF's connections between nodes, over our TLS instead of the one that CAF brings (caf_openssl). Why:
//
// - caf_openssl does not empty OpenSSL's error queue: one connection that fails takes others along.
// - It allocates what a frame announces, up to 4 GiB, before a byte of it arrived (cluster/links/caf_frames.hpp).
// - At a hundred messages a second it made two thirds of all system calls of a node: six around each call of
//   OpenSSL to keep SIGPIPE away, three reads for each record, and before and after each write a change of
//   what epoll watches. Here a record costs one read and one write.
//
//   middleman actor ── connect, open ──► scribe (a connection), doorman (a port) ──► CAF's broker (wire format)
//                                            │ owns
//                                        peer_stream: CAF's buffers and reading policies, peer_tls_session
#include "cluster/links/peer_tls.hpp"

#include <caf/io/middleman_actor.hpp>

namespace parley::cluster {

/// Publishes, connects and closes as CAF's own middleman actor does, over TLS. Needs the middleman module.
/// Whoever spawns it ends it before the system ends. It may block while it connects, and has a thread of its
/// own for that.
caf::io::middleman_actor spawn_tls_middleman(caf::actor_system& system, peer_tls_context context);

} // namespace parley::cluster

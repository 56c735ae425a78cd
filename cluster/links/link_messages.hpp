#pragma once
// The messages between two links, sent by CAF. Their numbers are plain integers: values from other nodes are
// checked before they become ids.
//
//   A, the caller                                   B, the door at its peer address
//     hello ────────────────────────────────────────►  certificate of a node that may call?
//     ◄──────────────────────────────────── challenge  session number, B's certificate and signature
//     proof (signature; a query's bytes) ───────────►
//     ◄───────────────── accepted (an answer's bytes)  or refused, at any point
//   and, if it was no query, between the two links, until one sends a goodbye or is silent for too long:
//     batch, ack  ◄────────────────────────────────►
#include "cluster/links/link.hpp"

#include <caf/meta/type_name.hpp>
#include <caf/type_id.hpp>
#include <caf/typed_actor.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace parley::cluster {

inline constexpr std::uint32_t link_version = 3;

struct link_hello {
  std::uint32_t version = 0;
  std::uint8_t is_query = 0; ///< 1: one question, one answer; the asker need not be a known peer
  std::uint64_t from = 0;    ///< node id that the certificate has to name
  std::uint64_t to = 0;      ///< the intended node; 0: any node at this address
  std::uint64_t attempt = 0; ///< chosen by the caller; every answer repeats it
  std::string certificate;   ///< PEM
  std::string nonce;
};
struct link_challenge {
  std::uint64_t attempt = 0;
  std::uint64_t session = 0; ///< random, chosen by the door
  std::uint64_t from = 0;
  std::string certificate;
  std::string nonce;
  std::string signature;
};
struct link_proof {
  std::uint64_t session = 0;
  std::string signature;
  std::string query;
};
struct link_accepted {
  std::uint64_t attempt = 0;
  std::uint64_t session = 0;
  std::string answer;
};
struct link_refused {
  std::uint64_t attempt = 0;
  std::string why;
};
/// The payloads are written into CAF's buffer one after the other: nobody copies them together before.
struct link_batch {
  std::uint64_t session = 0;
  std::uint64_t number = 0;         ///< 1, 2, 3 … in one direction of one session
  std::uint64_t bytes_received = 0; ///< in the other direction, so far
  std::vector<lane_payload> payloads;
};
/// A link with nothing to send sends it as well, as a sign of life.
struct link_ack {
  std::uint64_t session = 0;
  std::uint64_t bytes_received = 0;
};
struct link_goodbye {
  std::uint64_t session = 0;
};

template <class I>
auto inspect(I& f, link_hello& x) {
  return f(caf::meta::type_name("link_hello"), x.version, x.is_query, x.from, x.to, x.attempt, x.certificate,
           x.nonce);
}
template <class I>
auto inspect(I& f, link_challenge& x) {
  return f(caf::meta::type_name("link_challenge"), x.attempt, x.session, x.from, x.certificate, x.nonce,
           x.signature);
}
template <class I>
auto inspect(I& f, link_proof& x) {
  return f(caf::meta::type_name("link_proof"), x.session, x.signature, x.query);
}
template <class I>
auto inspect(I& f, link_accepted& x) {
  return f(caf::meta::type_name("link_accepted"), x.attempt, x.session, x.answer);
}
template <class I>
auto inspect(I& f, link_refused& x) {
  return f(caf::meta::type_name("link_refused"), x.attempt, x.why);
}
template <class I>
auto inspect(I& f, lane_payload& x) {
  return f(caf::meta::type_name("lane_payload"), x.on, x.bytes);
}
template <class I>
auto inspect(I& f, link_batch& x) {
  return f(caf::meta::type_name("link_batch"), x.session, x.number, x.bytes_received, x.payloads);
}
template <class I>
auto inspect(I& f, link_ack& x) {
  return f(caf::meta::type_name("link_ack"), x.session, x.bytes_received);
}
template <class I>
auto inspect(I& f, link_goodbye& x) {
  return f(caf::meta::type_name("link_goodbye"), x.session);
}

} // namespace parley::cluster

// Type ids of a separate block, far from that of the actors, because both blocks are registered together.
CAF_BEGIN_TYPE_ID_BLOCK(parley_links, caf::first_custom_type_id + 100)
CAF_ADD_TYPE_ID(parley_links, (parley::cluster::link_hello))
CAF_ADD_TYPE_ID(parley_links, (parley::cluster::link_challenge))
CAF_ADD_TYPE_ID(parley_links, (parley::cluster::link_proof))
CAF_ADD_TYPE_ID(parley_links, (parley::cluster::link_accepted))
CAF_ADD_TYPE_ID(parley_links, (parley::cluster::link_refused))
CAF_ADD_TYPE_ID(parley_links, (parley::cluster::link_batch))
CAF_ADD_TYPE_ID(parley_links, (parley::cluster::link_ack))
CAF_ADD_TYPE_ID(parley_links, (parley::cluster::link_goodbye))
CAF_END_TYPE_ID_BLOCK(parley_links)

namespace parley::cluster {

/// All messages that come from other nodes. The door of a node and each of its links accept the same ones, so
/// that one handle type is enough between nodes; each ignores those that are not for it.
using wire_actor =
    caf::typed_actor<caf::reacts_to<link_hello>, caf::reacts_to<link_challenge>, caf::reacts_to<link_proof>,
                     caf::reacts_to<link_accepted>, caf::reacts_to<link_refused>, caf::reacts_to<link_batch>,
                     caf::reacts_to<link_ack>, caf::reacts_to<link_goodbye>>;

} // namespace parley::cluster
